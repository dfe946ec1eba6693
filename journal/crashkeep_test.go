package journal

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// copyHalf is what a process leaves above some tails that ends in the middle of an append: records that it copied and did not commit, the last one in part.
func (w *world) copyHalf() {
	if w.d == nil || w.rnd.IntN(3) > 0 {
		return
	}
	for _, s := range worldSchemas {
		t := w.d.tapes[s]
		if t == nil || t.active == nil || t.active.data == nil || t.frozen != nil || w.rnd.IntN(2) == 0 {
			continue
		}
		b := records(s, 9, 0, 1+w.rnd.IntN(20))
		n := copy(t.active.data[t.active.Offset(t.Tail()):t.active.Offset(t.active.limit)], b[:len(b)-w.rnd.IntN(t.size)])
		if t.next != nil && n > 0 && t.Tail()+uint64(n/t.size) == t.active.limit {
			copy(t.next.data[t.next.Offset(t.next.base):], b)
		}
		w.note("%d bytes of %s above its tail", n, s)
	}
}

// seqRecord is a record that a file holds.
type seqRecord struct {
	schema feed.Schema
	seq    uint64
}

// eachStored calls f for each record of a segment file that is not all zero.
func (w *world) eachStored(p string, f func(seqRecord, []byte)) {
	n := w.disk.node(p)
	info, err := readSegmentInfo(&memFile{disk: &MemDisk{}, node: n}, p)
	if err != nil {
		return // a file whose header never reached the disk
	}
	for i := range info.records {
		at := info.header + int64(i)*int64(info.recordSize)
		if b := n.data[at : at+int64(info.recordSize)]; !allZero(b) {
			f(seqRecord{info.schema, info.base + i}, b)
		}
	}
}

// stored is every record that the tapes' files hold, wherever the tails are.
func (w *world) stored() map[seqRecord]string {
	all := map[seqRecord]string{}
	for _, s := range worldSchemas {
		dir := path.Join("j", testDataset, s.String())
		n := w.disk.node(dir)
		if n == nil {
			continue
		}
		for _, name := range sortedNames(n.children) {
			if path.Ext(name) == activeSuffix || path.Ext(name) == sealedSuffix {
				w.eachStored(path.Join(dir, name), func(r seqRecord, b []byte) { all[r] = string(b) })
			}
		}
	}
	return all
}

// quarantined is the segment files there.
func (w *world) quarantined() (names []string) {
	n := w.disk.node(path.Join("j", testDataset, quarantineDir))
	if n == nil {
		return nil
	}
	for _, name := range sortedNames(n.children) {
		if strings.Contains(name, activeSuffix) || strings.Contains(name, sealedSuffix) {
			names = append(names, name)
		}
	}
	return names
}

func (w *world) countCuts() (n int) {
	for _, g := range w.d.Gaps() {
		if g.Cause == CauseCut {
			n++
		}
	}
	return n
}

// checkBeyond: whatever a power cut left above the tails that are gone on from may have been acknowledged. It is in quarantine, byte for byte, and the ledger
// tells of a loss that spans it; but not in a copy that was put back, where it is another history's.
func (w *world) checkBeyond() error {
	kept := map[seqRecord][]string{}
	for _, name := range w.quarantined() {
		w.eachStored(path.Join("j", testDataset, quarantineDir, name), func(r seqRecord, b []byte) { kept[r] = append(kept[r], string(b)) })
	}
	for r, b := range w.beyond {
		tail := uint64(0)
		if t := w.d.Tape(r.schema); t != nil {
			tail = t.Tail()
		}
		if r.seq < tail {
			continue
		}
		if !slices.Contains(kept[r], b) {
			return fmt.Errorf("record %d of %s, beyond the tail %d, is gone without a trace; in quarantine are %v", r.seq, r.schema, tail, w.quarantined())
		}
		if !w.restored && !slices.ContainsFunc(w.d.Gaps(), func(g Gap) bool {
			return g.Schema == r.schema && g.Cause == CauseCut && seqIn(g.At, r.schema) == tail && tail+g.Records > r.seq
		}) {
			return fmt.Errorf("record %d of %s, beyond the tail %d, is in quarantine, and no gap tells of it: %v", r.seq, r.schema, tail, w.d.Gaps())
		}
	}
	w.beyond = nil
	return nil
}

// coldCopy is a data directory as an operator copies it when nothing runs, and what its users knew then.
type coldCopy struct {
	files map[string]copiedFile
	promised
	short map[string]uint64
}

type copiedFile struct {
	data    []byte
	written int64
}

// copyFiles copies every file below a directory.
func (d *MemDisk) copyFiles(dir string) map[string]copiedFile {
	files := map[string]copiedFile{}
	names, err := d.List(dir)
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		p := path.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			maps.Copy(files, d.copyFiles(p))
			continue
		}
		n := d.node(p)
		files[p] = copiedFile{bytes.Clone(n.data), n.written}
	}
	return files
}

// putBack copies them over what is there, into the same inodes. With times it sets mtimes back, as cp -a and rsync -a do; quick, it leaves files alone that have
// nothing in them, as rsync does whose size and mtime are the same.
func (d *MemDisk) putBack(files map[string]copiedFile, times, quick bool) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		n, c := d.node(p), files[p]
		if n == nil {
			f, err := d.Create(p)
			if err != nil {
				panic(err)
			}
			n = f.(*memFile).node
		}
		if quick && len(c.data) == 0 && n.written == c.written {
			continue
		}
		d.used += int64(len(c.data) - len(n.data))
		n.data, n.given = bytes.Clone(c.data), nil
		d.stored(n)
		if times {
			d.restamp(n)
			n.written = c.written
		}
		n.sync()
	}
	for _, dir := range d.dirs() {
		d.syncDir(dir)
	}
}

// copyOrPutBack copies the data directory between two processes, or copies an earlier copy back over it: what was entered since is another history.
func (w *world) copyOrPutBack() {
	switch {
	case !w.created || w.rnd.IntN(3) > 0:
	case w.copied == nil:
		w.note("copied")
		w.copied = &coldCopy{w.disk.copyFiles("j"), w.promised, maps.Clone(w.short)}
		w.copied.mapped, w.copied.told = slices.Clone(w.mapped), slices.Clone(w.told)
	default:
		times := w.rnd.IntN(2) == 0
		quick := times && w.rnd.IntN(2) == 0
		w.note("copied back, with times %v, quick %v", times, quick)
		w.disk.putBack(w.copied.files, times, quick)
		w.promised, w.short, w.moved, w.restored = w.copied.promised, w.copied.short, true, true
		w.copied = nil
	}
}
