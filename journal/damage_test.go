package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// whole is a journal with everything in it: sealed segments and others, unsynced records, mappings and gaps of two producers.
type whole struct {
	disk   *MemDisk
	files  []string
	tapes  map[feed.Schema][]byte
	summed map[feed.Schema]uint64 // records below it were synced, so there is a sum of them somewhere
}

// wholeOptions start no goroutine: what is sealed and synced is the same each time.
func wholeOptions(disk *MemDisk) Options {
	o := memOptions(disk)
	o.manual = true
	return o
}

func writeWholeJournal(t *testing.T) *whole {
	t.Helper()
	v := &whole{disk: NewMemDisk(), tapes: map[feed.Schema][]byte{}, summed: map[feed.Schema]uint64{}}
	j, err := Open("j", wholeOptions(v.disk))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	if _, err := j.Create("OTHER"); err != nil {
		t.Fatal(err)
	}
	var n [3]uint64
	for i := range 120 {
		id := uint32(1 + i%2)
		w := openWriter(t, d, fmt.Sprint("p", id), "s")
		if err := w.Map(uint32(100+i), fmt.Sprint("S", i)); err != nil {
			t.Fatal(err)
		}
		runs := []Run{{trades, records(trades, id, n[id], 11)}, {mbp1, records(mbp1, id, n[id]+11, 3)}}
		for len(runs) > 0 {
			got, err := w.Append(runs)
			runs = skip(runs, got)
			n[id] += uint64(got)
			if errors.Is(err, ErrNotReady) {
				d.prepareRound()
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if i%20 == 7 {
			if err := w.Gap(Gap{Schema: trades, FromTs: 1, ToTs: 2, Records: 1, Cause: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		if i%10 == 9 && i < 110 {
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			if i < 90 {
				d.sealRound()
			}
			for _, s := range []feed.Schema{trades, mbp1} {
				v.summed[s] = d.Tape(s).Tail()
			}
		}
	}
	for _, s := range []feed.Schema{trades, mbp1} {
		if v.tapes[s], err = readTape(d.Tape(s)); err != nil {
			t.Fatal(err)
		}
	}
	abandon(j)
	v.files = filesBelow(v.disk, "j")
	return v
}

// filesBelow is the paths of all files with something in them.
func filesBelow(d *MemDisk, dir string) (paths []string) {
	names, err := d.List(dir)
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		if p := path.Join(dir, name); strings.HasSuffix(name, "/") {
			paths = append(paths, filesBelow(d, p)...)
		} else if len(d.node(p).data) > 0 {
			paths = append(paths, p)
		}
	}
	return paths
}

// serve reads a tape as a session does, and holds each record against what was written there. It returns how many it got.
func (v *whole) serve(tape *Tape, s feed.Schema) (got uint64, err error) {
	if tape == nil {
		return 0, nil
	}
	size := uint64(s.RecordSize())
	for seq := tape.First(); seq < tape.Tail(); {
		if h, ok := tape.NextHole(seq); ok && h.From <= seq {
			seq = h.To
			continue
		}
		seg, err := tape.Segment(seq)
		if errors.Is(err, ErrDamaged) { // not even its first record is there
			if h, ok := tape.NextHole(seq); !ok || h.From > seq {
				return got, fmt.Errorf("%w, and no hole says where they end", err)
			}
			continue
		}
		if err != nil {
			return got, err
		}
		end, err := seg.Check(seq, min(seg.Limit(), tape.Tail()))
		if errors.Is(err, ErrDamaged) {
			seg.Release()
			continue // there is a hole now
		}
		b := make([]byte, (end-seq)*size)
		if err == nil {
			_, err = seg.ReadAt(b, seg.Offset(seq))
		}
		seg.Release()
		if err != nil {
			return got, err
		}
		if sure := min(end, max(v.summed[s], seq)); string(b[:(sure-seq)*size]) != string(v.tapes[s][seq*size:sure*size]) {
			return got, fmt.Errorf("%s: records %d to %d are served and are not what was written", s, seq, end)
		}
		got += end - seq
		seq = end
	}
	return got, nil
}

// TestDamageAnywhereIsNeverServedAndTakesNothingElseWithIt flips bits, clears pages and cuts the end of each file of a journal in turn. Nothing panics, no
// synced record is served that is not what was written, what is not served is no more than the damage explains, and no dataset is refused but where the sync
// log is hurt and the machine was started again.
func TestDamageAnywhereIsNeverServedAndTakesNothingElseWithIt(t *testing.T) {
	rnd := newRand(t)
	v := writeWholeJournal(t)
	rounds := 1000
	if raceEnabled || testing.Short() {
		rounds = 150
	}
	holes, again := 0, ", machine started again"
	for round := range rounds {
		disk := v.disk.Clone(false)
		name := v.files[round%len(v.files)]
		what := hurt(disk, name, rnd)
		if rnd.IntN(2) == 0 {
			disk = disk.Clone(true) // found after a start of the machine
			what += again
		}
		report, err := verify(disk, "j", nil)
		if err != nil {
			t.Fatalf("%s: verify: %v", what, err)
		}
		if _, err := inspect(disk, "j"); err != nil {
			t.Fatalf("%s: inspect: %v", what, err)
		}
		j, err := Open("j", wholeOptions(disk))
		if err != nil {
			t.Fatalf("%s: open: %v", what, err)
		}
		if j.Lookup("OTHER") == nil && !strings.HasPrefix(name, "j/OTHER/") {
			t.Fatalf("%s: another dataset is not served", what)
		}
		d := j.Lookup(testDataset)
		if d == nil && path.Base(name) == syncLogName && strings.HasSuffix(what, again) {
			abandon(j) // the state page may be older than what was synced
			continue
		}
		if d == nil {
			t.Fatalf("%s: not served: %v", what, j.Damaged(testDataset))
		}
		for _, s := range []feed.Schema{trades, mbp1} {
			got, err := v.serve(d.Tape(s), s)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			lost := uint64(len(v.tapes[s])/s.RecordSize()) - got
			var list []Hole
			if d.Tape(s) != nil {
				list = d.Tape(s).Holes()
			}
			if len(list) > 0 {
				holes++
			}
			if len(list) > 0 && len(report.Problems) == 0 {
				t.Fatalf("%s: %s has holes %v that verify does not find", what, s, list)
			}
			if most := mostLost(name, s); d.Epoch() == 1 && lost > most {
				t.Fatalf("%s: %d records of %s are not served, the damage explains %d at most", what, lost, s, most)
			}
		}
		abandon(j)
	}
	t.Logf("%d journals hurt, %d tapes with holes", rounds, holes)
	if holes == 0 {
		t.Error("the test shows one side only")
	}
}

// hurt damages a file.
func hurt(disk *MemDisk, name string, rnd *rand.Rand) string {
	n := disk.node(name)
	cut := func(size int) string {
		n.data = n.data[:size]
		return fmt.Sprintf("%s cut to %d bytes", name, size)
	}
	switch rnd.IntN(6) {
	case 0:
		return cut(rnd.IntN(len(n.data)))
	case 5: // a segment within its first record, too
		return cut(rnd.IntN(min(len(n.data), headerUnit+100)))
	case 1:
		at := rnd.IntN(len(n.data))
		clear(n.data[at:min(at+4096, len(n.data))])
		return fmt.Sprintf("%s: a page cleared from byte %d on", name, at)
	case 2: // where the structure is
		at := rnd.IntN(min(len(n.data), 6144))
		n.data[at] ^= 1 << rnd.IntN(8)
		return fmt.Sprintf("%s: a bit of byte %d flipped", name, at)
	}
	at := rnd.IntN(len(n.data))
	n.data[at] ^= 1 << rnd.IntN(8)
	return fmt.Sprintf("%s: a bit of byte %d flipped", name, at)
}

// mostLost is how many records of s damage to one file explains: those of one segment, as segments of these journals are one block.
func mostLost(name string, s feed.Schema) uint64 {
	if strings.Contains(name, "/"+s.String()+"/") {
		return uint64(32<<10) / uint64(s.RecordSize())
	}
	return 0
}

func FuzzParsersOfSideFiles(f *testing.F) {
	e := syncEntry{epoch: 1, places: map[int]place{4: {1, 0, 9}}, ranges: []syncRange{{schema: trades, ordinal: 1, to: 9}}, counts: []streamCount{{1, 9}}}
	f.Add(appendFrame(nil, e.append(nil)))
	m := Mapping{ID: 1, Symbol: "X", At: []Position{{trades, 9}}}
	f.Add(appendFrame(nil, appendMappings(nil, []Mapping{m})))
	g := Gap{Schema: trades, Cause: CauseCut, At: []Position{{trades, 9}}}
	f.Add(appendFrame(nil, g.append(nil)))
	g.Producer, g.Cause = "p", "a word of an earlier version"
	f.Add(g.append(nil))
	info := segmentInfo{schema: trades, recordSize: 48, ordinal: 1, records: 1, header: headerUnit}
	f.Add(appendIndex(nil, info, []block{makeBlock(0, record(trades, 1, 1), trades, 48, nil)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := nextFrame(b); ok && len(p) > len(b)-frameHeader {
			t.Errorf("a frame of %d bytes out of %d", len(p), len(b))
		}
		if e, err := parseSyncEntry(b); err == nil && string(e.append(nil)) != string(b) && len(e.places) > MaxTapes {
			t.Error("an entry with more tapes than there are")
		}
		if list, err := parseMappings(nil, b); err == nil {
			if again, err := parseMappings(nil, appendMappings(nil, list)); err != nil || !reflect.DeepEqual(again, list) {
				t.Errorf("mappings do not come back as they were read: %+v, %+v, %v", list, again, err)
			}
		}
		if g, err := parseGap(b); err == nil { // not the same bytes: a cause of an earlier version is read as one of this
			if again, err := parseGap(g.append(nil)); err != nil || !reflect.DeepEqual(again, g) {
				t.Errorf("a gap does not come back as it was read: %+v, %+v, %v", g, again, err)
			}
		}
		if _, blocks, err := parseIndex(b, info, true); err == nil && len(blocks)*indexEntry+indexHeader != len(b) {
			t.Error("an index of another size than it says")
		}
		f := memFileOf(b)
		if i, err := readSegmentInfo(f, "x"); err == nil && i.header+int64(i.records)*int64(i.recordSize) > int64(len(b)) {
			t.Error("a segment that claims more than its file holds")
		}
	})
}

// memFileOf is a file that holds b.
func memFileOf(b []byte) File {
	d := NewMemDisk()
	f, err := d.Create(path.Join(".", "x"))
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		panic(err)
	}
	return f
}
