package journal

import (
	"slices"
	"testing"
)

// TestALossDoesNotGrowOverWhatCameLater: each process holds what it added against a sum of its own, so that a flipped bit costs what was there before alone, however often
// the journal is opened again; and what is whole makes no endless list of sums.
func TestALossDoesNotGrowOverWhatCameLater(t *testing.T) {
	const hurt, each, openings = 100, 10, 3 * spareSums
	disk := NewMemDisk()
	o := Options{Disk: disk, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: 1 << 20, MaxSegment: 1 << 20} // never full: sealed ones have sums by block
	tail, most := uint64(0), 0
	for i := range openings {
		j := open(t, "j", o)
		d := j.Lookup(testDataset)
		if d == nil {
			d = create(t, j)
		}
		n := each
		if tail == 0 {
			n = hurt
		}
		mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, tail, n)})
		s := (*d.Tape(trades).segs.Load())[0]
		tail += uint64(n)
		most = max(most, len(s.sums))
		path, at := s.path(), int(s.Offset(hurt/2))
		if i > 0 {
			if got, err := readServed(d.Tape(trades), 0, tail); err != nil || got != tail-hurt || !slices.Equal(d.Tape(trades).Holes(), []Hole{{0, hurt, CauseDamaged}}) {
				t.Fatalf("opening %d: %d records of %d, holes %v: %v", i, got, tail, d.Tape(trades).Holes(), err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			flip(disk, path, at)
		}
	}
	if most > spareSums+4 {
		t.Errorf("%d sums of one segment", most)
	}
}
