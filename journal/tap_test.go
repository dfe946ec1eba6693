package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// A tap follows over many segments while they are sealed, renamed and cut to
// size under it: every record, once, in order, and never a byte beyond the tail.
func TestATapFollowsOverSealedSegments(t *testing.T) {
	j, w := openTapJournal(t, t.TempDir())
	tap := openTestTap(t, j.dir)
	const total = 200_000
	done := make(chan error, 1)
	go func() { done <- appendTrades(w, 0, total) }()
	next := 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for next < total {
		b, err := tap.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			if err := tap.Wait(ctx); err != nil {
				t.Fatalf("after %d records: %v", next, err)
			}
		}
		for ; len(b) > 0; b = b[tap.RecordSize():] {
			if got := int(number(b)); got != next {
				t.Fatalf("record %d came where %d was due", got, next)
			}
			next++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if sealed, _ := filepath.Glob(filepath.Join(j.dir, testDataset, "trades", "*"+sealedSuffix)); len(sealed) < 10 {
		t.Errorf("only %d segments were sealed under the tap", len(sealed))
	}
}

// A tap can begin anywhere: at a record, and at a time.
func TestATapSeeksLikeATape(t *testing.T) {
	j, w := openTapJournal(t, t.TempDir())
	const total = 20_000
	if err := appendTrades(w, 0, total); err != nil {
		t.Fatal(err)
	}
	tape := j.Lookup(testDataset).Tape(trades)
	tap := openTestTap(t, j.dir)
	for _, seq := range []uint64{0, 1, total / 2, total - 1, total} {
		if err := tap.Seek(seq); err != nil {
			t.Fatal(err)
		}
		b, err := tap.Next()
		if err != nil || seq < total && int(number(b)) != int(seq) || seq == total && b != nil {
			t.Errorf("seek %d: %d bytes, %v", seq, len(b), err)
		}
		ts := seq // a record's time is its number
		if err := tap.SeekTime(feed.ClockEvent, ts); err != nil {
			t.Fatal(err)
		}
		if want, err := tape.Seek(feed.ClockEvent, ts); err != nil || tap.Seq() != want {
			t.Errorf("time of record %d: the tap is at %d, the tape says %d, %v", seq, tap.Seq(), want, err)
		}
	}
	if err := tap.Seek(total + 1); !errors.Is(err, ErrBeyondTail) {
		t.Errorf("seek beyond the tail: %v", err)
	}
}

// A tap that looks for a record while others expire finds what is kept, and never
// takes that a file has just gone for anything but age.
func TestATapSeeksWhileTheOldestExpire(t *testing.T) {
	j := open(t, t.TempDir(), Options{
		AnyFilesystem: true, MinSegment: 64 << 10, MaxSegment: 64 << 10, Sync: SyncPolicy{Interval: time.Millisecond},
	})
	w := openWriter(t, create(t, j), "tap", "1")
	const total = 200_000
	if err := appendTrades(w, 0, total); err != nil {
		t.Fatal(err)
	}
	tape := j.Lookup(testDataset).Tape(trades)
	eventually(t, "some are sealed", func() bool { return len(tape.aged(forEver)) > 2 })
	tap := openTestTap(t, j.dir)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for _, c := range tape.aged(forEver) {
			if err := tape.d.expire(tape, []*Segment{c.s}); err != nil {
				t.Error(err)
			}
		}
	}()
	for over := false; !over; {
		select {
		case <-gone:
			over = true
		default:
		}
		if err := tap.Seek(total - 1); err != nil {
			t.Fatalf("the newest record: %v", err)
		}
		if err := tap.SeekTime(feed.ClockEvent, 0); err != nil {
			t.Fatalf("the oldest that is kept: %v", err)
		}
		if first := tape.First(); tap.Seq() > first {
			t.Fatalf("the oldest is %d, found is %d", first, tap.Seq())
		}
	}
	if tape.First() == 0 || tap.Seq() != tape.First() {
		t.Errorf("the tape begins with %d, the tap found %d", tape.First(), tap.Seq())
	}
}

// A server that is killed and opened again goes on in the same pages: the tap
// notices nothing. Only a recovery that begins an epoch ends it, by name.
func TestATapOutlivesItsServer(t *testing.T) {
	if dir := os.Getenv("TAP_TEST_SERVER"); dir != "" {
		_, w := openTapJournal(t, dir)
		if err := appendTrades(w, w.Accepted(), 5_000); err != nil {
			t.Fatal(err)
		}
		fmt.Println("appended")
		select {} // until it is killed
	}
	dir := t.TempDir()
	var tap *Tap
	for round := range 3 {
		server := exec.Command(os.Args[0], "-test.run=^TestATapOutlivesItsServer$", "-test.v")
		server.Env = append(os.Environ(), "TAP_TEST_SERVER="+dir)
		server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "appended"; {
		}
		if tap == nil {
			tap = openTestTap(t, dir)
			if err := tap.Seek(0); err != nil {
				t.Fatal(err)
			}
		}
		for want := uint64(round+1) * 5_000; tap.Seq() < want; {
			from := tap.Seq()
			b, err := tap.Next()
			if err != nil || b == nil || int(number(b)) != int(from) {
				t.Fatalf("round %d, record %d: %d bytes, %v", round, from, len(b), err)
			}
		}
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}
	if err := tap.check(); err != nil {
		t.Errorf("after three kills: %v", err)
	}
	state := filepath.Join(dir, testDataset, stateName)
	b, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state+".new", b, 0o600); err != nil { // another file, as after a restore
		t.Fatal(err)
	}
	if err := os.Rename(state+".new", state); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := tap.Wait(ctx); !errors.Is(err, ErrReplaced) {
		t.Errorf("the state page was replaced, the tap says %v", err)
	}
	copied, err := OpenTap(dir, testDataset, trades)
	if err != nil || copied.Tail() != 15_000 {
		t.Errorf("a copied state page, whose sums are true: %v", err)
	}
	copied.Close()
	b[stateStreams+8] ^= 1 // not written back
	if err := os.WriteFile(state, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTap(dir, testDataset, trades); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a copied state page, whose sums are not true: %v, want %v", err, ErrNotRunning)
	}
}

// A dataset that nobody has published to is told from one that is damaged.
func TestATapOfNothingSaysSo(t *testing.T) {
	j, _ := openTapJournal(t, t.TempDir())
	if _, err := OpenTap(j.dir, "NOT.THERE", trades); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no dataset: %v", err)
	}
	tap, err := OpenTap(j.dir, testDataset, mbp1)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	if b, err := tap.Next(); b != nil || err != nil {
		t.Errorf("a tape without records: %d bytes, %v", len(b), err)
	}
}

// A reader that spins must not allocate, neither while it waits nor for a record.
func TestATapDoesNotAllocate(t *testing.T) {
	j, w := openTapJournal(t, t.TempDir())
	tap := openTestTap(t, j.dir)
	if err := appendTrades(w, 0, 1); err != nil {
		t.Fatal(err)
	}
	if b, err := tap.Next(); err != nil || len(b) != tap.RecordSize() {
		t.Fatalf("the first record: %d bytes, %v", len(b), err)
	}
	one := record(trades, 1, 1)
	runs := []Run{{Schema: trades, Bytes: one}}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.Append(runs); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if b, err := tap.Next(); err != nil || (b == nil) != (i == 1) {
				t.Fatalf("call %d: %d bytes, %v", i, len(b), err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

// A name is there before the record that needs it, and a new one with Refresh.
func TestATapKnowsTheSymbolOfARecord(t *testing.T) {
	j, w := openTapJournal(t, t.TempDir())
	tap := openTestTap(t, j.dir)
	if err := w.Map(7, "SEVEN"); err != nil {
		t.Fatal(err)
	}
	if name, ok := tap.Symbol(7); !ok || name != "SEVEN" {
		t.Errorf("id 7 is %q, %v", name, ok)
	}
	if name, ok := tap.Symbol(8); ok {
		t.Errorf("id 8 is %q", name)
	}
	if err := w.Map(8, "EIGHT"); err != nil {
		t.Fatal(err)
	}
	if err := tap.Refresh(); err != nil {
		t.Fatal(err)
	}
	if name, _ := tap.Symbol(8); name != "EIGHT" {
		t.Errorf("id 8 is %q after it was named", name)
	}
}

// openTapJournal opens a journal of the smallest segments that syncs all the time, so that much is sealed.
func openTapJournal(t *testing.T, dir string) (*Journal, *Writer) {
	t.Helper()
	j := open(t, dir, Options{AnyFilesystem: true, MinSegment: 64 << 10, MaxSegment: 64 << 10, Sync: SyncPolicy{Interval: time.Millisecond}})
	return j, openWriter(t, create(t, j), "tap", "1")
}

// appendTrades appends n trades of which each has its number.
func appendTrades(w *Writer, from uint64, n int) error {
	for at, end := from, from+uint64(n); at < end; {
		k := min(end-at, 1+at%97)
		if err := appendAll(w, Run{trades, records(trades, 1, at, int(k))}); err != nil {
			return err
		}
		at += k
	}
	return nil
}

// number is what record put into one.
func number(b []byte) uint64 { return feed.Record(b).TsEvent() }

func openTestTap(t *testing.T, dir string) *Tap {
	t.Helper()
	tap, err := OpenTap(dir, testDataset, trades)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	return tap
}

// A tap has no server between itself and the disk: it must not hand out what a server would not. What is damaged is told, and all around it is given.
func TestATapPassesOverDamagedRecords(t *testing.T) {
	const total = 20_000
	for _, suffix := range []string{sealedSuffix, activeSuffix} {
		t.Run(suffix, func(t *testing.T) {
			dir := t.TempDir()
			j, w := openTapJournal(t, dir)
			if err := appendTrades(w, 0, total); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, testDataset, "trades", "*"+suffix))
			if err != nil || len(files) == 0 {
				t.Fatalf("no file: %v", err)
			}
			f, err := os.OpenFile(files[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := readSegmentInfo(&osFile{f}, files[0])
			if err != nil {
				t.Fatal(err)
			}
			hurt := info.base + 10
			if _, err := f.WriteAt([]byte{0x5a}, info.header+10*48+20); err != nil {
				t.Fatal(err)
			}
			f.Close()
			open(t, dir, Options{AnyFilesystem: true})
			tap := openTestTap(t, dir)
			if err := tap.Seek(0); err != nil {
				t.Fatal(err)
			}
			next, missing := uint64(0), (*MissingError)(nil)
			for next < total {
				b, err := tap.Next()
				if errors.As(err, &missing) {
					if !errors.Is(err, ErrDamaged) || missing.From != next || hurt < missing.From || hurt >= missing.To || tap.Seq() != missing.To {
						t.Fatalf("at record %d: %v; hurt is %d, the tap is at %d", next, err, hurt, tap.Seq())
					}
					next = missing.To
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for ; len(b) > 0; b = b[tap.RecordSize():] {
					if number(b) != next {
						t.Fatalf("record %d came where %d was due", number(b), next)
					}
					next++
				}
			}
			if missing == nil {
				t.Error("the damaged record was given")
			}
			if err := tap.SeekTime(feed.ClockEvent, 0); err != nil {
				t.Errorf("the first time in a damaged tape: %v", err)
			}
		})
	}
}
