package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

const (
	trades = feed.SchemaTrades
	mbp1   = feed.SchemaMbp1
)

func TestRecordsComeBackAsTheyWereSentAfterRestart(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		o := Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: 64 << 10}
		j := open(t, dir, o)
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		var n uint64
		for range 300 {
			mustAppend(t, w, Run{trades, records(trades, 7, n, 10)}, Run{mbp1, records(mbp1, 7, n+10, 5)})
			n += 15
		}
		if w.Accepted() != n {
			t.Fatalf("accepted %d, sent %d", w.Accepted(), n)
		}
		if err := checkStreams(d, map[uint32]uint64{7: n}); err != nil {
			t.Fatal(err)
		}
		epoch := d.Epoch()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, dir, o)
		d = j.Lookup(testDataset)
		if d.Epoch() != epoch {
			t.Errorf("epoch %d after a proper close, want %d", d.Epoch(), epoch)
		}
		if err := checkStreams(d, map[uint32]uint64{7: n}); err != nil {
			t.Fatal(err)
		}
		w = openWriter(t, d, "p", "s")
		if w.Accepted() != n || w.Synced() != n {
			t.Fatalf("accepted %d synced %d after restart, want %d", w.Accepted(), w.Synced(), n)
		}
		mustAppend(t, w, Run{trades, records(trades, 7, n, 3)})
		if err := checkStreams(d, map[uint32]uint64{7: n + 3}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendAllocatesNothing(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk(), MinSegment: 64 << 20})
	d := create(t, j)
	defer d.Watch(func() {}, nil)()
	w := openWriter(t, d, "p", "s")
	runs := []Run{{trades, records(trades, 1, 0, 10)}, {mbp1, records(mbp1, 1, 10, 10)}}
	mustAppend(t, w, runs...)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(1000, func() {
		if n, err := w.Append(runs); n != 20 || err != nil {
			t.Fatalf("appended %d: %v", n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per Append", allocs)
	}
}

func TestBatchAcrossSegmentSwitchKeepsOrderAndCount(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		j := open(t, dir, Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 1)}, Run{mbp1, records(mbp1, 1, 1, 1)})
		// A batch larger than several segments, with both tapes switching in the middle of it and a schema that comes twice.
		runs := []Run{{trades, records(trades, 1, 2, 1000)}, {mbp1, records(mbp1, 1, 1002, 700)}, {trades, records(trades, 1, 1702, 300)}}
		mustAppend(t, w, runs...)
		if err := checkStreams(d, map[uint32]uint64{1: 2002}); err != nil {
			t.Fatal(err)
		}
		if n := len(*d.Tape(trades).segs.Load()); n < 4 {
			t.Errorf("%d segments: the test did not switch", n)
		}
	})
}

func TestCommitOfSeveralTapesIsSeenByCountAtOnce(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 2)}, Run{mbp1, records(mbp1, 1, 2, 2)})
	before := d.state.load(stateCommit)
	mustAppend(t, w, Run{trades, records(trades, 1, 4, 5)}, Run{mbp1, records(mbp1, 1, 9, 5)}, Run{trades, records(trades, 1, 14, 1)})
	if n := d.state.load(stateCommit) - before; n != 1 {
		t.Errorf("%d commits for one batch, want 1", n)
	}
	if a, b := d.Tape(trades).Tail(), d.Tape(mbp1).Tail(); a != 8 || b != 7 {
		t.Errorf("tails %d and %d, want 8 and 7", a, b)
	}
}

func TestRunThatIsNotWholeRecordsChangesNothing(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	good := records(trades, 1, 0, 3)
	mustAppend(t, w, Run{trades, good})
	wrongType := records(trades, 1, 3, 2)
	wrongType[len(good)/3+1] = byte(feed.RTypeMbo)
	for name, runs := range map[string][]Run{
		"cut short":    {{trades, good[:50]}},
		"wrong length": {{trades, append([]byte{13}, good[1:]...)}},
		"wrong type":   {{trades, good}, {trades, wrongType}},
		"no schema":    {{feed.SchemaNone, good}},
	} {
		if n, err := w.Append(runs); n != 0 || !errors.Is(err, ErrRecord) {
			t.Errorf("%s: committed %d, %v", name, n, err)
		}
	}
	if err := checkStreams(d, map[uint32]uint64{1: 3}); err != nil {
		t.Error(err)
	}
}

func TestOlderWriterOfSameProducerIsFenced(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	d := create(t, j)
	old := openWriter(t, d, "p", "s")
	other := openWriter(t, d, "q", "s")
	mustAppend(t, old, Run{trades, records(trades, 1, 0, 3)})
	now := openWriter(t, d, "p", "s")
	if n, err := old.Append([]Run{{trades, records(trades, 1, 3, 1)}}); n != 0 || !errors.Is(err, ErrFenced) {
		t.Errorf("fenced writer committed %d, %v", n, err)
	}
	if err := old.Map(1, "X"); !errors.Is(err, ErrFenced) {
		t.Errorf("fenced writer maps: %v", err)
	}
	if err := old.Wait(context.Background()); !errors.Is(err, ErrFenced) {
		t.Errorf("fenced writer waits: %v", err)
	}
	old.Close() // must not take the new one's place away
	if now.Accepted() != 3 {
		t.Errorf("new writer begins at %d, want 3", now.Accepted())
	}
	mustAppend(t, now, Run{trades, records(trades, 1, 3, 1)})
	mustAppend(t, other, Run{trades, records(trades, 2, 0, 1)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if now.Accepted() != 4 || now.Synced() != 4 || old.Accepted() != 3 || old.Synced() != 3 {
		t.Errorf("accepted and synced %d and %d, want 4; of the fenced writer %d and %d, want its own 3", now.Accepted(), now.Synced(), old.Accepted(), old.Synced())
	}
	if err := checkStreams(d, map[uint32]uint64{1: 4, 2: 1}); err != nil {
		t.Error(err)
	}
}

func TestResumeBeyondAcceptedEntersGapOnce(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
	open1 := func(resume uint64) *Writer {
		w, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "s", Resume: resume, HasResume: true})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := open1(4); w.Accepted() != 10 {
		t.Errorf("resume below the count: begins at %d, want 10", w.Accepted())
	}
	if w := open1(25); w.Accepted() != 25 {
		t.Errorf("resume above the count: begins at %d, want 25", w.Accepted())
	}
	if w := open1(25); w.Skipped() != 15 {
		t.Errorf("resume once more at the same record: %d skipped, want the 15 of before: that answer may have been lost", w.Skipped())
	}
	gaps := d.Gaps()
	if len(gaps) != 1 || gaps[0].FromRecord != 10 || gaps[0].ToRecord != 25 || gaps[0].Cause != CauseUpstream || gaps[0].Producer != "p" {
		t.Fatalf("ledger: %+v", gaps)
	}
	marks := d.Tape(trades).Marks()
	if len(marks) != 1 || marks[0].Seq != 10 || marks[0].Gap == nil {
		t.Fatalf("marks: %+v", marks)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	if w := openWriter(t, d, "p", "s"); w.Accepted() != 25 || w.Skipped() != 0 {
		t.Errorf("after restart: begins at %d, %d skipped, want 25 and 0: it did not ask for it", w.Accepted(), w.Skipped())
	}
	if g, m := d.Gaps(), d.Tape(trades).Marks(); len(g) != 1 || len(m) != 1 || m[0].Seq != 10 {
		t.Errorf("after restart: %d gaps, marks %+v", len(g), m)
	}
	if w := open1(40); w.Skipped() != 30 {
		t.Errorf("resume further on: %d skipped, want all 30 behind the last record", w.Skipped())
	}
	w = open1(40)
	mustAppend(t, w, Run{trades, records(trades, 1, 40, 1)})
	if w := open1(41); w.Skipped() != 0 {
		t.Errorf("resume behind a record: %d skipped, want 0", w.Skipped())
	}
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		open(t, dir, Options{Disk: disk})
		if _, err := Open(dir, Options{Disk: disk}); !errors.Is(err, ErrLocked) {
			t.Errorf("second open: %v", err)
		}
	})
}

func TestFilesystemWeDoNotVouchForIsRefused(t *testing.T) {
	if name, err := (OSDisk{}).Filesystem("/proc"); err != nil || name == "ext4" {
		t.Fatalf("filesystem of /proc: %q, %v", name, err)
	}
	d := foreignDisk{NewMemDisk()}
	if _, err := Open("j", Options{Disk: d}); !errors.Is(err, ErrFilesystem) {
		t.Errorf("foreign filesystem: %v", err)
	}
	open(t, "j", Options{Disk: d, AnyFilesystem: true})
}

type foreignDisk struct{ *MemDisk }

func (foreignDisk) Filesystem(string) (string, error) { return "nfs", nil }

func TestClosedJournalRefusesAndReleasesWaiters(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 3)})
	s, err := d.Tape(trades).Segment(0)
	if err != nil {
		t.Fatal(err)
	}
	disk.Fault(func(op, _ string) error {
		if op == "allocate" {
			return errors.New("not now")
		}
		return nil
	})
	if _, err := w.Append([]Run{{mbp1, records(mbp1, 1, 3, 1)}}); !errors.Is(err, ErrNotReady) {
		t.Fatalf("append without a segment: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- w.Wait(context.Background()) }()
	disk.Fault(nil)
	if err := <-waited; err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append([]Run{{trades, records(trades, 1, 3, 1)}}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := w.Wait(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("wait after close: %v", err)
	}
	if _, err := j.Create("OTHER"); !errors.Is(err, ErrClosed) {
		t.Errorf("create after close: %v", err)
	}
	// A reader that still holds a segment goes on undisturbed.
	if b := s.Mapped(0, 3); string(b) != string(records(trades, 1, 0, 3)) {
		t.Error("a pinned segment changed with the close")
	}
	s.Release()
}

func TestBadNamesAreRefused(t *testing.T) {
	j := open(t, "j", Options{Disk: NewMemDisk()})
	for _, name := range []string{"", "lower", "A/B", "..", ".A", "SIXTEEN.CHARS.XX", "A B"} {
		if _, err := j.Create(name); !errors.Is(err, ErrName) {
			t.Errorf("dataset %q: %v", name, err)
		}
	}
	d := create(t, j)
	for _, name := range []string{"", "a b", "a|b", "a\nb", "ä"} {
		if _, err := d.OpenWriter(WriterOptions{Producer: name, Stream: "s"}); !errors.Is(err, ErrName) {
			t.Errorf("producer %q: %v", name, err)
		}
	}
}

func TestSyncPolicyReadsWhatItPrints(t *testing.T) {
	for _, s := range []string{"1s", "250ms", "64MiB", "each", "1GiB", "4096B", "3KiB"} {
		p, err := ParseSync(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if q, err := ParseSync(p.String()); err != nil || q != p {
			t.Errorf("%s prints as %s, which reads as %+v, %v", s, p, q, err)
		}
	}
	for _, s := range []string{"", "0", "-1s", "0MiB", "1.5MiB", "2h", "9999999999GiB", "always"} {
		if p, err := ParseSync(s); err == nil {
			t.Errorf("%q reads as %v", s, p)
		}
	}
}

func TestSyncPolicyIsKept(t *testing.T) {
	for _, policy := range []SyncPolicy{{Interval: time.Millisecond}, {Each: true}, {Bytes: 4096}} {
		t.Run(policy.String(), func(t *testing.T) {
			j := open(t, "j", Options{Disk: NewMemDisk(), Sync: policy})
			d := create(t, j)
			synced := make(chan struct{}, 1)
			defer d.Watch(nil, func() {
				select {
				case synced <- struct{}{}:
				default:
				}
			})()
			w := openWriter(t, d, "p", "s")
			mustAppend(t, w, Run{trades, records(trades, 1, 0, 100)})
			for w.Synced() < 100 {
				<-synced
			}
		})
	}
}

func TestSwitchOfSegmentsIsPartOfTheOneCommit(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 250)}, Run{mbp1, records(mbp1, 1, 250, 1)})
	limit := (*d.Tape(trades).segs.Load())[0].limit
	eventually(t, "the next segment", func() bool { return len(*d.Tape(trades).segs.Load()) == 2 })
	before := d.state.load(stateCommit)
	runs := []Run{{trades, records(trades, 1, 251, 20)}, {mbp1, records(mbp1, 1, 271, 5)}}
	eventually(t, "room", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.tapes[trades].next != nil })
	if n, err := w.Append(runs); n != 25 || err != nil {
		t.Fatalf("committed %d, %v", n, err)
	}
	if n := d.state.load(stateCommit) - before; n != 1 || d.Tape(trades).Tail() <= limit {
		t.Errorf("%d commits, tail %d, limit %d: want one commit across the limit", n, d.Tape(trades).Tail(), limit)
	}
	abandon(j)
	for _, reboot := range []bool{false, true} { // also when the switch was never synced
		d := open(t, "j", memOptions(disk.Clone(reboot))).Lookup(testDataset)
		n := openWriter(t, d, "p", "s").Accepted()
		if err := checkStreams(d, map[uint32]uint64{1: n}); err != nil || !reboot && n != 276 {
			t.Errorf("reboot %v: %d records, %v", reboot, n, err)
		}
	}
}
