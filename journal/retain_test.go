package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// aging is a journal of small segments whose clock a test moves.
type aging struct {
	t     testing.TB
	dir   string
	clock atomic.Int64 // ns
	o     Options
	j     *Journal
	d     *Dataset
	w     *Writer
	sent  uint64
}

func newAging(t testing.TB, dir string, disk Disk, r Retention) *aging {
	a := &aging{t: t, dir: dir}
	a.clock.Store(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).UnixNano())
	a.o = Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment, Retain: r, AnyFilesystem: true, Sync: SyncPolicy{Bytes: maxSyncBytes},
		Now: func() time.Time { return time.Unix(0, a.clock.Load()) }}
	a.open()
	return a
}

func (a *aging) open() {
	a.t.Helper()
	a.j = open(a.t, a.dir, a.o)
	a.d = create(a.t, a.j)
	a.w = openWriter(a.t, a.d, "p", "s")
}

// fill appends n records, has them on disk and what is full sealed, and lets time pass.
func (a *aging) fill(n int, then time.Duration) {
	a.t.Helper()
	mustAppend(a.t, a.w, Run{trades, records(trades, 1, a.sent, n)})
	a.sent += uint64(n)
	if err := a.d.Sync(); err != nil {
		a.t.Fatal(err)
	}
	sealAll(a.t, a.d, trades)
	a.clock.Add(int64(then))
}

func (a *aging) tape() *Tape { return a.d.Tape(trades) }

// kept checks that exactly the records from first on are served.
func (a *aging) kept(first uint64) {
	a.t.Helper()
	if a.tape().First() != first {
		a.t.Errorf("the tape begins with %d, want %d", a.tape().First(), first)
	}
	got, err := readTape(a.tape())
	if err != nil || !bytes.Equal(got, records(trades, 1, first, int(a.sent-first))) {
		a.t.Errorf("%d bytes are served from %d on, %v", len(got), first, err)
	}
	report, err := verify(a.o.Disk, a.dir, nil)
	if err != nil || len(report.Problems) > 0 || report.Tapes[0].First != first {
		a.t.Errorf("verify: %+v, %v", report, err)
	}
}

func TestOldSegmentsGoAndTheLedgerSaysWhat(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		a := newAging(t, dir+"/x", mkdir(t, dir, disk), Retention{Age: 2 * time.Hour})
		a.fill(1500, time.Hour)
		kept := a.tape().active.base
		a.fill(1500, 0)
		a.clock.Add(int64(90 * time.Minute)) // what was written first is older than two hours now, the rest is not
		a.j.retainRound()
		a.kept(kept)
		for _, file := range []string{sealedSuffix, indexSuffix} {
			if f, err := disk.Open(segmentPath(a.tape().dir, 1, file), true); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of the first segment: %v, %v", file, f, err)
			}
		}
		for range 2 {
			if g := a.d.Gaps(); len(g) != 1 || g[0].Cause != CauseExpired || g[0].Records != kept || seqIn(g[0].At, trades) != kept || g[0].FromTs != 0 || g[0].ToTs != kept-1 {
				t.Errorf("the ledger says %+v, want one entry for %d records", g, kept)
			}
			if _, err := a.tape().Segment(0); !errors.Is(err, ErrAgedOut) {
				t.Errorf("the first record: %v", err)
			}
			if h, ok := a.tape().NextHole(0); !ok || h != (Hole{0, kept, CauseExpired}) {
				t.Errorf("a reader from the first record finds %v", a.tape().Holes())
			}
			if seq, err := a.tape().Seek(0, 0); err != nil || seq != kept {
				t.Errorf("the oldest time is at %d, %v", seq, err)
			}
			if len(a.tape().Marks()) > 0 {
				t.Errorf("readers of what is kept are told %v", a.tape().Marks())
			}
			info, err := inspect(disk, a.dir)
			if err != nil || info[0].Gaps != 1 || info[0].Tapes[0].First != kept {
				t.Errorf("inspect: %+v, %v", info, err)
			}
			if err := a.j.Close(); err != nil {
				t.Fatal(err)
			}
			a.open()
		}
		a.kept(kept)
	})
}

// mkdir makes what a journal's parent has to be.
func mkdir(t *testing.T, dir string, disk Disk) Disk {
	if err := disk.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
	return disk
}

// A ledger that grew with each segment would be full one day, and take no gap any more.
func TestLedgerHasOneEntryForAllThatExpired(t *testing.T) {
	a := newAging(t, "j", NewMemDisk(), Retention{Age: time.Hour})
	first := uint64(0)
	for range 10 {
		a.fill(700, 2*time.Hour)
		a.j.retainRound()
		if a.tape().First() <= first {
			t.Fatalf("nothing more goes after record %d", first)
		}
		first = a.tape().First()
	}
	if g := a.d.Gaps(); len(g) != 1 || g[0].Records != first {
		t.Errorf("after %d records are gone the ledger has %d entries: %+v", first, len(g), g)
	}
}

// A reader that holds a segment keeps it, as it keeps the place on the disk.
func TestReaderOfASegmentThatExpiresReadsOn(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		a := newAging(t, dir+"/x", mkdir(t, dir, disk), Retention{Age: time.Hour})
		a.fill(1000, 0)
		s, err := a.tape().Segment(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		a.clock.Add(int64(2 * time.Hour))
		if a.j.retainRound(); a.tape().First() == 0 {
			t.Fatal("nothing has gone")
		}
		b := make([]byte, 48*10)
		if _, err := s.ReadAt(b, s.Offset(0)); err != nil || !bytes.Equal(b, records(trades, 1, 0, 10)) {
			t.Errorf("the held segment: %v", err)
		}
	})
}

// The disk is the reason here, not the age; and what is young stays, or a disk that others fill would cost everything at once.
func TestFullDiskLetsTheOldestGoButNotWhatIsYoung(t *testing.T) {
	disk := NewMemDisk()
	a := newAging(t, "j", disk, Retention{Disk: 50})
	a.fill(2000, 2*retainLeast)
	young := a.tape().active.base
	a.fill(1000, 0)
	disk.Limit(disk.Used() * 10 / 9)
	a.j.retainRound()
	a.kept(young)
	disk.Limit(disk.Used() * 3)
	a.clock.Add(int64(2 * retainLeast))
	a.j.retainRound()
	a.kept(young) // there is room now
}

// The ledger is told before the file goes: what a crash leaves between the two is finished by the next opening, and is no damage.
func TestExpiryThatIsInterruptedIsFinished(t *testing.T) {
	for stop := range 4 {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			disk := NewMemDisk()
			a := newAging(t, "j", disk, Retention{})
			a.fill(1000, time.Hour)
			kept := a.tape().oldest().limit
			ops := 0
			disk.Fault(func(op, path string) error {
				if op == "write" || op == "sync" || op == "remove" {
					if ops++; ops > stop {
						return errGone
					}
				}
				return nil
			})
			if err := a.d.expire(a.tape(), a.tape().oldest()); err == nil && stop < 3 {
				t.Fatal("nothing was in the way")
			}
			disk.Fault(nil)
			abandon(a.j)
			a.open()
			if stop < 2 { // the ledger does not know yet
				kept = 0
			}
			a.kept(kept)
			if kept == 0 {
				kept = a.tape().oldest().limit
				if err := a.d.expire(a.tape(), a.tape().oldest()); err != nil {
					t.Fatal(err)
				}
			}
			if g := a.d.Gaps(); len(g) != 1 || g[0].Cause != CauseExpired || g[0].FromTs != 0 || g[0].ToTs != kept-1 {
				t.Errorf("the ledger has %+v, want the times of %d records", g, kept)
			}
			if names, err := disk.List(a.tape().dir); err != nil || kept > 0 && strings.HasPrefix(names[0], "00000001") {
				t.Errorf("files: %v, %v", names, err)
			}
		})
	}
}
