package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tapewire/tapewire/feed"
)

// clockNow is where the wall clock of these tests stands at first; far is what a broken clock says.
var (
	clockNow = uint64(time.Date(2026, 1, 5, 14, 30, 0, 0, time.UTC).UnixNano())
	far      = uint64(time.Date(2055, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
)

const (
	second = uint64(time.Second)
	hour   = uint64(time.Hour)
)

// skewed is a journal whose wall clock the test sets.
type skewed struct {
	t    *testing.T
	disk *MemDisk
	now  atomic.Uint64
	log  *observer.ObservedLogs
	o    Options
	j    *Journal
	d    *Dataset
	w    *Writer
}

func newSkewed(t *testing.T) *skewed {
	k := &skewed{t: t, disk: NewMemDisk()}
	k.now.Store(clockNow)
	core, log := observer.New(zapcore.WarnLevel)
	k.log = log
	k.o = Options{Disk: k.disk, MinSegment: smallestSegment, MaxSegment: smallestSegment, Logger: zap.New(core), Now: func() time.Time { return time.Unix(0, int64(k.now.Load())) }}
	k.j = open(t, "j", k.o)
	create(t, k.j)
	k.enter()
	return k
}

func (k *skewed) enter() {
	k.t.Helper()
	if k.d = k.j.Lookup(testDataset); k.d == nil {
		k.t.Fatal(k.j.Damaged(testDataset))
	}
	k.w = openWriter(k.t, k.d, "p", "s")
}

// reopen ends the journal and opens what is on the disk, after a change of it.
func (k *skewed) reopen(change func()) {
	k.t.Helper()
	if err := k.j.Close(); err != nil {
		k.t.Fatal(err)
	}
	change()
	k.j = open(k.t, "j", k.o)
	k.enter()
}

// add appends a record of schema s for each time.
func (k *skewed) add(s feed.Schema, times ...uint64) {
	k.t.Helper()
	k.addAs(k.w, s, times...)
}

func (k *skewed) addAs(w *Writer, s feed.Schema, times ...uint64) {
	k.t.Helper()
	var b []byte
	for _, ts := range times {
		r := record(s, 1, ts)
		if off := s.FlagsOffset(); off >= 0 {
			r[off] = byte(feed.FlagLast)
		}
		b = append(b, r...)
	}
	mustAppend(k.t, w, Run{s, b})
}

// finds checks what a start finds.
func (k *skewed) finds(what string, s feed.Schema, ts, want uint64) {
	k.t.Helper()
	if got, err := k.d.Tape(s).Seek(feed.ClockReplay, ts); err != nil || got != want {
		k.t.Errorf("%s: start=%d of %s finds record %d, %v, want %d", what, ts, s, got, err, want)
	}
}

// day is n times a second apart, from the clock's on.
func day(n int) (times []uint64) {
	for i := range n {
		times = append(times, clockNow-hour+uint64(i))
	}
	return times
}

// everywhere runs check on the tape as it is, after a restart, from indexes that were made again, and with a clock that is a year ahead or behind.
func (k *skewed) everywhere(s feed.Schema, check func(when string)) {
	k.t.Helper()
	check("as it was written")
	sealAll(k.t, k.d, s)
	check("sealed")
	k.reopen(func() {})
	check("after a restart")
	for _, years := range []int{-1, 40} {
		now := k.now.Load()
		k.reopen(func() {
			k.now.Store(uint64(time.Unix(0, int64(now)).AddDate(years, 0, 0).UnixNano()))
			for _, name := range filesBelow(k.disk, "j") {
				if strings.HasSuffix(name, indexSuffix) {
					if err := k.disk.Remove(name); err != nil {
						k.t.Fatal(err)
					}
				}
			}
		})
		check(fmt.Sprintf("from the records, with a clock %d years off", years))
		k.now.Store(now)
	}
	if r, err := verify(k.disk, "j", nil); err != nil || len(r.Problems) > 0 {
		k.t.Errorf("verify: %v, %v", r.Problems, err)
	}
}

// TestOneFutureStampMovesNoStart guards a day against one broken clock, wherever in a segment the record lies, in every schema.
func TestOneFutureStampMovesNoStart(t *testing.T) {
	for _, s := range allSchemas() {
		t.Run(s.String(), func(t *testing.T) {
			k := newSkewed(t)
			k.add(s, clockNow-2*hour)
			eventually(t, "a segment", func() bool { return len(*k.d.Tape(s).segs.Load()) > 1 })
			room := int((*k.d.Tape(s).segs.Load())[0].limit)
			times := day(3*room + 5)
			bad := []int{0, 2, room - 1, room, room + 1, 2*room - 1, 2*room + 3, len(times) - 1}
			want := map[uint64]uint64{} // by time
			for i, ts := range times {
				want[ts] = uint64(i + 1)
			}
			for _, i := range bad {
				delete(want, times[i])
				times[i] = far + uint64(i)
			}
			k.add(s, times...)
			k.everywhere(s, func(when string) {
				for i, ts := range times {
					if seq, ok := want[ts]; ok && (i%17 == 0 || i < 5 || i > len(times)-5 || i%room < 3) {
						k.finds(when, s, ts, seq)
					}
				}
				k.finds(when, s, clockNow, uint64(len(times)+1))
				k.finds(when, s, far, uint64(len(times)+1))
				if times, to, err := k.d.Tape(s).Times(0, uint64(len(times))); err != nil || to < 2 || times.MaxReplay < far || times.MinReplay > clockNow-hour {
					t.Errorf("%s: the times of a block with an outlier are %+v, up to %d, %v", when, times, to, err)
				}
			})
		})
	}
}

func TestOutliersAreCountedAndToldAtARate(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow, far, clockNow+hour, clockNow+hour+1, far+1)
	if n := k.d.Tape(trades).Outliers(); n != 3 {
		t.Errorf("%d outliers, want 3", n)
	}
	for range 1000 {
		k.add(trades, far, clockNow)
	}
	if n := k.d.Tape(trades).Outliers(); n != 1003 {
		t.Errorf("%d outliers, want 1003", n)
	}
	lines := k.log.FilterFieldKey("ts_event").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines about 1003 outliers", len(lines))
	}
	if m := lines[0].ContextMap(); m["producer"] != "p" || m["instrument_id"] != uint32(1) || m["ts_event"] != feed.FormatTime(far) {
		t.Errorf("told: %v", m)
	}
}

// TestOutliersInARowAreOneEntry: a feed whose clock is wrong for a day costs an entry, and so does one that goes to and fro.
func TestOutliersInARowAreOneEntry(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow)
	for i := range uint64(2000) {
		k.now.Add(second / 100)
		k.add(trades, far+i, k.now.Load(), k.now.Load()+hour-1)
	}
	if n := len(k.d.Tape(trades).outlierSteps()); n != 1 {
		t.Errorf("%d steps", n)
	}
	seq, last := k.d.Tape(trades).Tail(), k.now.Load()
	k.now.Add(3 * hour)
	k.add(trades, k.now.Load()) // beyond what was allowed then
	k.finds("three hours later", trades, last+2*hour, seq)
	if n := len(k.d.Tape(trades).outlierSteps()); n != 2 {
		t.Errorf("%d steps", n)
	}
	k.add(trades, far)
	k.finds("an outlier again", trades, k.now.Load(), seq)
	k.finds("an outlier again", trades, k.now.Load()+1, seq+2)
}

// TestClockBackAndForthJudgesNothingAgain: what is a record's time and what is not stays as it was decided, whatever the clock does.
func TestClockBackAndForthJudgesNothingAgain(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow, far) // 0, an outlier
	k.now.Store(far + hour)
	k.add(trades, far+hour) // 2: the clock is wrong now, and says that it is right
	k.now.Store(clockNow)
	k.add(trades, clockNow+1) // 3
	k.now.Store(clockNow - 24*hour)
	k.add(trades, clockNow-24*hour, clockNow) // 4, and one that is a day beyond this clock but not beyond what was accepted
	k.everywhere(trades, func(when string) {
		k.finds(when, trades, clockNow, 0)
		k.finds(when, trades, clockNow+1, 2)
		k.finds(when, trades, far+hour, 2)
	})
}

// TestClockThatWasAheadForAMomentDoesNotOpenTheDoor: its limit goes back with it.
func TestClockThatWasAheadForAMomentDoesNotOpenTheDoor(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow)
	k.now.Store(far + 24*hour)
	k.add(trades, clockNow+2*hour) // asks the clock
	k.now.Store(clockNow)
	if err := k.d.Sync(); err != nil {
		t.Fatal(err)
	}
	k.add(trades, far)
	k.finds("", trades, clockNow+3*hour, 3)
}

// TestSimulationInTheFutureIsSoughtLikeAnyOther: future=1 says that its times are meant.
func TestSimulationInTheFutureIsSoughtLikeAnyOther(t *testing.T) {
	k := newSkewed(t)
	w, err := k.d.OpenWriter(WriterOptions{Producer: "sim", Stream: "s", Future: true})
	if err != nil {
		t.Fatal(err)
	}
	var times []uint64
	for i := range uint64(1000) {
		times = append(times, far+i)
	}
	k.addAs(w, trades, times...)
	k.add(trades, far) // of another producer: it moves nothing
	if n := k.d.Tape(trades).Outliers(); n != 0 {
		t.Errorf("%d outliers", n)
	}
	k.add(trades, far+hour) // but this one does
	k.addAs(w, trades, far+2*hour)
	k.everywhere(trades, func(when string) {
		k.finds(when, trades, clockNow, 0)
		k.finds(when, trades, far+500, 500)
		k.finds(when, trades, far+1000, 1002)
		k.finds(when, trades, far+2*hour+1, 1003)
	})
}

func TestNoOutliersWhenNobodyJudges(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow, far)
	k.o.MaxClockSkew = -1
	k.reopen(func() {})
	k.add(trades, clockNow, far)
	k.finds("off", trades, clockNow+1, 3)
}

// TestBackfillIsNeverAnOutlier: the past is where files come from, in ns or by mistake in ms.
func TestBackfillIsNeverAnOutlier(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow, clockNow/1000000, clockNow-20*365*24*hour, 1, clockNow+1)
	if n := k.d.Tape(trades).Outliers(); n != 0 {
		t.Errorf("%d outliers", n)
	}
	k.finds("", trades, clockNow+1, 4)
}

// TestOutlierThatAPowerCutTookLeavesItsNumberToAnother: what the log says of it must not hold for the record that comes to its place.
func TestOutlierThatAPowerCutTookLeavesItsNumberToAnother(t *testing.T) {
	for _, kill := range []bool{false, true} {
		k := newSkewed(t)
		k.o.Sync = SyncPolicy{Interval: MaxSyncDelay}
		k.reopen(func() {})
		k.add(trades, clockNow)
		if err := k.d.Sync(); err != nil {
			t.Fatal(err)
		}
		if kill { // between the entry and the commit
			s := outlierStep{schema: trades, from: 7, limit: clockNow, wall: clockNow}
			if err := k.d.appendSide(nil, k.d.outliers.log, s.append(nil)); err != nil {
				t.Fatal(err)
			}
		} else {
			k.add(trades, day(20)...)
			k.add(trades, far)
		}
		log := contents(k.disk, "j/"+testDataset+"/"+outliersName) // the disk may have kept it
		abandon(k.j)
		if kill {
			k.disk = k.disk.Clone(false)
		} else {
			k.disk = distrusted(k.disk)
		}
		k.o.Disk = k.disk
		k.disk.node("j/" + testDataset + "/" + outliersName).data = log
		k.j = open(t, "j", k.o)
		k.enter()
		if tail := k.d.Tape(trades).Tail(); tail != 1 {
			t.Fatalf("%d records are left", tail)
		}
		k.now.Add(30 * 24 * hour)
		k.add(trades, day(30)...)
		k.add(trades, k.now.Load(), k.now.Load())
		later := k.now.Load()
		k.everywhere(trades, func(when string) {
			k.finds(when, trades, later, 31)
			k.finds(when, trades, clockNow+1, 31)
		})
	}
}

// TestOutlierOfATapeThatNeverCameIsEndedOnce: each start would have the log grow by an entry.
func TestOutlierOfATapeThatNeverCameIsEndedOnce(t *testing.T) {
	k := newSkewed(t)
	s := outlierStep{schema: trades, limit: clockNow, wall: clockNow}
	if err := k.d.appendSide(nil, k.d.outliers.log, s.append(nil)); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for range 3 {
		abandon(k.j)
		k.disk = k.disk.Clone(false)
		k.o.Disk = k.disk
		k.j = open(t, "j", k.o)
		k.enter()
		sizes = append(sizes, len(contents(k.disk, "j/"+testDataset+"/"+outliersName)))
	}
	if sizes[1] != sizes[0] || sizes[2] != sizes[0] {
		t.Errorf("the log has %d bytes after three starts", sizes)
	}
}

// TestOutlierIsOnDiskBeforeItsRecordIsVouchedFor: a power cut that keeps the record keeps what is known of it.
func TestOutlierIsOnDiskBeforeItsRecordIsVouchedFor(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow, far, clockNow+1)
	if err := k.d.Sync(); err != nil {
		t.Fatal(err)
	}
	abandon(k.j)
	k.disk = k.disk.Clone(true)
	k.o.Disk = k.disk
	k.j = open(t, "j", k.o)
	k.enter()
	k.finds("after a power cut", trades, clockNow+1, 2)
	k.finds("after a power cut", trades, clockNow+2, 3)
}

// TestLogOfOutliersThatIsFullStopsWhoNeedsIt, and nobody else.
func TestLogOfOutliersThatIsFullStopsWhoNeedsIt(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow)
	steps := make(outlierSteps, MaxOutlierSteps)
	for i := range steps {
		steps[i] = outlierStep{schema: trades, limit: undefTime}
	}
	k.d.Tape(trades).steps.Store(&steps)
	bad, other := record(trades, 1, far), openWriter(t, k.d, "other", "s")
	if n, err := k.w.Append([]Run{{trades, bad}}); n != 0 || !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "future=1") {
		t.Errorf("%d records, %v", n, err)
	}
	k.addAs(other, trades, clockNow+1)
}

// TestOutliersThatExpiredMakeRoom: the log does not fill up with what no kept record needs, and what is left says the same.
func TestOutliersThatExpiredMakeRoom(t *testing.T) {
	k := newSkewed(t)
	n := uint64(2*outlierRewrite + 2)
	steps := outlierSteps{}
	for i := range n { // as if a clock had gone wrong and right again for weeks
		s := outlierStep{schema: trades, from: i / 16, limit: clockNow + hour, wall: clockNow}
		if err := k.d.appendSide(nil, k.d.outliers.log, s.append(nil)); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	k.add(trades, day(2000)...)
	k.add(trades, far, clockNow)
	sealAll(t, k.d, trades)
	tape := k.d.Tape(trades)
	k.d.mu.Lock()
	steps = append(steps, outlierStep{schema: trades, from: 2000, limit: clockNow + hour, wall: clockNow})
	tape.steps.Store(&steps)
	k.d.mu.Unlock()
	tape.leaveBehind((*tape.segs.Load())[5].base)
	if err := k.d.forgetSteps(tape); err != nil {
		t.Fatal(err)
	}
	if got := len(tape.outlierSteps()); got != 2 {
		t.Errorf("%d steps are left", got)
	}
	if size := len(contents(k.disk, "j/"+testDataset+"/"+outliersName)); size > 200 {
		t.Errorf("the log has %d bytes", size)
	}
	k.finds("written anew", trades, clockNow, 2001)
	if err := k.d.Sync(); err != nil {
		t.Fatal(err)
	}
	abandon(k.j)
	k.disk = k.disk.Clone(true)
	k.o.Disk = k.disk
	k.j = open(t, "j", k.o)
	k.enter()
	k.finds("after a power cut", trades, clockNow, 2001)
}

func TestDamagedLogOfOutliersKeepsNobodyFromTheRecords(t *testing.T) {
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-3] },
		func([]byte) []byte { return nil },
	} {
		k := newSkewed(t)
		k.add(trades, clockNow, far, clockNow+1)
		k.reopen(func() {
			name := "j/" + testDataset + "/" + outliersName
			if b := damage(contents(k.disk, name)); b == nil {
				if err := k.disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			} else {
				k.disk.node(name).data = b
			}
		})
		k.add(trades, clockNow+2)
		if got := k.d.Tape(trades).Tail(); got != 4 {
			t.Errorf("%d records", got)
		}
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	k := newSkewed(t)
	k.add(trades, clockNow)
	runs := []Run{{trades, record(trades, 1, clockNow)}}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := k.w.Append(runs); err != nil && !errors.Is(err, ErrNotReady) {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkCheck is what looking at a record costs before it is committed; a batch as a read buffer has it.
func BenchmarkCheck(b *testing.B) {
	for _, s := range []feed.Schema{trades, mbp1, feed.SchemaMbp10} {
		b.Run(s.String(), func(b *testing.B) {
			run := Run{s, records(s, 1, 0, 64<<10/s.RecordSize())}
			n := len(run.Bytes) / s.RecordSize()
			for b.Loop() {
				if _, err := run.check(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}
