//go:build fabric

package fabric

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"golang.org/x/sync/errgroup"

	"torrente/payment/contract"
)

// figure is what a number of transactions took.
type figure struct {
	count  int
	took   time.Duration
	middle time.Duration // latency
	slow   time.Duration // of one in twenty
	used   string
}

func (f figure) perSecond() float64 { return float64(f.count) / f.took.Seconds() }

func (f figure) String() string {
	return fmt.Sprintf("%7.1f tx/s, latency %4d ms, 95 %% below %4d ms; %s", f.perSecond(), f.middle.Milliseconds(), f.slow.Milliseconds(), f.used)
}

// measure has so many done, some at once.
func (m *market) measure(b *testing.B, count, inFlight int, do func(i int) error) figure {
	b.Helper()
	before := m.network.usage(b)
	latencies := make([]time.Duration, count)
	var next atomic.Int64
	var all errgroup.Group
	began := time.Now()
	for range inFlight {
		all.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= count {
					return nil
				}
				at := time.Now()
				if err := do(i); err != nil {
					return err
				}
				latencies[i] = time.Since(at)
			}
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	slices.Sort(latencies)
	return figure{count, took, latencies[count/2], latencies[count*19/20], m.network.usage(b).each(before, count)}
}

// typical is the one with the middle rate.
func typical(all []figure) figure {
	slices.SortFunc(all, func(a, b figure) int { return cmp.Compare(a.perSecond(), b.perSecond()) })
	return all[len(all)/2]
}

// BenchmarkRealNetwork prints how fast the ledger is on three orderers and three
// organisations on this machine, beside what the network can do: a function of
// the same chaincode that writes one row of 64 bytes, by Fabric's own client.
func BenchmarkRealNetwork(b *testing.B) {
	m := newMarket(b)
	n := newNetwork(b, m.genesis)
	bare := n.withBareFunction(b)
	for _, organisation := range organisationsOfNetwork {
		n.replaceChaincode(b, organisation, bare)
	}
	began := time.Now()
	m.open(b, n)
	m.atHome(b)
	b.Logf("%d commitments opened in %s", payersOfMarket*uploadersOfMarket*slotsOfMarket, time.Since(began).Round(time.Second))
	for b.Loop() { // once
		one := m.beside(b, 64, 256, 11)
		m.beside(b, 1, 24, 5)
		m.crowded(b)
		m.perTransaction(b, one)
		m.balances(b)
	}
}

// withBareFunction builds a chaincode with one more function.
func (n *realNetwork) withBareFunction(b *testing.B) string {
	const last = "invocation.Query:  {(*chaincode).query, invocation.MaxQuery},\n}"
	return n.changed(b, "cmd/torrente-chaincode/chaincode.go", last, `invocation.Query:  {(*chaincode).query, invocation.MaxQuery},
	"bare": {(*chaincode).bare, 64},
}

func (c *chaincode) bare(stub shim.ChaincodeStubInterface, argument []byte) (any, error) {
	return invocation.Outcome{Wrote: true}, stub.PutState(fmt.Sprintf("bare%x", argument), make([]byte, 64))
}
`)
}

// bare does with the network what it is made for, and no more.
func bare(b *testing.B, c *Client) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // which never fails
	p, err := c.gateways[0].contract.NewProposal("bare", client.WithBytesArguments(key))
	if err != nil {
		return err
	}
	tx, err := p.EndorseWithContext(b.Context())
	if err != nil {
		return err
	}
	_, err = c.sendAndAsk(b.Context(), tx)
	return err
}

// beside measures redeems of one claim beside the bare network, in turn: the
// machine's speed changes meanwhile, so the ratio is the middle one of all turns.
func (m *market) beside(b *testing.B, inFlight, count, rounds int) figure {
	var theirs, ours []figure
	for range rounds {
		theirs = append(theirs, m.measure(b, count, inFlight, func(i int) error { return bare(b, m.client(i)) }))
		ours = append(ours, m.measure(b, count, inFlight, func(i int) error { return m.redeem(b, i, 1) }))
	}
	var ratios []float64
	for i := range rounds {
		ratios = append(ratios, ours[i].perSecond()/theirs[i].perSecond())
	}
	slices.Sort(ratios)
	network, one, ratio := typical(theirs), typical(ours), ratios[rounds/2]
	b.Logf("%2d in flight: the bare network %s", inFlight, network)
	b.Logf("%2d in flight: redeems of one   %s: %.2f of the bare network (%.2f to %.2f)", inFlight, one, ratio, ratios[0], ratios[rounds-1])
	b.ReportMetric(ratio, fmt.Sprintf("of-bare-%d", inFlight))
	return one
}

// crowded has all uploaders redeem while all payers open and raise commitments.
func (m *market) crowded(b *testing.B) {
	attempts, conflicts := m.attempts()
	var calls atomic.Int64
	done := make(chan struct{})
	var paying errgroup.Group
	for i, p := range m.payers {
		paying.Go(func() error {
			for at := 0; ; at++ {
				select {
				case <-done:
					return nil
				default:
				}
				if err := m.openAndRaise(b, m.client(i), p, m.uploaders[at%len(m.uploaders)]); err != nil {
					return err
				}
				calls.Add(2)
			}
		})
	}
	redeems := m.measure(b, 640, uploadersOfMarket, func(i int) error { return m.redeem(b, i, 1) })
	close(done)
	if err := paying.Wait(); err != nil {
		b.Fatal(err)
	}
	all := float64(calls.Load()) + 640
	after, conflicted := m.attempts()
	share := 100 * float64(conflicted-conflicts) / all
	b.Logf("64 uploaders and 16 payers at once: redeems %s; %.0f opens and raises; of %.0f calls %d conflicted (%.2f %%) and %.0f were attempted again, all with success",
		redeems, all-640, all, conflicted-conflicts, share, float64(after-attempts)-all)
	b.ReportMetric(share, "%-conflicts")
}

func (m *market) attempts() (attempts, conflicts uint64) {
	for _, c := range m.clients {
		attempts += c.attempts.Load()
		conflicts += c.conflicts.Load()
	}
	return attempts, conflicts
}

func (m *market) openAndRaise(b *testing.B, c *Client, p *payer, u *uploader) error {
	o, claim := m.promise(c, p, u, linksOfMarket/2)
	p.slot++
	if err := m.call(b, c, p.id, &contract.OpenMany{Opens: []contract.Open{o}}); err != nil {
		return err
	}
	return m.call(b, c, p.id, &contract.TopUpMany{TopUps: []contract.TopUp{{Commitment: claim.Commitment, K: 1, Cap: linksOfMarket}}})
}

// perTransaction measures how many redeems a second go if they are many to a
// transaction.
func (m *market) perTransaction(b *testing.B, one figure) {
	rates := map[int]float64{1: one.perSecond()}
	for _, claims := range []int{20, 200} {
		count := uploadersOfMarket
		if claims == 20 {
			count *= 2
		}
		f := m.measure(b, count, uploadersOfMarket, func(i int) error { return m.redeem(b, i, claims) })
		rates[claims] = f.perSecond() * float64(claims)
		b.Logf("%3d redeems in each: %s", claims, f)
	}
	for _, claims := range []int{1, 20, 200} {
		b.Logf("%3d to a transaction: %6.0f redeems/s, %.1f times the rate at 1", claims, rates[claims], rates[claims]/rates[1])
	}
	b.ReportMetric(rates[200], "redeems/s")
}
