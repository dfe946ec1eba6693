package journal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

var seedsFlag = flag.Int("seeds", 0, "how many seeds TestCrashSimulation runs; 0: enough for a few seconds")

// TestCrashSimulationLosesNothingAcked runs a journal on a disk in memory, without goroutines, so that a seed repeats everything: two producers over three
// schemas, syncs, seals, side logs that are written anew, segments that expire, full disks and failed syncs; killed or cut off from power at a random operation of the disk, again while it recovers, and
// again after that. What a power cut leaves of unsynced pages and names is random too, see MemDisk.
func TestCrashSimulationLosesNothingAcked(t *testing.T) {
	first, seeds := *seedFlag, *seedsFlag
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	switch {
	case seeds > 0:
	case *seedFlag != 0:
		seeds = 1
	case raceEnabled:
		seeds = 100
	case testing.Short():
		seeds = 200
	default:
		seeds = 1000
	}
	var next, crashes, expired atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < seeds && !t.Failed(); i = next.Add(1) - 1 {
				w := newWorld(first + uint64(i))
				if err := w.run(); err != nil {
					t.Errorf("%v\nrepeat with: go test ./journal -run '^TestCrashSimulationLosesNothingAcked$' -seed %d", err, w.seed)
				}
				crashes.Add(int64(w.crashes))
				expired.Add(int64(w.expired))
			}
		})
	}
	all.Wait()
	t.Logf("%d seeds from %d, %d crashes, %d segments expired", seeds, first, crashes.Load(), expired.Load())
	if expired.Load() == 0 && seeds >= 100 {
		t.Error("nothing ever expired")
	}
}

// world is one machine: a disk, the journal on it, and what its users were told.
type world struct {
	seed     uint64
	rnd      *rand.Rand
	disk     *MemDisk
	o        Options
	fuse     int  // operations that change the disk until everything stops; negative: never
	gone     bool // it stopped
	stopped  bool // an opening did not get to its end, and may have told what it cut
	moved    bool // the next opening sees the disk from another mount, or files that were copied back
	restored bool // they were copied back at this crash
	copied   *coldCopy
	crashes  int
	expired  int      // segments that were removed
	history  []string // what was done, for a failure

	j       *Journal
	d       *Dataset
	writers [3]*Writer        // by stream id; 0 is not used
	short   map[string]uint64 // greatest count of each short stream

	beyond map[seqRecord]string // what the tapes' files held after a power cut

	promised
}

var errGone = errors.New("the machine is gone")

const (
	worldStreams = 2
	worldSteps   = 60 // between two crashes, at most
	worldCrashes = 4
)

var worldSchemas = []feed.Schema{trades, mbp1, feed.SchemaOhlcv1s}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), disk: NewMemDisk(), fuse: -1, short: map[string]uint64{}}
	w.o = Options{
		Disk: w.disk, Sync: SyncPolicy{Bytes: maxSyncBytes}, MinSegment: smallestSegment, MaxSegment: 32 << 10, manual: true, streams: 6, nextEpoch: followingEpoch,
		Now: func() time.Time { return time.Unix(1, 0) },
	}
	w.disk.Fault(w.fault)
	return w
}

// fault burns the fuse; when it is through nothing works any more.
func (w *world) fault(op, _ string) error {
	switch op {
	case "open", "read", "list", "map", "populate":
	default:
		if w.fuse >= 0 {
			w.fuse--
			w.gone = w.gone || w.fuse < 0
		}
	}
	if w.gone {
		return errGone
	}
	return nil
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

func (w *world) run() error {
	for w.crashes < worldCrashes {
		err := w.live()
		if err == nil {
			err = w.crash()
		}
		if err != nil {
			return fmt.Errorf("seed %d: %w\n%s", w.seed, err, w.story())
		}
	}
	return nil
}

func (w *world) story() string {
	text := ""
	for _, line := range w.history {
		text += "  " + line + "\n"
	}
	return text
}

// live opens the journal if it is not open and does random things until the machine is to stop.
func (w *world) live() error {
	if w.j == nil {
		if err := w.open(); err != nil || w.gone {
			return err
		}
	}
	if w.rnd.IntN(3) > 0 { // else it stops between two operations
		w.fuse = w.rnd.IntN(120)
	}
	for range w.rnd.IntN(worldSteps) {
		if err := w.step(); err != nil {
			return err
		}
		if w.gone {
			return nil
		}
	}
	return nil
}

// open opens the journal and its streams. With a fuse it may end half way.
func (w *world) open() error {
	var cuts, before []aCut
	stopped := w.stopped
	w.stopped = true
	foretell := w.created && w.seed%4 == 0
	if foretell {
		var err error
		if cuts, before, err = w.foretell(); err != nil {
			return fmt.Errorf("verify before an opening: %w", err)
		}
	}
	j, err := Open("j", w.o)
	if err != nil {
		return w.unless(fmt.Errorf("open: %w", err))
	}
	if j.Damaged(testDataset) != nil && w.gone {
		w.j = j
		return nil
	}
	w.j, w.d = j, j.Lookup(testDataset)
	if w.d == nil && w.created {
		return fmt.Errorf("the dataset is not served any more: %w", j.Damaged(testDataset))
	}
	if w.d == nil {
		if w.d, err = j.Create(testDataset); err != nil {
			return w.unless(fmt.Errorf("create: %w", err))
		}
		w.created = true
	}
	if foretell && !stopped {
		if err := sameCuts(cuts, before, toldCuts(w.d.Gaps())); err != nil {
			return w.unless(err)
		}
	}
	w.stopped = false
	return w.openWriters()
}

func (w *world) openWriters() (err error) {
	for id := uint32(1); id <= worldStreams; id++ {
		if w.writers[id], err = w.d.OpenWriter(WriterOptions{Producer: fmt.Sprint("p", id), Stream: "s"}); err != nil {
			return w.unless(fmt.Errorf("open writer: %w", err))
		}
	}
	return nil
}

// unless forgives an error of a machine that is gone.
func (w *world) unless(err error) error {
	if w.gone {
		return nil
	}
	return err
}

// step does one random thing.
func (w *world) step() error {
	switch n := w.rnd.IntN(100); {
	case n < 50:
		return w.append()
	case n < 54:
		return w.mapSymbol()
	case n < 55:
		if w.rnd.IntN(2) == 0 {
			return w.shortStream()
		}
		return w.rewrite()
	case n < 60:
		return w.gap()
	case n < 75:
		return w.sync()
	case n < 83:
		w.note("seal")
		w.d.sealRound()
	case n < 88:
		w.d.prepareRound()
	case n < 94:
		w.disk.WriteBack(w.rnd)
	case n < 97:
		return w.fillUp()
	case n < 98:
		return w.failSync()
	case n < 99:
		return w.expire()
	default:
		return w.reopen()
	}
	return nil
}

// append commits some records of one stream to some tapes.
func (w *world) append() error {
	id := uint32(1 + w.rnd.IntN(worldStreams))
	wr := w.writers[id]
	var runs []Run
	n := wr.Accepted()
	for range 1 + w.rnd.IntN(3) {
		k := w.rnd.IntN(60)
		s := worldSchemas[w.rnd.IntN(len(worldSchemas))]
		runs = append(runs, Run{s, records(s, id, n, k)})
		n += uint64(k)
	}
	for len(runs) > 0 {
		got, err := wr.Append(runs)
		runs = skip(runs, got)
		w.sent[id] += uint64(got)
		switch {
		case err == nil || w.gone:
			return nil
		case errors.Is(err, ErrDiskFull):
			return nil // the rest is not sent
		case errors.Is(err, ErrNotReady):
			if w.d.prepareRound(); w.gone {
				return nil
			}
		default:
			return fmt.Errorf("append: %w", err)
		}
	}
	w.note("append to stream %d: %d", id, w.sent[id])
	return nil
}

func (w *world) mapSymbol() error {
	id := uint32(100 + w.rnd.IntN(50))
	err := w.writers[1].Map(id, fmt.Sprint("S", id))
	if err != nil {
		return w.unless(forgiveFull(err))
	}
	w.mapped = append(w.mapped, id)
	return nil
}

func (w *world) gap() error {
	w.gaps++
	cause := fmt.Sprint("gap-", w.gaps)
	err := w.writers[2].Gap(Gap{Schema: trades, FromTs: undefTime, ToTs: undefTime, Records: 1, Cause: cause})
	if err != nil {
		return w.unless(forgiveFull(err))
	}
	w.told = append(w.told, cause)
	return nil
}

// shortStream opens one of many streams for a moment, and lets it skip some records, so that slots are given to others. A stream that is new counts from 0,
// whatever the slot's count was; one that was seen before goes on with its count, or is forgotten.
func (w *world) shortStream() error {
	name := fmt.Sprint("n", w.rnd.IntN(12))
	wr, err := w.d.OpenWriter(WriterOptions{Producer: "short", Stream: name})
	if errors.Is(err, ErrTableFull) || errors.Is(err, ErrDiskFull) {
		return nil
	}
	if err != nil {
		return w.unless(fmt.Errorf("open short stream: %w", err))
	}
	if n := wr.Accepted(); n > w.short[name] {
		return fmt.Errorf("stream %s counts %d, it was %d at the most", name, n, w.short[name])
	}
	wr.Close()
	skip := wr.Accepted() + uint64(w.rnd.IntN(3)*100)
	wr, err = w.d.OpenWriter(WriterOptions{Producer: "short", Stream: name, Resume: skip, HasResume: true})
	w.short[name] = max(w.short[name], skip)
	if err != nil {
		return w.unless(forgiveFull(err))
	}
	if n := wr.Accepted(); n != skip {
		return fmt.Errorf("stream %s counts %d after it was to go on with %d", name, n, skip)
	}
	wr.Close()
	w.note("stream %s counts %d in slot %d", name, skip, wr.stream.number)
	return nil
}

// rewrite puts another file with the same entries in place of a side log.
func (w *world) rewrite() error {
	l := w.d.sideLogs()[w.rnd.IntN(len(sideLogs))]
	w.note("rewrite %s", l.path)
	return w.unless(forgiveFull(rewriteSame(l)))
}

func forgiveFull(err error) error {
	if errors.Is(err, ErrDiskFull) {
		return nil
	}
	return err
}

// sync asks for everything to be on disk; when that is confirmed it is promised.
func (w *world) sync() error {
	mapped, told := len(w.mapped), len(w.told)
	if err := w.d.Sync(); err != nil {
		return w.unless(forgiveFull(err))
	}
	w.syncedMapped, w.syncedTold = mapped, told
	w.acknowledge()
	w.note("sync: %d and %d", w.synced[1], w.synced[2])
	if w.synced != w.sent {
		return fmt.Errorf("a sync that succeeded acknowledges %v of %v", w.synced, w.sent)
	}
	return nil
}

// expire removes the oldest segments of a tape.
func (w *world) expire() error {
	w.remember()
	for range 1 + w.rnd.IntN(3) {
		t := w.d.Tape(worldSchemas[w.rnd.IntN(len(worldSchemas))])
		if t == nil {
			continue
		}
		var segs []*Segment
		for _, c := range t.aged(1 << 62) {
			segs = append(segs, c.s)
		}
		segs = segs[:w.rnd.IntN(len(segs)+1)]
		before := t.First()
		if err := w.d.expire(t, segs); err != nil {
			return w.unless(forgiveFull(fmt.Errorf("expire: %w", err)))
		}
		if t.First() > before {
			w.expired++
		}
		w.note("expired %v before %d", t.schema, t.First())
	}
	return nil
}

// acknowledge takes note of what producers were told to be on disk.
func (w *world) acknowledge() {
	for id := range w.synced {
		if wr := w.writers[id]; wr != nil {
			w.synced[id] = max(w.synced[id], wr.Synced())
		}
	}
}

// fillUp leaves no room for a while.
func (w *world) fillUp() error {
	w.note("disk full")
	w.disk.Limit(w.disk.Used())
	for range w.rnd.IntN(12) {
		if err := w.append(); err != nil || w.gone {
			return err
		}
		if w.rnd.IntN(4) == 0 {
			if err := w.sync(); err != nil || w.gone {
				return err
			}
			w.d.sealRound()
		}
	}
	w.disk.Limit(-1)
	return nil
}

// failSync lets one sync of a file fail, after which the dataset takes nothing more: what the kernel then holds for clean is not on disk. It goes on with a restart.
func (w *world) failSync() error {
	skip, failed := w.rnd.IntN(3), false
	w.disk.Fault(func(op, path string) error {
		if err := w.fault(op, path); err != nil {
			return err
		}
		if op == "sync" && !failed {
			if skip--; skip < 0 {
				failed = true
				return syscall.EIO
			}
		}
		return nil
	})
	err := w.d.Sync()
	w.disk.Fault(w.fault)
	if w.gone {
		return nil
	}
	if err == nil {
		w.acknowledge()
		return nil
	}
	if !errors.Is(err, ErrSyncFailed) {
		return fmt.Errorf("failed sync: %w", err)
	}
	w.note("sync failed, restart")
	if n, err := w.writers[1].Append([]Run{{trades, record(trades, 1, w.sent[1])}}); n > 0 || err == nil {
		return errors.New("an append after a failed sync was taken")
	}
	w.acknowledge()
	return w.restart()
}

// restart ends the process as a kill does and starts the next one on the same machine.
func (w *world) restart() error {
	w.remember()
	w.letGo()
	if err := w.open(); err != nil || w.gone {
		return err
	}
	return w.checkKill()
}

// reopen closes the journal properly and opens it again.
func (w *world) reopen() error {
	w.note("close and open")
	err := w.j.Close()
	if w.gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	w.synced, w.syncedMapped, w.syncedTold = w.sent, len(w.mapped), len(w.told)
	w.remember()
	w.j, w.d = nil, nil
	if err := w.open(); err != nil || w.gone {
		return err
	}
	return w.checkKill()
}

// letGo is the end of the process.
func (w *world) letGo() {
	if w.j != nil {
		abandon(w.j)
	}
	w.j, w.d, w.writers = nil, nil, [3]*Writer{}
}

// crash stops the process or the machine, then starts it, which may be stopped as well, and checks what is left.
func (w *world) crash() error {
	power := false
	w.acknowledge()
	w.remember()
	w.beyond, w.restored = nil, false
	for first := true; ; first = false {
		w.crashes++
		w.copyHalf()
		w.letGo()
		w.disk.Limit(-1)
		w.gone, w.fuse = false, -1
		if w.rnd.IntN(5) < 3 {
			power = true
			w.disk.PowerCut(w.rnd)
			w.note("power cut")
			if w.beyond == nil {
				w.beyond = w.stored()
			}
		} else {
			w.note("kill")
		}
		if first && !power {
			w.copyOrPutBack()
		}
		if w.rnd.IntN(4) == 0 { // another mount, container or copy: the page cache is what it was, and nothing of it may be cut
			w.disk.mount++
			w.moved = true
			w.note("seen from another mount")
		}
		if w.rnd.IntN(3) == 0 {
			w.fuse = w.rnd.IntN(60)
		}
		if err := w.open(); err != nil {
			return err
		}
		if !w.gone {
			break
		}
		w.note("stopped in mid-recovery")
	}
	w.fuse = -1
	if !power {
		return w.checkKill()
	}
	if err := w.checkPowerCut(); err != nil {
		return err
	}
	if w.rnd.IntN(3) == 0 {
		w.note("opened a second time")
		return w.restart()
	}
	return nil
}
