package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// timedTape is a journal with a tape of which some segments are sealed and some are not, and its records.
func timedTape(t *testing.T, disk *MemDisk, s feed.Schema, n int) (*Journal, *Dataset, []byte) {
	t.Helper()
	j := open(t, "j", Options{Disk: disk, MinSegment: 256 << 10, MaxSegment: 256 << 10})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	rnd := newRand(t)
	var tape []byte
	for i := range n {
		r := record(s, 1, uint64(i*10)+rnd.Uint64N(200))
		if off := s.TsRecvOffset(); off >= 0 {
			binary.LittleEndian.PutUint64(r[off:], uint64(i*10)+rnd.Uint64N(300))
		}
		if off := s.FlagsOffset(); off >= 0 {
			r[off] = byte(feed.FlagLast)
			if rnd.IntN(500) == 0 {
				r[off] |= byte(feed.FlagSnapshot)
			}
		}
		tape = append(tape, r...)
	}
	cut := n * 9 / 10 * s.RecordSize()
	mustAppend(t, w, Run{s, tape[:cut]})
	sealAll(t, d, s)
	mustAppend(t, w, Run{s, tape[cut:]})
	return j, d, tape
}

// checkTimes asks for stretches of the tape in every place: what is answered must hold all their times, and only those of the blocks they lie in.
func checkTimes(tape *Tape, s feed.Schema, bytes []byte) error {
	size, per := s.RecordSize(), blockRecords(s.RecordSize())
	l := &layouts[s]
	for seq := uint64(0); seq < tape.Tail(); seq += per / 3 {
		seg, err := tape.Segment(seq)
		if err != nil {
			return err
		}
		first := seg.base + (seq-seg.base)/per*per
		end := min(tape.Tail(), seq+per/2)
		got, to, err := tape.Times(seq, end)
		limit := min(first+per, seg.limit, tape.Tail())
		seg.Release()
		if err != nil || to <= seq || to > end || to > first+per {
			return fmt.Errorf("times of %d to %d: up to %d, %v", seq, end, to, err)
		}
		exact, block := l.times(bytes[int(seq)*size:int(to)*size]), l.times(bytes[int(first)*size:int(limit)*size])
		widest := block
		widest.add(exact)
		together := got
		together.add(exact)
		if together != got {
			return fmt.Errorf("times of %d to %d: %+v do not hold %+v", seq, to, got, exact)
		}
		if widest.add(got); widest != block {
			return fmt.Errorf("times of %d to %d: %+v are of more than the block, %+v", seq, to, got, block)
		}
	}
	return nil
}

func TestTimesHoldEveryRecordSealedInUseAndNew(t *testing.T) {
	for _, s := range []feed.Schema{feed.SchemaMbo, feed.SchemaBbo1s, feed.SchemaOhlcv1s, feed.SchemaDefinition} {
		disk := NewMemDisk()
		_, d, bytes := timedTape(t, disk, s, 20000*48/s.RecordSize())
		if err := checkTimes(d.Tape(s), s, bytes); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestTimesOfATapeWhoseIndexesAreGone: they are made from the records, and hold the same.
func TestTimesOfATapeWhoseIndexesAreGone(t *testing.T) {
	disk := NewMemDisk()
	_, d, bytes := timedTape(t, disk, trades, 20000)
	dir := d.Tape(trades).dir
	if err := disk.Remove(segmentPath(dir, 1, indexSuffix)); err != nil {
		t.Fatal(err)
	}
	disk.node(segmentPath(dir, 2, indexSuffix)).data[indexHeader+9] ^= 1
	if err := checkTimes(d.Tape(trades), trades, bytes); err != nil {
		t.Error(err)
	}
}

// TestIndexesOfManyReadersAreBoundedAndLetGo: an index is in memory once however many read its segment, and no longer than anybody does.
func TestIndexesOfManyReadersAreBoundedAndLetGo(t *testing.T) {
	disk := NewMemDisk()
	j, d, bytes := timedTape(t, disk, trades, 20000)
	tape := d.Tape(trades)
	pin, err := tape.Segment(0)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { errs[i] = checkTimes(tape, trades, bytes) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := len(j.indexes.list); n != 1 || j.indexes.bytes != len(*pin.cached.Load())*indexEntry {
		t.Errorf("%d indexes of %d bytes are kept while one segment is held", n, j.indexes.bytes)
	}
	pin.Release()
	if n := len(j.indexes.list); n != 0 || j.indexes.bytes != 0 {
		t.Errorf("%d indexes of %d bytes are kept for nobody", n, j.indexes.bytes)
	}
}

func TestTimesBeyondTheTailAreRefused(t *testing.T) {
	disk := NewMemDisk()
	_, d, _ := timedTape(t, disk, trades, 100)
	for _, c := range [][2]uint64{{0, 101}, {100, 100}, {5, 5}, {6, 5}} {
		if _, _, err := d.Tape(trades).Times(c[0], c[1]); !errors.Is(err, ErrBeyondTail) {
			t.Errorf("times of %d to %d: %v", c[0], c[1], err)
		}
	}
}
