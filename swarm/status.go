package swarm

// Totals counts bytes of blocks since the Swarm was made.
type Totals struct {
	Downloaded int64 // that were asked for
	Uploaded   int64
	Wasted     int64  // came twice, unasked or false
	Verified   int64  // in pieces completed
	Paid       uint64 // units, by links released
}

// Status is a picture of a Swarm at one moment.
type Status struct {
	Totals
	Pieces, Have     int
	Bytes, Left      int64 // of the torrent's data, and still missing
	Peers            int
	Seeds            int     // peers with everything
	ChokingUs        int     // peers that have what we need and do not serve us
	Served           int     // peers that we serve
	DownRate, UpRate float64 // bytes a second
	Dialing, Known   int
	MetadataKnown    bool
	Sold             bool
	Authenticated    int // peers whose account we know
	WantPayment      int // peers that have what we need, and give it for payment alone
	Unheard          bool
	Doubted          int // buyers not served because the ledger is not heard of
}

// Complete reports whether all pieces are verified.
func (s *Swarm) Complete() bool { return s.picker != nil && s.picker.Have().Full() }

// Status tells where things stand.
func (s *Swarm) Status() Status {
	st := Status{Totals: s.totals, Dialing: s.book.dialing, Known: len(s.book.known), MetadataKnown: s.info != nil, Sold: s.sold, Unheard: s.unheard}
	if s.picker != nil {
		have := s.picker.Have()
		st.Pieces, st.Have, st.Bytes = have.Len(), have.Count(), s.layout.Bytes()
		st.Left = s.left()
	}
	for _, p := range s.order {
		if p.dropped {
			continue
		}
		st.Peers++
		st.DownRate += p.down.rate
		st.UpRate += p.up.rate
		if p.has != nil && p.has.Full() {
			st.Seeds++
		}
		if p.weInterested && p.choking {
			st.ChokingUs++
		}
		if !p.account.IsZero() {
			st.Authenticated++
		}
		if s.sold && p.lacks > 0 {
			st.WantPayment++
		}
		if p.doubted {
			st.Doubted++
		}
		if !p.weChoke {
			st.Served++
		}
	}
	return st
}

// left is how many bytes of data are in pieces not verified.
func (s *Swarm) left() int64 {
	have := s.picker.Have()
	if have.Full() {
		return 0
	}
	if have.Count() == 0 {
		return s.layout.Bytes()
	}
	var sum int64
	for i := range have.Len() {
		if !have.Has(i) {
			sum += s.layout.Size(i)
		}
	}
	return sum
}

// Have is a copy of the set of verified pieces in the form of BEP 3; nil while
// the files are not open.
func (s *Swarm) Have() []byte {
	if s.picker == nil {
		return nil
	}
	return append([]byte(nil), s.picker.Have().Wire()...)
}
