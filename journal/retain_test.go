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

	"golang.org/x/sys/unix"
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
	a.o.elapsed = func(since time.Time) time.Duration { return time.Duration(a.clock.Load() - since.UnixNano()) }
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
	disk.Limit(disk.Used() + syncLogBytes + 64<<10) // room for a fresh sync log
	a.j.retainRound()
	a.kept(young)
	disk.Limit(disk.Used() * 3)
	a.clock.Add(int64(2 * retainLeast))
	a.j.retainRound()
	a.kept(young) // there is room now
}

// A reader that holds a removed file keeps its room taken: that must not cost one file after the other until it lets go.
func TestFileThatAReaderHoldsIsCountedAsRoomThatComes(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("cannot mount a small tmpfs here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	a := newAging(t, dir+"/x", OSDisk{}, Retention{})
	a.fill(20_000, 2*retainLeast)
	for seq := uint64(0); seq < 10_000; seq += 256 {
		s, err := a.tape().Segment(seq)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
	}
	used, size, err := (OSDisk{}).Usage(dir)
	if err != nil {
		t.Fatal(err)
	}
	a.j.o.Retain.Disk = int(used*100/size) - 1 // one or two percent too much
	a.j.retainRound()
	first := a.tape().First()
	if first == 0 || first >= 10_000 {
		t.Fatalf("the tape begins with %d", first)
	}
	for range 3 {
		a.j.retainRound()
	}
	if a.tape().First() != first {
		t.Errorf("while a reader holds the first files the tape begins with %d, and then with %d", first, a.tape().First())
	}
}

// forEver is after everything.
const forEver = int64(1) << 62

// expireFirst removes the oldest segment.
func (a *aging) expireFirst() error {
	return a.d.expire(a.tape(), []*Segment{a.tape().aged(forEver)[0].s})
}

// The ledger is told before the file goes: what a crash leaves between the two is served again, and goes again.
func TestExpiryThatIsInterruptedLosesNothingElse(t *testing.T) {
	for stop := range 4 {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			disk := NewMemDisk()
			a := newAging(t, "j", disk, Retention{})
			a.fill(1000, time.Hour)
			if _, err := a.d.beyondRecovery(a.tape(), []*Segment{a.tape().aged(forEver)[0].s}); err != nil {
				t.Fatal(err)
			}
			kept := a.tape().aged(forEver)[0].s.limit
			ops := 0
			disk.Fault(func(op, path string) error {
				if op == "write" || op == "sync" || op == "remove" {
					if ops++; ops > stop {
						return errGone
					}
				}
				return nil
			})
			if err := a.expireFirst(); err == nil {
				t.Fatal("nothing was in the way")
			}
			disk.Fault(nil)
			abandon(a.j)
			a.open()
			if stop < 3 { // the file was not removed
				a.kept(0)
				if err := a.expireFirst(); err != nil {
					t.Fatal(err)
				}
			}
			a.kept(kept)
			if g := a.d.Gaps(); len(g) != 1 || g[0].Cause != CauseExpired || g[0].FromTs != 0 || g[0].ToTs != kept-1 {
				t.Errorf("the ledger has %+v, want the times of %d records", g, kept)
			}
		})
	}
}

// What an operator restores from a copy is served again, whatever the ledger says of its age.
func TestSegmentThatIsRestoredAfterItExpiredIsServed(t *testing.T) {
	disk := NewMemDisk()
	a := newAging(t, "j", disk, Retention{})
	a.fill(1000, time.Hour)
	path := segmentPath(a.tape().dir, 1, sealedSuffix)
	copied := contents(disk, path)
	if err := a.expireFirst(); err != nil {
		t.Fatal(err)
	}
	a.kept(256)
	if err := a.j.Close(); err != nil {
		t.Fatal(err)
	}
	err := writeWhole(disk, path, func(f File) error {
		_, err := f.WriteAt(copied, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a.open()
	a.kept(0)
}

// A recovery goes back as far as the first entry of the sync log when the others are damaged. What lies behind that must be there, or it would take the
// tape for another one.
func TestNothingExpiresThatARecoveryCouldGoBackTo(t *testing.T) {
	for _, reboot := range []bool{false, true} {
		disk := NewMemDisk()
		a := newAging(t, "j", disk, Retention{Age: time.Hour})
		for range 8 {
			a.fill(300, 2*time.Hour)
			a.j.retainRound()
		}
		first := a.tape().First()
		if first == 0 {
			t.Fatal("nothing has expired")
		}
		abandon(a.j)
		left := disk.Clone(reboot)
		log := "j/" + testDataset + "/" + syncLogName
		entries, _, err := readSyncLog(left, "j/"+testDataset)
		if err != nil {
			t.Fatal(err)
		}
		flip(left, log, sideHeader+frameHeader+len(entries[0].append(nil))+frameHeader+4) // in the second entry
		a.o.Disk = left
		a.open()
		if reboot {
			a.sent = a.tape().Tail() // the entries behind the damage are not to be had
			if entries[0].places[int(trades)].tail != a.sent {
				t.Errorf("the tape ends with %d, the first entry says %v", a.sent, entries[0].places)
			}
		}
		a.kept(first)
	}
}

// flip changes a bit of a file.
func flip(d *MemDisk, name string, at int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.node(name)
	n.data[at] ^= 4
	n.disk[at] ^= 4
}

// A wall clock that is set right after the start must not make weeks of what was written a minute ago, and one that was ahead must not keep it for ever.
func TestWallClockThatIsSetChangesNoAge(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": 1000 * time.Hour, "back": -1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, "j", NewMemDisk(), Retention{Age: 2 * time.Hour})
			if err := a.j.Close(); err != nil {
				t.Fatal(err)
			}
			var passed atomic.Int64 // the monotonic clock
			began := a.clock.Load()
			a.o.elapsed = func(since time.Time) time.Duration {
				return time.Duration(began + passed.Load() - since.UnixNano())
			}
			a.open()
			a.fill(1000, step)
			a.j.retainRound()
			a.kept(0)
			a.fill(1000, 0)
			passed.Add(int64(3 * time.Hour))
			a.j.retainRound()
			if a.tape().First() == 0 {
				t.Error("after three hours what was to stay for two is all there")
			}
		})
	}
	// An earlier process had a clock that was a year ahead.
	a := newAging(t, "j", NewMemDisk(), Retention{Age: 2 * time.Hour})
	a.clock.Add(int64(365 * 24 * time.Hour))
	a.fill(600, 0)
	a.clock.Add(-int64(365 * 24 * time.Hour))
	a.fill(600, 0)
	if err := a.j.Close(); err != nil {
		t.Fatal(err)
	}
	a.open()
	a.clock.Add(int64(3 * time.Hour))
	a.j.retainRound()
	if a.tape().First() < 600 {
		t.Errorf("what a clock of the future stamped stays: the tape begins with %d", a.tape().First())
	}
}

// A machine that starts with a clock days ahead, or on a copy of last month, must not lose a week in one pass, nor in the first pass of the next start, when
// the newest stamps are of the wrong clock themselves. What is older than it may be by every clock goes at once.
func TestClockThatIsDaysAheadAtTheStartDoesNotExpireAWeekAtOnce(t *testing.T) {
	const day = 24 * time.Hour
	a := newAging(t, "j", NewMemDisk(), Retention{Age: 7 * day})
	for range 4 { // too old by any clock once a week follows
		a.fill(600, 20*time.Hour)
	}
	old := a.tape().active.base
	for range 7 {
		a.fill(600, 20*time.Hour)
	}
	again := func(ahead time.Duration) {
		t.Helper()
		if err := a.j.Close(); err != nil {
			t.Fatal(err)
		}
		a.clock.Add(int64(ahead))
		a.open()
		a.clock.Add(int64(10 * time.Second))
		a.j.retainRound()
	}
	for range 2 {
		again(30 * day)
		if a.tape().First() == 0 || a.tape().First() > old {
			t.Fatalf("with a clock that is 30 days ahead all before record %d is gone, want what is younger than 7 days by the stamps kept, from %d on or before", a.tape().First(), old)
		}
		a.fill(600, 0) // with stamps of the wrong clock
	}
	kept := a.tape().First()
	// If the clock was right, it is believed by and by.
	a.clock.Add(int64(12 * time.Hour))
	if a.j.retainRound(); a.tape().First() <= kept || a.tape().First() > kept+4*600 {
		t.Errorf("after half a day, which counts for two and a half, the tape begins with %d, before with %d", a.tape().First(), kept)
	}
	a.clock.Add(int64(60 * time.Hour))
	if a.j.retainRound(); a.tape().First() <= old {
		t.Errorf("after three days that the process saw pass, what is 60 days old by the clock is still there from %d on", a.tape().First())
	}
}

// A stop over a night, or the clock as it should be, delays nothing.
func TestOldSegmentsGoAtOnceWhenTheClockIsPlausible(t *testing.T) {
	a := newAging(t, "j", NewMemDisk(), Retention{Age: 48 * time.Hour})
	for range 4 {
		a.fill(600, 20*time.Hour)
	}
	if err := a.j.Close(); err != nil {
		t.Fatal(err)
	}
	a.open()
	a.j.retainRound()
	if a.tape().First() < 600 {
		t.Errorf("the tape begins with %d, though 600 records are 80 hours old", a.tape().First())
	}
}

// A clock that was years ahead stamped what is there: the disk must not fill up for that.
func TestStampsOfTheFutureDoNotKeepADiskFull(t *testing.T) {
	disk := NewMemDisk()
	a := newAging(t, "j", disk, Retention{Disk: 1})
	a.clock.Add(int64(1000 * 24 * time.Hour))
	a.fill(2000, 0)
	if err := a.j.Close(); err != nil {
		t.Fatal(err)
	}
	a.clock.Add(-int64(1000 * 24 * time.Hour))
	a.open()
	disk.Limit(disk.Used() * 2)
	a.clock.Add(int64(2 * retainLeast))
	if a.j.retainRound(); a.tape().First() == 0 {
		t.Error("nothing has gone")
	}
}

// A file that cannot be removed, and a ledger that takes no entry, keep everything as it is: in service, with its index.
func TestExpiryThatFailsHidesNothingMore(t *testing.T) {
	disk := NewMemDisk()
	a := newAging(t, "j", disk, Retention{Age: time.Hour})
	a.fill(1500, 2*time.Hour)
	disk.Fault(func(op, path string) error {
		if op == "write" && strings.HasSuffix(path, ledgerName) {
			return errGone
		}
		return nil
	})
	a.j.retainRound()
	a.kept(0)
	if _, err := disk.Open(segmentPath(a.tape().dir, 1, indexSuffix), true); err != nil {
		t.Errorf("the index of a segment that stays: %v", err)
	}
	disk.Fault(func(op, path string) error {
		if op == "remove" {
			return fs.ErrPermission
		}
		return nil
	})
	a.j.retainRound()
	first := a.tape().First()
	a.fill(1500, 2*time.Hour)
	a.j.retainRound()
	if a.tape().First() != first {
		t.Errorf("though nothing can be removed the tape begins with %d, and then with %d", first, a.tape().First())
	}
	disk.Fault(nil)
	a.j.retainRound()
	if a.tape().First() == first {
		t.Error("what can be removed now stays")
	}
	a.kept(a.tape().First())
}
