package journal

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sideEntries is every way of a writer into a side log; entry i differs from the others.
var sideEntries = map[string]struct {
	log   string
	enter func(w *Writer, i int) error
}{
	"map": {symbolsName, func(w *Writer, i int) error { return w.Map(uint32(100+i), "MAPPED") }},
	"instrument": {symbolsName, func(w *Writer, i int) error {
		_, err := w.Instrument(Instrument{Symbol: "NEW" + string(rune('A'+i))})
		return err
	}},
	"gap": {ledgerName, func(w *Writer, _ int) error { return w.Gap(Gap{Schema: trades, Cause: CauseUpstream}) }},
	"stream": {streamsName, func(w *Writer, i int) error {
		_, err := w.d.OpenWriter(WriterOptions{Producer: "other", Stream: "s" + string(rune('A'+i))})
		return err
	}},
}

func TestFullSideLogIsAStateThatPasses(t *testing.T) {
	for name, x := range sideEntries {
		t.Run(name, func(t *testing.T) {
			disk := NewMemDisk()
			d := create(t, open(t, "j", memOptions(disk)))
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
			disk.Fault(func(op, path string) error {
				if op == "write" && filepath.Base(path) == x.log {
					return syscall.ENOSPC
				}
				return nil
			})
			for i := range 2 {
				if err := x.enter(w, i); !errors.Is(err, ErrDiskFull) {
					t.Fatalf("entry on a full disk: %v", err)
				}
				if err := d.Err(); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), x.log) {
					t.Fatalf("state on a full disk: %v", err)
				}
			}
			if name != "stream" { // there is no writer yet that could wait
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("wait on a full disk: %v", err)
				}
			}
			if n, err := w.Append([]Run{{trades, record(trades, 1, 10)}}); n != 1 || err != nil {
				t.Errorf("append to a tape that has room: %d, %v", n, err)
			}
			disk.Fault(nil)
			eventually(t, "the state to pass without another entry", func() bool { return d.Err() == nil })
			if err := x.enter(w, 0); err != nil {
				t.Errorf("entry with room again: %v", err)
			}
		})
	}
}

func TestWaitForASideLogEndsWithTheRoomItWaitedFor(t *testing.T) {
	for name, x := range sideEntries {
		if name == "stream" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			disk := NewMemDisk()
			d := create(t, open(t, "j", memOptions(disk)))
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			disk.Limit(disk.Used())
			if err := x.enter(w, 0); !errors.Is(err, ErrDiskFull) {
				t.Fatalf("entry on a full disk: %v", err)
			}
			waited := make(chan error, 1)
			go func() { waited <- w.Wait(context.Background()) }()
			disk.Limit(-1)
			if err := <-waited; err != nil {
				t.Fatalf("wait: %v", err)
			}
			disk.Limit(disk.Used()) // full again: the room is kept for the entry
			crashed := disk.Clone(false)
			if err := x.enter(w, 0); err != nil {
				t.Errorf("entry after wait: %v", err)
			}
			// A kill in between leaves nothing but zeros, which are no entry and no damage.
			before := d.Symbols().Len() + len(d.Gaps())
			d = open(t, "j", memOptions(crashed)).Lookup(testDataset)
			if got := d.Symbols().Len() + len(d.Gaps()); got != before-1 {
				t.Errorf("%d entries after a kill, want %d", got, before-1)
			}
			if kept, err := crashed.List(filepath.Join(d.dir, quarantineDir)); len(kept) > 0 {
				t.Errorf("quarantined: %q, %v", kept, err)
			}
		})
	}
}
