package journal

import (
	"path"
	"slices"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

func TestDamagedBytesInAnyFileNeverPanicNorHang(t *testing.T) {
	rnd := newRand(t)
	v := write(t, 20, 5)
	names := []string{}
	for name, n := range v.disk.nodes {
		if len(n.data) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rounds, opened := 400, 0
	if raceEnabled {
		rounds = 60
	}
	for round := range rounds {
		disk := v.disk.Clone(round%2 == 0)
		name := names[rnd.IntN(len(names))]
		data := disk.nodes[name].data
		switch rnd.IntN(3) {
		case 0: // bytes where the structure is
			for range 1 + rnd.IntN(4) {
				data[rnd.IntN(min(len(data), 6144))] = byte(rnd.IntN(256))
			}
		case 1: // a page
			at := rnd.IntN(len(data))
			clear(data[at:min(at+4096, len(data))])
		case 2: // the end
			disk.nodes[name].data = data[:rnd.IntN(len(data))]
		}
		if _, err := verify(disk, "j", nil); err != nil {
			t.Errorf("%s: verify: %v", name, err)
		}
		if _, err := inspect(disk, "j"); err != nil {
			t.Errorf("%s: inspect: %v", name, err)
		}
		j, err := Open("j", memOptions(disk))
		if err != nil {
			continue // refused, by name
		}
		opened++
		d := j.Lookup(testDataset)
		for s := range feed.Schema(feed.NumSchemas) {
			if _, err := readTape(d.Tape(s)); err != nil {
				t.Errorf("%s damaged: opened, but %s cannot be read: %v", name, s, err)
			}
		}
		abandon(j)
	}
	if opened == 0 || opened == rounds {
		t.Errorf("opened %d of %d damaged journals: the test shows one side only", opened, rounds)
	}
}

func FuzzParsersOfSideFiles(f *testing.F) {
	e := syncEntry{epoch: 1, places: map[int]place{4: {1, 0, 9}}, ranges: []syncRange{{schema: trades, ordinal: 1, to: 9}}, counts: []streamCount{{1, 9}}}
	f.Add(appendFrame(nil, e.append(nil)))
	m := Mapping{ID: 1, Symbol: "X", At: []Position{{trades, 9}}}
	f.Add(appendFrame(nil, m.append(nil)))
	g := Gap{Schema: trades, Cause: CauseCut, At: []Position{{trades, 9}}}
	f.Add(appendFrame(nil, g.append(nil)))
	info := segmentInfo{schema: trades, recordSize: 48, ordinal: 1, records: 1, header: headerUnit}
	f.Add(appendIndex(nil, info, []block{makeBlock(0, record(trades, 1, 1), trades, 48)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := nextFrame(b); ok && len(p) > len(b)-frameHeader {
			t.Errorf("a frame of %d bytes out of %d", len(p), len(b))
		}
		if e, err := parseSyncEntry(b); err == nil && string(e.append(nil)) != string(b) && len(e.places) > MaxTapes {
			t.Error("an entry with more tapes than there are")
		}
		if m, err := parseMapping(b); err == nil && string(m.append(nil)) != string(b) {
			t.Error("a mapping does not come back as it was read")
		}
		if g, err := parseGap(b); err == nil && string(g.append(nil)) != string(b) {
			t.Error("a gap does not come back as it was read")
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
