package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// rewriteSame writes a log anew with the entries that it has. Nobody may append meanwhile.
func rewriteSame(l *sideLog) error {
	size := l.size.Load()
	c, err := readSideLog(l.file, l.path, l.magic, size)
	if err != nil {
		return err
	}
	return l.rewrite(func(emit func([]byte)) int64 {
		for _, p := range c.payloads {
			emit(p)
		}
		return size
	})
}

// sideLogOn makes a log on a disk, opens it, and appends entries to it.
func sideLogOn(t *testing.T, disk Disk, entries ...string) *sideLog {
	t.Helper()
	err := errors.Join(disk.Mkdir("d"), createSideLog(disk, "d/x.log", ledgerMagic), disk.SyncDir("d"), disk.SyncDir("."))
	if err != nil {
		t.Fatal(err)
	}
	l, _ := openSideLogOn(t, disk, 0)
	for _, e := range entries {
		if err := l.append([]byte(e)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func openSideLogOn(t *testing.T, disk Disk, vouched int64) (*sideLog, []string) {
	t.Helper()
	log := zap.NewNop()
	l, payloads, err := openSideLog(disk, "d/x.log", ledgerMagic, &quarantine{disk, "d", log}, vouched, false)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range payloads {
		list = append(list, string(p))
	}
	return l, list
}

// emitAll puts entries in place of all that a log has.
func emitAll(l *sideLog, entries ...string) func(emit func([]byte)) int64 {
	return func(emit func([]byte)) int64 {
		for _, e := range entries {
			emit([]byte(e))
		}
		return l.size.Load()
	}
}

// TestRewrittenSideLogNeverGetsShorter: whoever has a length of the log from before finds everything below it whole.
func TestRewrittenSideLogNeverGetsShorter(t *testing.T) {
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "a", "bb", "ccc", "dddd")
	before := l.size.Load()
	for round := range 3 {
		if err := l.rewrite(emitAll(l, "bb")); err != nil {
			t.Fatal(err)
		}
		if l.size.Load() < before || l.synced.Load() != l.size.Load() {
			t.Fatalf("round %d: length %d, synced %d, before %d", round, l.size.Load(), l.synced.Load(), before)
		}
		if err := l.append([]byte("new")); err != nil {
			t.Fatal(err)
		}
		before = l.size.Load()
	}
	for _, vouched := range []int64{0, sideHeader, before - 5, before} {
		again, got := openSideLogOn(t, disk, vouched)
		if !slices.Equal(got, []string{"bb", "new"}) || again.size.Load() != before {
			t.Errorf("vouched for %d: %q of length %d, want bb and new of length %d", vouched, got, again.size.Load(), before)
		}
	}
}

// TestRewriteOfASideLogStoppedAnywhereKeepsIt stops it at each operation of the disk, by a kill and by a power cut: afterwards the log has the old entries or
// the new ones, all that a sync had vouched for, and can be written anew and appended to.
func TestRewriteOfASideLogStoppedAnywhereKeepsIt(t *testing.T) {
	rnd := newRand(t)
	for at := range 12 {
		for try := range 40 {
			stopRewrite(t, rnd, at, try%2 == 0)
		}
	}
}

func stopRewrite(t *testing.T, rnd *rand.Rand, at int, power bool) {
	t.Helper()
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "old", "kept")
	vouched := l.size.Load()
	if err := l.sync(vouched); err != nil {
		t.Fatal(err)
	}
	if err := l.append([]byte("unsynced")); err != nil {
		t.Fatal(err)
	}
	n := 0
	disk.Fault(func(op, _ string) error {
		if n++; n > at && op != "read" {
			return errGone
		}
		return nil
	})
	_ = l.rewrite(emitAll(l, "kept", "unsynced")) // it is stopped, and what it says heard by nobody
	disk.Fault(nil)
	if power {
		disk.PowerCut(rnd)
	}
	l, got := openSideLogOn(t, disk, vouched)
	old, fresh := []string{"old", "kept", "unsynced"}, []string{"kept", "unsynced"}
	lost := power && slices.Equal(got, old[:2])
	if !slices.Equal(got, old) && !slices.Equal(got, fresh) && !lost {
		t.Fatalf("stopped before operation %d, power cut %v: %q", at, power, got)
	}
	if l.size.Load() < vouched {
		t.Fatalf("stopped before operation %d: length %d, vouched for %d", at, l.size.Load(), vouched)
	}
	if err := errors.Join(l.append([]byte("more")), rewriteSame(l), l.append([]byte("last"))); err != nil {
		t.Fatal(err)
	}
	if _, again := openSideLogOn(t, disk, l.size.Load()); !slices.Equal(again, append(got, "more", "last")) {
		t.Fatalf("stopped before operation %d, power cut %v: %q afterwards", at, power, again)
	}
}

// TestEntriesAppendedDuringARewriteAreKept appends while the new file is on its way to the disk.
func TestEntriesAppendedDuringARewriteAreKept(t *testing.T) {
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "a", "b")
	var once sync.Once
	disk.SlowSync(func(name string) {
		if strings.HasSuffix(name, tmpSuffix) {
			once.Do(func() {
				if err := l.append([]byte("meanwhile")); err != nil {
					t.Error(err)
				}
			})
		}
	})
	if err := l.rewrite(emitAll(l, "b")); err != nil {
		t.Fatal(err)
	}
	if l.synced.Load() == l.size.Load() {
		t.Error("an entry that no sync has covered is taken for synced")
	}
	if _, got := openSideLogOn(t, disk, l.size.Load()); !slices.Equal(got, []string{"b", "meanwhile"}) {
		t.Errorf("%q after a rewrite to b", got)
	}
}

// TestRewriteOnAFullDiskLeavesTheLogAsItIs: and gives back what it took.
func TestRewriteOnAFullDiskLeavesTheLogAsItIs(t *testing.T) {
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "a", "b")
	disk.Limit(disk.Used() + sideHeader2 + 10)
	used := disk.Used()
	if err := rewriteSame(l); !errors.Is(err, ErrDiskFull) || disk.Used() != used {
		t.Errorf("%v, %d bytes in use, before %d", err, disk.Used(), used)
	}
	disk.Limit(-1)
	if err := errors.Join(l.append([]byte("c")), rewriteSame(l)); err != nil {
		t.Fatal(err)
	}
	if _, got := openSideLogOn(t, disk, l.size.Load()); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
}

// TestDirectorySyncThatFailsAfterARewriteEndsWriting: the old file may come back, so nothing that is appended may ever be vouched for.
func TestDirectorySyncThatFailsAfterARewriteEndsWriting(t *testing.T) {
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "a")
	disk.Fault(func(op, _ string) error {
		if op == "syncdir" {
			return errGone
		}
		return nil
	})
	err := rewriteSame(l)
	disk.Fault(nil)
	if err == nil || l.append([]byte("b")) != nil || l.sync(l.size.Load()) == nil {
		t.Errorf("a log whose directory could not be synced (%v) is synced", err)
	}
}

// TestDamageIsKeptInQuarantineBeforeARewriteLeavesItOut: what cannot be read is never deleted, and that it is lost is never forgotten.
func TestDamageIsKeptInQuarantineBeforeARewriteLeavesItOut(t *testing.T) {
	disk := NewMemDisk()
	l := sideLogOn(t, disk, "first", "second", "third")
	size := l.size.Load()
	if err := l.sync(size); err != nil {
		t.Fatal(err)
	}
	flip(disk, "d/x.log", sideHeader2+frameHeader+len("first")+frameHeader+1)
	log := zap.NewNop()
	l, payloads, err := openSideLog(disk, "d/x.log", ledgerMagic, &quarantine{disk, "d", log}, size, true)
	if err != nil || len(payloads) != 2 {
		t.Fatalf("%d entries, %v", len(payloads), err)
	}
	for range 2 {
		if err := l.rewrite(emitAll(l, "first", "third")); err != nil {
			t.Fatal(err)
		}
	}
	kept := filesBelow(disk, "d/quarantine")
	if len(kept) != 1 || !strings.Contains(string(contents(disk, kept[0])), "s") || len(contents(disk, kept[0])) != frameHeader+len("second") {
		t.Errorf("quarantine has %v", kept)
	}
	for range 3 {
		var got []string
		if l, payloads, err = openSideLog(disk, "d/x.log", ledgerMagic, &quarantine{disk, "d", log}, 0, true); err != nil {
			t.Fatal(err)
		}
		for _, p := range payloads {
			got = append(got, string(p))
		}
		if want := int64(frameHeader + len("second")); l.gone != want || l.size.Load() != size || !slices.Equal(got, []string{"first", "third"}) {
			t.Errorf("%q of length %d, %d bytes of others lost, want length %d and %d bytes", got, l.size.Load(), l.gone, size, want)
		}
		if err := l.rewrite(emitAll(l, "first", "third")); err != nil {
			t.Fatal(err)
		}
	}
	if kept := filesBelow(disk, "d/quarantine"); len(kept) != 1 {
		t.Errorf("quarantine has %v: a scar is not to be kept", kept)
	}
}

// TestSideLogOfVersion1BecomesVersion2AtAnOpening, and on a disk without room before its next entry.
func TestSideLogOfVersion1BecomesVersion2AtAnOpening(t *testing.T) {
	for _, full := range []bool{false, true} {
		disk := NewMemDisk()
		unpackGolden(t, disk, "j", "v1-closed")
		versions := func() (list []uint32) {
			for _, log := range sideLogs[:logOutliers] { // version 1 has no other
				h, err := parseSideHead(contents(disk, path.Join("j", testDataset, log.name)), log.name, log.magic)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, h.version)
			}
			return list
		}
		if full { // room for all but the side logs; the epoch that begins, as these files are copies, must be entered
			disk.Fault(func(op, name string) error {
				for _, log := range sideLogs[:logEpochs] {
					if op == "create" && strings.HasSuffix(name, log.name+tmpSuffix) {
						return syscall.ENOSPC
					}
				}
				return nil
			})
		}
		j := open(t, "j", wholeOptions(disk))
		d := j.Lookup(testDataset)
		if d == nil {
			t.Fatal(j.Damaged(testDataset))
		}
		if got := versions(); slices.Contains(got[:logEpochs], 2) == full {
			t.Errorf("full %v: versions %v after the opening", full, got)
		}
		w := openWriter(t, d, "feed-a", "trades")
		gap := Gap{Schema: trades, FromTs: undefTime, ToTs: undefTime, Cause: CauseUpstream}
		if full {
			if err := w.Gap(gap); !errors.Is(err, ErrDiskFull) {
				t.Errorf("a gap without room to upgrade: %v", err)
			}
			disk.Fault(nil)
		}
		if err := w.Gap(gap); err != nil {
			t.Fatal(err)
		}
		if got := versions(); got[logLedger] != 2 {
			t.Errorf("full %v: versions %v after an entry", full, got)
		}
		n := len(d.Gaps())
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if got := open(t, "j", wholeOptions(disk)).Lookup(testDataset).Gaps(); len(got) != n {
			t.Errorf("full %v: %d gaps, before %d", full, len(got), n)
		}
	}
}

// TestReadersOfOtherProcessesCopeWithALogThatIsReplaced: verify and inspect read while the logs are written anew, appended to and synced.
func TestReadersOfOtherProcessesCopeWithALogThatIsReplaced(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, killOptions())
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			err := w.Gap(Gap{Schema: trades, FromTs: uint64(i), ToTs: uint64(i) + 1, Cause: fmt.Sprint("c-", i)})
			for _, l := range d.sideLogs() {
				if err == nil {
					err = rewriteSame(l)
				}
			}
			if err == nil {
				err = d.Sync()
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	seen := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		r, err := Verify(dir, nil)
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("verify: %v, %v", r.Problems, err)
		}
		list, err := Inspect(dir)
		if err != nil || list[0].Problem != "" || list[0].Gaps < seen {
			t.Fatalf("inspect: %+v after %d gaps, %v", list, seen, err)
		}
		seen = list[0].Gaps
	}
	close(stop)
	if err := <-done; err != nil || seen == 0 {
		t.Errorf("%d gaps, %v", seen, err)
	}
}
