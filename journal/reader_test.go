package journal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// follow reads a tape as a live reader does, until it has seen n records, and checks each against what was sent.
func follow(tape *Tape, stream uint32, n uint64) error {
	size := uint64(tape.RecordSize())
	seg, err := tape.Segment(0)
	if err != nil {
		return err
	}
	defer func() { seg.Release() }()
	var buf []byte
	for seq := uint64(0); seq < n; {
		tail := tape.Tail()
		if seq == tail {
			continue // the race detector's schedule decides how often; a reader of the server is woken
		}
		if seq == seg.Limit() {
			next, err := tape.Segment(seq)
			if err != nil {
				return err
			}
			seg.Release()
			seg = next
		}
		to := min(tail, seg.Limit(), seq+500)
		b := seg.Mapped(seq, to)
		if b == nil {
			buf = append(buf[:0], make([]byte, (to-seq)*size)...)
			if _, err := seg.ReadAt(buf, seg.Offset(seq)); err != nil {
				return err
			}
			b = buf
		}
		for ; len(b) > 0; b = b[size:] {
			if string(b[:size]) != string(record(tape.Schema(), stream, seq)) {
				return fmt.Errorf("record %d is not what was sent", seq)
			}
			seq++
		}
	}
	return nil
}

func TestReadersAtTheMomentOfRotationAndSealing(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		if raceEnabled && dir != "j" {
			t.Skip("the race detector does not see mapped memory")
		}
		const n = 12_000
		// A segment holds 256 records and a sync follows each commit, so that sealing is never far behind.
		j := open(t, dir, Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Each: true}})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 1)})
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range 3 {
			wg.Go(func() {
				if err := follow(d.Tape(trades), 1, n); err != nil {
					errs <- err
				}
			})
		}
		var stop atomic.Bool
		wg.Go(func() { // seeks, and pins of old segments that come and go
			for i := uint64(0); !stop.Load(); i += 37 {
				tape := d.Tape(trades)
				ts := i % tape.Tail()
				if seq, err := tape.Seek(feed.ClockRecv, ts); err != nil || seq != ts {
					errs <- fmt.Errorf("seek to %d finds %d: %w", ts, seq, err)
					return
				}
				s, err := tape.Segment(ts)
				if err != nil {
					errs <- err
					return
				}
				b := make([]byte, tape.RecordSize())
				if _, err := s.ReadAt(b, s.Offset(ts)); err != nil || string(b) != string(record(trades, 1, ts)) {
					errs <- fmt.Errorf("record %d is not what was sent: %w", ts, err)
				}
				s.Release()
			}
		})
		for i := uint64(1); i < n; i += 7 {
			mustAppend(t, w, Run{trades, records(trades, 1, i, int(min(7, n-i)))})
		}
		eventually(t, "the last sync", func() bool { return w.Synced() == n })
		stop.Store(true)
		wg.Wait()
		close(errs)
		for err := range errs {
			t.Error(err)
		}
		sealAll(t, d, trades)
	})
}

func TestSealedSegmentLetsItsMappingGoWithTheLastReader(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		j := open(t, dir, Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
		tape := d.Tape(trades)
		held, err := tape.Segment(0)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, w, Run{trades, records(trades, 1, 10, 990)})
		sealAll(t, d, trades)
		if held.Mapped(0, 10) == nil {
			t.Fatal("a held segment lost its mapping when it was sealed")
		}
		again, err := tape.Segment(3)
		if err != nil {
			t.Fatal(err)
		}
		held.Release()
		if string(again.Mapped(3, 5)) != string(records(trades, 1, 3, 2)) {
			t.Error("the mapping went with the first of two readers")
		}
		again.Release()
		fresh, err := tape.Segment(3)
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Release()
		if fresh.Mapped(3, 5) != nil {
			t.Error("a sealed segment is still mapped with nobody holding it")
		}
		b := make([]byte, 2*tape.RecordSize())
		if _, err := fresh.ReadAt(b, fresh.Offset(3)); err != nil || string(b) != string(records(trades, 1, 3, 2)) {
			t.Errorf("read of a sealed segment: %v", err)
		}
	})
}

func TestPositionsOutsideOfTheTapeAreRefused(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	if d.Tape(trades) != nil || d.Tape(feed.SchemaNone) != nil {
		t.Error("a tape without records is there")
	}
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 10)})
	if _, err := d.Tape(trades).Segment(11); !errors.Is(err, ErrBeyondTail) {
		t.Errorf("beyond the tail: %v", err)
	}
	s, err := d.Tape(trades).Segment(10)
	if err != nil {
		t.Fatalf("at the tail: %v", err)
	}
	s.Release()
	d.Tape(trades).first.Store(5) // as retention will
	if _, err := d.Tape(trades).Segment(4); !errors.Is(err, ErrAgedOut) {
		t.Errorf("below the first: %v", err)
	}
}

func TestWatchersHearOfCommitsSyncsAndDatasetsUntilCancelled(t *testing.T) {
	j := open(t, "j", memOptions(NewMemDisk()))
	var datasets, commits, syncs atomic.Int64
	j.Watch(func() { datasets.Add(1) })
	d := create(t, j)
	create(t, j)
	cancel := d.Watch(func() { commits.Add(1) }, func() { syncs.Add(1) })
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 1)})
	mustAppend(t, w, Run{trades, records(trades, 1, 1, 1)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	cancel()
	mustAppend(t, w, Run{trades, records(trades, 1, 2, 1)})
	if datasets.Load() != 1 || commits.Load() != 2 || syncs.Load() != 1 {
		t.Errorf("%d datasets %d commits %d syncs, want 1, 2 and 1", datasets.Load(), commits.Load(), syncs.Load())
	}
}
