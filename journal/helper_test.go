package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapewire/tapewire/feed"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// TestMain is also the child of the kill -9 tests, and looks for goroutines that a closed journal left behind.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain()
		return
	}
	goleak.VerifyTestMain(m)
}

// newRand prints what repeats the test.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d; repeat with: go test ./journal -run '^%s$' -seed %d", seed, t.Name(), seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// record makes one record of s: its number n in its stream, and the stream, can be read back from it.
func record(s feed.Schema, stream uint32, n uint64) []byte {
	b := make([]byte, s.RecordSize())
	for i := feed.HeaderSize; i < len(b); i++ {
		b[i] = byte(n) + byte(i) // no zero pages, no two records alike
	}
	b[0], b[1] = byte(len(b)/4), byte(s.RType())
	binary.LittleEndian.PutUint32(b[4:], stream)
	binary.LittleEndian.PutUint64(b[8:], n)
	if off := s.TsRecvOffset(); off >= 0 {
		binary.LittleEndian.PutUint64(b[off:], n)
	}
	return b
}

// records makes n records beginning with number from.
func records(s feed.Schema, stream uint32, from uint64, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, record(s, stream, from+uint64(i))...)
	}
	return b
}

const testDataset = "TEST.SET"

// open opens a journal for a test and closes it at its end.
func open(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	if o.RetryInterval == 0 {
		o.RetryInterval = time.Millisecond
	}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func create(t testing.TB, j *Journal) *Dataset {
	t.Helper()
	d, err := j.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openWriter(t testing.TB, d *Dataset, producer, stream string) *Writer {
	t.Helper()
	w, err := d.OpenWriter(WriterOptions{Producer: producer, Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// appendAll appends runs, waiting where it must.
func appendAll(w *Writer, runs ...Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(runs) > 0 {
		n, err := w.Append(runs)
		runs = skip(runs, n)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrDiskFull) {
			return err
		}
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// skip drops the first n records of runs.
func skip(runs []Run, n int) []Run {
	for len(runs) > 0 {
		size := runs[0].Schema.RecordSize()
		if have := len(runs[0].Bytes) / size; n >= have {
			runs, n = runs[1:], n-have
			continue
		}
		rest := append([]Run{{runs[0].Schema, runs[0].Bytes[n*size:]}}, runs[1:]...)
		return rest
	}
	return nil
}

func mustAppend(t testing.TB, w *Writer, runs ...Run) {
	t.Helper()
	if err := appendAll(w, runs...); err != nil {
		t.Fatal(err)
	}
}

// readTape reads all records of a tape as a reader does, by mapping where there is one and by ReadAt, and holds one against the other.
func readTape(tape *Tape) ([]byte, error) {
	if tape == nil {
		return nil, nil
	}
	var out []byte
	seq, tail := tape.First(), tape.Tail()
	for seq < tail {
		if h, ok := tape.NextHole(seq); ok && h.From <= seq {
			seq = h.To
			continue
		}
		s, err := tape.Segment(seq)
		if err != nil {
			return nil, err
		}
		to, err := s.Check(seq, min(tail, s.Limit()))
		if err != nil {
			s.Release()
			if errors.Is(err, ErrDamaged) {
				continue
			}
			return nil, err
		}
		b := make([]byte, s.Offset(to)-s.Offset(seq))
		_, err = s.ReadAt(b, s.Offset(seq))
		if m := s.Mapped(seq, to); err == nil && m != nil && string(m) != string(b) {
			err = fmt.Errorf("records %d to %d: the mapping and the file differ", seq, to)
		}
		s.Release()
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
		seq = to
	}
	return out, nil
}

// checkStreams says whether the tapes hold each stream's records 0 .. counts[stream]-1, once and in order, each tape's in the order sent.
// Records of one stream may be spread over tapes: then each number occurs in exactly one.
func checkStreams(d *Dataset, counts map[uint32]uint64) error {
	return checkStreamsIn(func(s feed.Schema) ([]byte, error) { return readTape(d.Tape(s)) }, counts)
}

func checkStreamsIn(read func(feed.Schema) ([]byte, error), counts map[uint32]uint64) error {
	seen := map[uint32][]bool{}
	total := map[uint32]uint64{}
	for s := range feed.Schema(feed.NumSchemas) {
		b, err := read(s)
		if err != nil {
			return err
		}
		last := map[uint32]int64{}
		size := s.RecordSize()
		for ; len(b) > 0; b = b[size:] {
			r := feed.Record(b[:size])
			id, n := r.InstrumentID(), r.TsEvent()
			if string(b[:size]) != string(record(s, id, n)) {
				return fmt.Errorf("%s: record %d of stream %d is damaged", s, n, id)
			}
			if old, ok := last[id]; ok && int64(n) <= old {
				return fmt.Errorf("%s: record %d of stream %d comes after %d", s, n, id, old)
			}
			last[id] = int64(n)
			if n >= counts[id] {
				return fmt.Errorf("%s: record %d of stream %d, which counts %d", s, n, id, counts[id])
			}
			if seen[id] == nil {
				seen[id] = make([]bool, counts[id])
			}
			if seen[id][n] {
				return fmt.Errorf("%s: record %d of stream %d is there twice", s, n, id)
			}
			seen[id][n] = true
			total[id]++
		}
	}
	for id, n := range counts {
		if total[id] != n {
			return fmt.Errorf("stream %d: %d records, counted %d; the first missing is %d", id, total[id], n, slices.Index(seen[id], false))
		}
	}
	return nil
}

// eventually waits for what a background goroutine will do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// onDisks runs a test on the heap-backed disk, and on the real one unless the race detector is on, which does not see mapped memory.
func onDisks(t *testing.T, test func(t *testing.T, dir string, disk Disk)) {
	t.Run("heap", func(t *testing.T) { test(t, "j", NewMemDisk()) })
	t.Run("os", func(t *testing.T) { test(t, t.TempDir(), OSDisk{}) })
}

// contents is a copy of a file of a disk in use.
func contents(d *MemDisk, name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.node(name).data)
}
