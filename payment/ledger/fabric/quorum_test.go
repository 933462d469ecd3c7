package fabric

import (
	"context"
	"errors"
	"testing"
	"time"

	"torrente/payment/admission"
	"torrente/payment/contract"
)

// asked is a client of gateways that answer what their addresses say.
func asked(t *testing.T, organisations int, msps ...string) *Client {
	t.Helper()
	c := &Client{profile: &Profile{MSP: "Own", Organisations: organisations}}
	for _, msp := range msps {
		c.gateways = append(c.gateways, &gateway{msp: msp, own: msp == "Own"})
	}
	return c
}

// An answer is believed from the own organisation, or when one more of the
// others say it than may lie.
func TestWhoIsBelieved(t *testing.T) {
	gone := errors.New("gone")
	for what, one := range map[string]struct {
		organisations int
		msps          []string
		say           []int // 0: does not answer
		want          int   // 0: nothing is believed
	}{
		"the own one alone":             {3, []string{"Own", "A", "B"}, []int{1, 2, 2}, 1},
		"two others":                    {3, []string{"Own", "A", "B"}, []int{0, 2, 2}, 2},
		"one other":                     {3, []string{"Own", "A", "B"}, []int{0, 2, 0}, 0},
		"two that differ":               {3, []string{"A", "B"}, []int{1, 2}, 0},
		"two peers of one organisation": {3, []string{"A", "A", "B"}, []int{1, 1, 2}, 0},
		"two of three":                  {3, []string{"A", "B", "C"}, []int{1, 2, 2}, 2},
		"two liars of five":             {5, []string{"A", "B", "C", "D", "E"}, []int{1, 1, 2, 2, 2}, 2},
		"nobody":                        {3, []string{"A", "B"}, []int{0, 0}, 0},
	} {
		c := asked(t, one.organisations, one.msps...)
		says := map[*gateway]int{}
		for i, g := range c.gateways {
			says[g] = one.say[i]
		}
		// The own one's word counts whenever it comes: so it comes alone here.
		ownFirst := make(chan struct{})
		if one.msps[0] != "Own" || one.say[0] == 0 {
			close(ownFirst)
		}
		got, err := agreed(t.Context(), c, func(ctx context.Context, g *gateway) (int, error) {
			if !g.own {
				select {
				case <-ownFirst:
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			}
			if says[g] == 0 {
				return 0, gone
			}
			return says[g], nil
		}, func(a, b int) bool { return a == b })
		switch {
		case one.want == 0 && !errors.Is(err, errDisagree) && !errors.Is(err, gone):
			t.Errorf("%s: %+v, %v", what, got, err)
		case one.want != 0 && (err != nil || got[0].says != one.want):
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// Those who do not answer hold nobody up when the others have disagreed.
func TestTheSilentAreNotWaitedFor(t *testing.T) {
	c := asked(t, 3, "A", "B", "C")
	began := time.Now()
	_, err := agreed(t.Context(), c, func(ctx context.Context, g *gateway) (string, error) {
		if g.msp == "C" {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return g.msp, nil
	}, func(a, b string) bool { return a == b })
	if !errors.Is(err, errDisagree) || time.Since(began) > 10*grace {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// One that lies sooner than others answer cannot deny the answer: they are waited
// for longer each time.
func TestAFastLiarDeniesNothing(t *testing.T) {
	for slow, msps := range map[string][]string{"Own": {"Own", "A", "B"}, "C": {"A", "B", "C"}} {
		c := asked(t, 3, msps...)
		var got []statement[string]
		err := errDisagree
		for tries := 0; errors.Is(err, errDisagree) && tries < 6; tries++ {
			got, err = agreed(t.Context(), c, func(ctx context.Context, g *gateway) (string, error) {
				if g.msp == "A" {
					return "a lie", nil
				}
				if g.msp == slow { // it takes longer than the shortest grace
					answered := time.NewTimer(3 * grace)
					defer answered.Stop()
					select {
					case <-answered.C:
					case <-ctx.Done():
						return "", ctx.Err()
					}
				}
				if g.msp == "B" && slow == "Own" {
					return "another", nil
				}
				return "the truth", nil
			}, func(a, b string) bool { return a == b })
		}
		if err != nil || got[0].says != "the truth" {
			t.Errorf("%s: %+v, %v", slow, got, err)
		}
	}
	if graceAfter(graceAfter(longestGrace, false), true) != longestGrace/2 || graceAfter(grace, true) != grace {
		t.Error("graces are not as long as they should be")
	}
}

// Nobody is waited for who cannot decide.
func TestWhoCannotDecideIsNotWaitedFor(t *testing.T) {
	c := asked(t, 5, "A", "B", "C", "D")
	began := time.Now()
	_, err := agreed(t.Context(), c, func(ctx context.Context, g *gateway) (string, error) {
		if g.msp == "D" {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return g.msp, nil
	}, func(a, b string) bool { return a == b })
	if !errors.Is(err, errDisagree) || c.grace.Load() > int64(grace) || time.Since(began) > grace/2 {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// Waiting for a slot is under patience, too.
func TestWaitingForASlotEnds(t *testing.T) {
	c := asked(t, 3, "Own")
	c.patience, c.slots = 10*time.Millisecond, make(chan struct{}, 1)
	c.closed, c.close = context.WithCancel(t.Context())
	defer c.close()
	_, done, err := c.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.begin(t.Context()); !errors.Is(err, errBusy) {
		t.Error(err)
	}
	done()
	_, done, err = c.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done()
}

func TestRepliesAreCompared(t *testing.T) {
	answer := func(minted, height, time uint64) reply {
		return reply{answer: contract.Answer{Ledger: &contract.LedgerInfo{Organisations: int(minted), Height: height}, Time: time}}
	}
	malformed := reply{refusal: admission.FailureOf(contract.ErrQuery)}
	for what, one := range map[string]struct {
		a, b reply
		same bool
	}{
		"heights and a few seconds apart": {answer(1, 10, 100), answer(1, 12, 130), true},
		"a wrong clock":                   {answer(1, 10, 100), answer(1, 10, 700), false},
		"other rows":                      {answer(1, 10, 100), answer(2, 10, 100), false},
		"an answer and none":              {answer(1, 10, 100), malformed, false},
		"two refusals":                    {malformed, malformed, true},
	} {
		if got := sameReply(one.a, one.b); got != one.same {
			t.Errorf("%s: %v", what, got)
		}
	}
	g := &gateway{}
	got := middle([]statement[reply]{{by: g, says: answer(1, 12, 130)}, {by: g, says: answer(1, 10, 100)}, {by: g, says: answer(1, 11, 101)}}).answer
	if got.Ledger.Height != 10 || got.Time != 101 {
		t.Errorf("%+v", got)
	}
}
