package peerwire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
)

func fill[T ~[32]byte](b byte) (out T) {
	for i := range out {
		out[i] = b
	}
	return out
}

var commitment = payment.Commitment{
	Ledger: fill[payment.LedgerID](1), Intention: fill[payment.IntentionID](2), Torrent: fill[payment.TorrentID](3),
	Payer: fill[payment.Account](4), Receiver: fill[payment.Account](5), Root: fill[payment.Link](6),
	Chain: payment.ChainID{7}, Slot: 8, Links: 64, Price: 9, Epoch: 10, Expiry: 11,
}

// messages are one of each kind: its name in the specification, the value, and
// its bytes on the wire. Long runs of a byte are written as xx*n.
var messages = []struct {
	name    string
	message Message
	wire    string
}{
	{"BEP 3 keep-alive", Of(KeepAlive), "00000000"},
	{"BEP 3 choke", Of(Choke), "00000001 00"},
	{"BEP 3 unchoke", Of(Unchoke), "00000001 01"},
	{"BEP 3 interested", Of(Interested), "00000001 02"},
	{"BEP 3 not interested", Of(NotInterested), "00000001 03"},
	{"BEP 3 have", HaveMessage(258), "00000005 04 00000102"},
	{"BEP 3 bitfield", Message{ID: Bitfield, Data: []byte{0x80, 0x40}}, "00000003 05 8040"},
	{"BEP 3 request", BlockMessage(Request, 1, 16384, 16384), "0000000d 06 00000001 00004000 00004000"},
	{"BEP 3 piece", Message{ID: Piece, Index: 1, Begin: 16384, Length: 2, Data: []byte("hi")}, "0000000b 07 00000001 00004000 6869"},
	{"BEP 3 cancel", BlockMessage(Cancel, 1, 2, 3), "0000000d 08 00000001 00000002 00000003"},
	{"BEP 5 port", Message{ID: Port, Index: 6881}, "00000003 09 1ae1"},
	{"BEP 6 suggest", Message{ID: Suggest, Index: 7}, "00000005 0d 00000007"},
	{"BEP 6 have all", Of(HaveAll), "00000001 0e"},
	{"BEP 6 have none", Of(HaveNone), "00000001 0f"},
	{"BEP 6 reject", BlockMessage(Reject, 1, 2, 3), "0000000d 10 00000001 00000002 00000003"},
	{"BEP 6 allowed fast", Message{ID: AllowedFast, Index: 9}, "00000005 11 00000009"},
	{"BEP 10 extended", ExtendedMessage(0, []byte("de")), "00000004 14 00 6465"},
	{
		"BEP 52 hash request",
		Message{ID: HashRequest, Rare: HashRange{fill[[32]byte](0xAA), 1, 2, 4, 3}},
		"00000031 15 aa*32 00000001 00000002 00000004 00000003",
	},
	{
		"BEP 52 hashes",
		Message{ID: Hashes, Rare: HashRange{fill[[32]byte](0xAA), 0, 2, 2, 0}, Data: bytes.Repeat([]byte{0xBB}, 64)},
		"00000071 16 aa*32 00000000 00000002 00000002 00000000 bb*64",
	},
	{
		"BEP 52 hash reject",
		Message{ID: HashReject, Rare: HashRange{fill[[32]byte](0xAA), 1, 2, 4, 3}},
		"00000031 17 aa*32 00000001 00000002 00000004 00000003",
	},
	{
		"pay hello",
		Message{ID: PayHelloID, Rare: PayHello{1, 0, [][8]byte{{1, 2, 3, 4, 5, 6, 7, 8}}}},
		"00000014 b0 54524e5450415931 01 00 01 0102030405060708",
	},
	{"pay auth", Message{ID: PayAuthID, Data: []byte{9, 9}}, "00000003 b1 0909"},
	{
		"pay terms",
		Message{ID: PayTermsID, Rare: PayTerms{5, 1, 16384, 0, 3, 7200}},
		"00000021 b2 0000000000000005 0000000000000001 00004000 00000000 00000003 00001c20",
	},
	{
		"pay commit",
		Message{ID: PayCommitID, Rare: PayCommit{2, commitment, payment.Signature{0xCC}}},
		"00000143 b3 0002 54524e54434f4d31 01*32 02*32 03*32 04*32 05*32 06*32 07 00*11 00000008 00004000 00000040 " +
			"0000000000000009 000000000000000a 000000000000000b 0000000000000000 cc 00*63",
	},
	{
		"pay status",
		Message{ID: PayStatusID, Rare: PayStatus{2, PayRegistered, 64, 12, 3}},
		"00000012 b4 0002 01 00000040 000000000000000c 0003",
	},
	{"pay", Message{ID: PayID, Rare: Pay{2, 17, fill[payment.Link](0xDD)}}, "00000027 b5 0002 00000011 dd*32"},
	{"pay ack", Message{ID: PayAckID, Rare: PayAck{2, 17, 18, 1}}, "0000000f b6 0002 00000011 00000012 00000001"},
	{
		"pay resume",
		Message{ID: PayResumeID, Rare: PayResume{fill[payment.CommitmentID](0xEE), 2, 17, fill[payment.Link](0xDD), 1, 2}},
		"0000004f b7 ee*32 0002 00000011 dd*32 00000001 00000002",
	},
	{"pay top-up", Message{ID: PayTopUpID, Rare: PayTopUp{2, 128}}, "00000007 b8 0002 00000080"},
	{
		"pay close",
		Message{ID: PayCloseID, Rare: PayClose{payment.SignedClose{
			Close: payment.Close{Ledger: fill[payment.LedgerID](1), Commitment: fill[payment.CommitmentID](2), Final: 3},
			MSP:   "org", SPKI: []byte{0x30}, Signature: payment.Signature{4},
		}}},
		"0000008c b9 03 6f7267 0001 30 01*32 02*32 00000003 04 00*63",
	},
	{"pay unpaid", Message{ID: PayUnpaidID, Rare: PayUnpaid{[]uint32{7, 65536}}}, "0000000b bd 0002 00000007 00010000"},
	{"pay hold", Message{ID: PayHoldID, Rare: PayHold{2, 5, 1}}, "00000008 bb 0002 00000005 01"},
	{"pay error", Message{ID: PayErrorID, Rare: PayError{2, 7, "no"}}, "00000007 bc 0002 0007 6e6f"},
	{"pay sealed", Message{ID: PaySealedID, Data: []byte{1, 2, 3}}, "00000004 bf 010203"},
}

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestGoldenMessages keeps testdata/messages.txt: the same messages, as a file
// that other implementations can read.
func TestGoldenMessages(t *testing.T) {
	b := []byte("# One message of each kind: its name, then its bytes, the u32 length first.\n")
	for _, c := range messages {
		b = fmt.Appendf(b, "%s: %x\n", c.name, unhex(t, c.wire))
	}
	const path = "testdata/messages.txt"
	if *update {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(golden, b) {
		t.Errorf("%s does not have the messages of this file's table (%v): if they are meant, go test -update", path, err)
	}
}

// unhex reads the notation of the tables.
func unhex(t *testing.T, s string) (out []byte) {
	t.Helper()
	for word := range strings.FieldsSeq(s) {
		digits, times, repeated := strings.Cut(word, "*")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		if repeated {
			n = 0
			for _, c := range times {
				n = n*10 + int(c-'0')
			}
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

func newBlock() []byte { return make([]byte, BlockSize) }

var limits = Limits{Pieces: 10}

func TestMessages(t *testing.T) {
	for _, c := range messages {
		t.Run(c.name, func(t *testing.T) {
			wire := unhex(t, c.wire)
			if got := Append([]byte("before"), c.message); !bytes.Equal(got[6:], wire) {
				t.Errorf("append gives\n%x, not\n%x", got[6:], wire)
			}
			got, err := Parse(wire[4:], limits)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.message, got); d != "" {
				t.Errorf("parse: %s", d)
			}
			for name, src := range map[string]io.Reader{"whole": bytes.NewReader(wire), "byte by byte": iotest.OneByteReader(bytes.NewReader(wire))} {
				r := NewReader(src, newBlock)
				r.Limits = limits
				got, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(c.message, got); d != "" {
					t.Errorf("read %s: %s", name, d)
				}
				if _, err := r.Next(); err != io.EOF {
					t.Errorf("after the message: %v", err)
				}
			}
		})
	}
}

// Every part of a good message is no message, but for those whose length is
// free; a stream that ends within one says so.
func TestTruncated(t *testing.T) {
	free := map[ID]int{Piece: 10, Extended: 2, PayErrorID: 5, PayAuthID: 2, PaySealedID: 2, Hashes: 81}
	for _, c := range messages {
		wire := unhex(t, c.wire)
		for n := 1; n < len(wire); n++ {
			r := NewReader(bytes.NewReader(wire[:n]), newBlock)
			r.Limits = limits
			if _, err := r.Next(); err != io.ErrUnexpectedEOF {
				t.Errorf("%s cut to %d bytes: %v", c.name, n, err)
			}
		}
		for n := 1; n < len(wire)-4; n++ {
			least, isFree := free[c.message.ID]
			if isFree && n >= least && (c.message.ID != Hashes || (n-49)%32 == 0) {
				continue
			}
			if _, err := Parse(wire[4:4+n], limits); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s of %d bytes: %v", c.name, n, err)
			}
		}
	}
}

// No length prefix costs memory: what is too long is refused before it is read.
func TestTooLong(t *testing.T) {
	for id := range 256 {
		_, known := limits.maxBody(ID(id))
		for _, length := range []uint32{1 << 17, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			head := []byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), byte(id)}
			r := NewReader(io.MultiReader(bytes.NewReader(head), iotest.ErrReader(errors.New("read on"))), newBlock)
			r.Limits = limits
			want := ErrTooLong
			if !known {
				want = ErrUnknownID
			}
			if _, err := r.Next(); !errors.Is(err, want) {
				t.Errorf("id %d, length %d: %v", id, length, err)
			}
		}
	}
}

func TestLimitsOfBitfields(t *testing.T) {
	for _, c := range []struct {
		pieces, length int
		want           error
	}{
		{10, 2, nil},
		{10, 3, ErrTooLong},
		{10, 1, ErrMalformed},
		{8, 1, nil},
		{9, 1, ErrMalformed},
		{0, 1, nil},
		{0, 512 << 10, nil},
		{0, 512<<10 + 1, ErrTooLong},
	} {
		_, err := Parse(append([]byte{byte(Bitfield)}, make([]byte, c.length)...), Limits{Pieces: c.pieces})
		if !errors.Is(err, c.want) {
			t.Errorf("%d pieces, %d bytes: %v", c.pieces, c.length, err)
		}
	}
}

func TestPieceWithoutData(t *testing.T) {
	wire := unhex(t, "00000009 07 00000001 00004000")
	if _, err := NewReader(bytes.NewReader(wire), newBlock).Next(); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// A piece that is cut off still hands back its buffer.
func TestBufferOfCutPiece(t *testing.T) {
	wire := unhex(t, "0000000b 07 00000001 00004000 68")
	m, err := NewReader(bytes.NewReader(wire), newBlock).Next()
	if err != io.ErrUnexpectedEOF || m.Data == nil {
		t.Errorf("%v, data %v", err, m.Data)
	}
}

func TestHandshake(t *testing.T) {
	h := Handshake{InfoHash: [20]byte{1}, PeerID: [20]byte{2}}
	for _, f := range []Feature{FeatureExtended, FeatureFast, FeatureDHT, FeatureV2, PayOffer} {
		if h.Has(f) {
			t.Errorf("%v is set at first", f)
		}
		h.Set(f)
	}
	wire := h.Append(nil)
	want := unhex(t, "13 426974546f7272656e742070726f746f636f6c 00000000 01 10 00 15 01 00*19 02 00*19")
	if !bytes.Equal(wire, want) {
		t.Errorf("%x, not\n%x", wire, want)
	}
	got, err := ReadHandshake(iotest.OneByteReader(bytes.NewReader(wire)))
	if err != nil || got != h {
		t.Errorf("%v, %v", got, err)
	}
	if h.Has(PayAnswer) || !got.Has(PayOffer) {
		t.Error("the payment bits are mixed up")
	}
	for n := range wire {
		if _, err := ReadHandshake(bytes.NewReader(wire[:n])); err == nil {
			t.Errorf("%d bytes are a handshake", n)
		}
	}
	if _, err := ReadHandshake(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); !errors.Is(err, ErrNotBitTorrent) {
		t.Error(err)
	}
}

// FuzzParse: what parses goes back to the same bytes, and nothing panics.
func FuzzParse(f *testing.F) {
	t := &testing.T{}
	for _, c := range messages {
		f.Add(unhex(t, c.wire)[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b, limits)
		if err != nil {
			return
		}
		if got := Append(nil, m); !bytes.Equal(got[4:], b) {
			t.Errorf("%v: %x became %x", m.ID, b, got[4:])
		}
	})
}

// Messages one behind the other, as they are sealed together, come apart again.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		wire string // hex
		ids  []ID
		err  error
	}{
		{"", nil, nil},
		{"00000001 02", []ID{Interested}, nil},
		{"00000005 04 00000007 00000001 02", []ID{Have, Interested}, nil},
		{"00000000", []ID{KeepAlive}, nil},
		{"00000001 02 000000", []ID{Interested}, ErrMalformed},      // half a length
		{"00000001 02 00000002 04", []ID{Interested}, ErrMalformed}, // less than it says
		{"ffffffff 02", nil, ErrMalformed},
		{"00000002 02 00", nil, ErrTooLong},
		{"00000001 3f", nil, ErrUnknownID},
	} {
		rest, err := unhex(t, strings.ReplaceAll(c.wire, " ", "")), error(nil)
		var ids []ID
		for len(rest) > 0 && err == nil {
			var m Message
			if m, rest, err = Cut(rest, limits); err == nil {
				ids = append(ids, m.ID)
			}
		}
		if !slices.Equal(ids, c.ids) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v, want %v, %v", c.wire, ids, err, c.ids, c.err)
		}
	}
}

// FuzzReader: a stream and its messages one by one tell the same, read or cut;
// what is said to be ready is not waited for.
func FuzzReader(f *testing.F) {
	t := &testing.T{}
	for _, c := range messages {
		f.Add(unhex(t, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), newBlock)
		r.Limits = limits
		var back []byte
		for rest := b; ; {
			ready := r.Ready()
			m, err := r.Next()
			if ready && errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%x is said to be whole", rest)
			}
			c, after, cutErr := Cut(rest, limits)
			if (err == nil) != (cutErr == nil) {
				t.Errorf("%x: read with %v, cut with %v", rest, err, cutErr)
			}
			if err != nil || cutErr != nil {
				break
			}
			if c.ID != m.ID {
				t.Errorf("%x: read %v, cut %v", rest, m.ID, c.ID)
			}
			back, rest = Append(back, m), after
		}
		if !bytes.HasPrefix(b, back) {
			t.Errorf("%x became %x", b, back)
		}
	})
}

// endless gives the same message again and again.
type endless struct {
	wire []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], e.wire[e.at:])
		n += k
		e.at = (e.at + k) % len(e.wire)
	}
	return n, nil
}

func BenchmarkReadPiece(b *testing.B) {
	block := newBlock()
	r := NewReader(&endless{wire: Append(nil, Message{ID: Piece, Data: block})}, func() []byte { return block })
	b.SetBytes(BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadRequest(b *testing.B) {
	r := NewReader(&endless{wire: Append(nil, BlockMessage(Request, 1, 2, 3))}, newBlock)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
