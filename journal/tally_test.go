package journal

import (
	"slices"
	"testing"
	"time"
)

// Where more names are known than can be shown, those that publish now must not be crowded out by those of long ago.
func TestProducersAreListedNewestStreamFirst(t *testing.T) {
	a := newAging(t, "/data", NewMemDisk(), Retention{})
	for _, s := range []struct{ producer, stream string }{{"once-a", "1"}, {"adapter", "1"}, {"once-b", "1"}, {"adapter", "2"}} {
		a.clock.Add(int64(time.Second))
		openWriter(t, a.d, s.producer, s.stream).Close()
	}
	if got := a.d.Producers(); !slices.Equal(got[:3], []string{"adapter", "once-b", "once-a"}) {
		t.Errorf("listed as %v", got)
	}
}
