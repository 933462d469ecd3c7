package ledger

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"torrente/payment/contract"
)

// BenchmarkSubmit measures transactions that are on the disk when they are
// answered. They are signed before the clock starts.
func BenchmarkSubmit(b *testing.B) {
	for _, submitters := range []int{1, 64} {
		b.Run(fmt.Sprintf("submitters=%d", submitters), func(b *testing.B) {
			e := opened(b, created(b))
			work := make(chan *contract.Signed, b.N)
			for range b.N {
				work <- sign(b, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))
			}
			close(work)
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range submitters {
				all.Go(func() {
					for s := range work {
						if r, err := e.Submit(context.Background(), s); err != nil || r.Code != contract.OK {
							b.Error(r, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			b.ReportMetric(float64(b.N)/float64(e.Status().Height), "tx/block")
		})
	}
}
