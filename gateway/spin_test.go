package gateway

import (
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// A loop that never sleeps serves and shuts down like any other, and its spinner
// is no client: it is in no count.
func TestASpinningGatewayServesAndEnds(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Spin = true })
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	if n := s.sockets.Load(); n != 1 {
		t.Errorf("%d sockets are counted, want the subscriber's alone", n)
	}
	const n = 5000
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, n)...)
	want := 0
	take(t, sub, func(r feed.Record) bool {
		if r.RType() != feed.RTypeMbp0 {
			return false
		}
		if got := sequence(r); got != want {
			t.Fatalf("record %d came as number %d", got, want)
		}
		want++
		return want == n
	})
}
