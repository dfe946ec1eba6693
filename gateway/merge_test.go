package gateway

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// A record whose clock was a generation ahead is off in a merge by itself alone: what
// lies behind it on its tape does not wait for the other schema's end.
func TestOneWrongClockHoldsUpNoMerge(t *testing.T) {
	s := serveTest(t)
	const n = 3000
	var trades, quotes [][]byte
	for i := range n {
		r := trade(1, i)
		if i%2 == 1 {
			r = quote(1, i)
		}
		if i == 100 {
			for _, at := range []int{8, 32} {
				binary.LittleEndian.PutUint64(r[at:], 2_682_374_400_000_000_000) // 2055
			}
		}
		if i%2 == 0 {
			trades = append(trades, r)
		} else {
			quotes = append(quotes, r)
		}
	}
	publish(t, s, "trades", metadataOf(feed.SchemaTrades), trades...)
	publish(t, s, "quotes", metadataOf(feed.SchemaMbp1), quotes...)
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)}, feed.Subscription{Schema: feed.SchemaMbp1, Start: new(uint64)})
	var order []int
	done := 0
	take(t, sub, func(r feed.Record) bool {
		if !r.RType().IsControl() {
			order = append(order, sequence(r))
		}
		if strings.HasPrefix(systemText(r), "3 Finished") {
			done++
		}
		return done == 2
	})
	for i, got := range order {
		if off := got - i; off < -2 || off > 2 {
			t.Fatalf("record %d came in place %d", got, i)
		}
	}
	if len(order) != n {
		t.Errorf("%d records, want %d", len(order), n)
	}
}
