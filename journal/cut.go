package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// A cut takes records out of a tape that readers may have been sent already, by reference: a socket of a process that has ended can still hold the pages of
// the file, and what is stored into them changes under its receiver. So the file that holds them is never stored to again, nor punched or cut: it gets a
// name in quarantine, and the records that stay go on in a new file of the same ordinal, base and capacity.

// rest is what a segment file holds beyond the place that recovery goes on from.
type rest struct {
	schema feed.Schema
	path   string
	info   segmentInfo
	to     uint64 // behind the last record that is not all zero
}

// keepRest finds everything beyond the places, and gives the files that hold it their names in quarantine. It looks for what is not zero, and not at record
// headers: after a power cut a hole of lost pages may lie before pages that did reach the disk.
func (o *opening) keepRest() error {
	o.result.lost, o.result.recut = map[int]uint64{}, map[string]uint64{}
	for schema := range feed.Schema(feed.NumSchemas) {
		p := o.result.places[int(schema)]
		end := p.tail // of what was there
		err := eachInUse(o.d.disk, o.d.path(schema.String()), p, func(ordinal uint64, path string) error {
			to, err := o.keepSegment(schema, p, ordinal, path)
			end = max(end, to)
			return err
		})
		if err != nil {
			return err
		}
		if n := o.result.cutTo(schema, end); n > 0 {
			o.result.lost[int(schema)] = n
		}
	}
	return nil
}

// eachInUse gives the files of a tape that may hold something beyond a place; of a tape whose directory is gone, none.
func eachInUse(disk Disk, dir string, p place, do func(ordinal uint64, path string) error) error {
	names, err := disk.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		suffix := filepath.Ext(name)
		ordinal, ok := ordinalOf(name)
		if !ok || suffix != activeSuffix && suffix != sealedSuffix || ordinal < p.ordinal {
			continue
		}
		if err := do(ordinal, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// cutTo is how many records of a tape readers are told to have lost where its files hold something up to end.
func (r *recovered) cutTo(schema feed.Schema, end uint64) uint64 {
	tail := r.places[int(schema)].tail
	if r.ends != nil {
		if !r.here {
			end = tail // what lies beyond what the page knows of was never acknowledged here, as far as anybody knows
		}
		end = max(r.ends[int(schema)], end)
	}
	return max(end, tail) - tail
}

// keepBeyond does it where the state page is trusted. After a power cut that may be older than the files: its disk pages and theirs are written back
// independently. So what lies beyond its tails may have been acknowledged, as far as the sync log does not say that the journal was closed right there; and that
// only where these very files are back: an older copy that was put back among newer files was closed properly, too.
//
// How many records are lost is told only where these very files come back after another boot. Seen from another mount on the same boot they are what a killed
// process had copied and not committed (so it is with a container that starts again), and in a copy what was accepted elsewhere: both are kept, and nobody is told
// of a loss that is none here.
func (o *opening) keepBeyond() error {
	if o.closedThere() {
		return nil
	}
	if err := o.keepRest(); err != nil {
		return err
	}
	o.result.cut = len(o.result.rest) > 0
	return nil
}

// closedThere says that the journal was closed right at the places of a trusted state page, so nothing lies beyond them.
func (o *opening) closedThere() bool {
	n := len(o.entries)
	return o.result.here && o.result.untouched && n > 0 && o.entries[n-1].clean && maps.Equal(o.entries[n-1].places, o.result.places)
}

// keepSegment returns the end of what the file holds.
func (o *opening) keepSegment(schema feed.Schema, p place, ordinal uint64, path string) (uint64, error) {
	f, err := o.d.disk.Open(path, true)
	var info segmentInfo
	if err == nil {
		defer f.Close()
		info, err = readSegmentInfo(f, path)
	} else if !isHurt(err) {
		return 0, err
	}
	if err != nil {
		if ordinal == p.ordinal {
			return 0, nil // see mendInUse
		}
		return 0, o.q.move(path, fmt.Sprintf("%s.%s", schema, filepath.Base(path))) // no file, or a prepared segment whose header never reached the disk
	}
	r := rest{schema: schema, path: path, info: info}
	from := p.beyond(ordinal, info)
	r.to, err = lastStored(f, info, from)
	if errors.Is(err, ErrCorrupt) {
		o.d.log.Warn("what lies beyond the tail of a segment cannot be read; it is kept as it is", zap.String("file", path), zap.Error(err))
		r.to, err = max(r.to, from+1), nil
	}
	if err != nil || r.to == from {
		return 0, err
	}
	o.result.rest = append(o.result.rest, r)
	if ordinal > p.ordinal {
		return r.to, nil // moved as a whole, see sortFiles
	}
	o.result.recut[path] = p.tail
	return r.to, o.q.link(f, path, fmt.Sprintf("%s.%08d.%d%s", schema, ordinal, p.tail, filepath.Ext(path)))
}

// beyond is the first record of a segment's file that lies beyond the place.
func (p place) beyond(ordinal uint64, info segmentInfo) uint64 {
	if ordinal == p.ordinal {
		return p.tail
	}
	return info.base
}

// held says whether a segment beyond the place in use has anything in it.
func (o *opening) held(path string) bool {
	return slices.ContainsFunc(o.result.rest, func(r rest) bool { return r.path == path })
}

// lastStored is the end of the last record from from on that is not all zero; from when there is none. Of a segment most is space that was only allocated, up
// to 256 MiB: the filesystem says where there may be anything else, and the rest is not read.
func lastStored(f File, info segmentInfo, from uint64) (uint64, error) {
	end, size, limit := from, uint64(info.recordSize), info.base+info.records
	for from < limit {
		at, err := f.NextData(info.header + int64((from-info.base)*size))
		if err != nil {
			return end, err
		}
		seq := info.base + uint64(at-info.header)/size // the record that holds it, or is behind from
		if seq = max(seq, from); seq >= limit {
			break
		}
		from = min(seq+max(chunkBytes/size, 1), limit)
		err = eachChunk(f, info, seq, from, func(b []byte) error {
			for ; len(b) > 0; b = b[size:] {
				if seq++; !allZero(b[:size]) {
					end = seq
				}
			}
			return nil
		})
		if err != nil {
			return end, err
		}
	}
	return end, nil
}

// newEpoch enters the epoch that begins here, and has it on disk before a segment bears its number. One that an opening entered which did not get to its end is taken,
// when it begins at the same records.
func (o *opening) newEpoch() error {
	d := o.d
	first := tailsOf(o.result.places)
	last := d.epochs[len(d.epochs)-1]
	if last.Number > d.epoch && slices.Equal(last.First, first) {
		d.epoch, o.result.begun = last.Number, true
		return nil
	}
	e := Epoch{Number: d.o.nextEpoch(max(d.epoch, last.Number)), Time: d.now(), First: first}
	if err := d.epochsLog.append(e.append(nil)); err != nil {
		return err
	}
	d.epoch, d.epochs = e.Number, append(d.epochs, e)
	return d.epochsLog.sync(d.epochsLog.size.Load())
}

// enterCut tells readers of the records that were cut, in one entry for each tape. It is on disk before the records lose their names.
func (o *opening) enterCut() error {
	if len(o.result.lost) == 0 && len(o.result.recut) == 0 {
		return nil
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		n := o.result.lost[int(schema)]
		if n == 0 {
			continue
		}
		g := Gap{
			Schema: schema, FromTs: undefTime, ToTs: undefTime, Records: n, Cause: CauseCut,
			At: []Position{{schema, o.result.places[int(schema)].tail}},
		}
		if !o.result.begun || !o.known(g) {
			if err := o.d.enterGap(nil, g); errors.Is(err, ErrDiskFull) {
				return err
			} else if err != nil {
				o.d.enterUnwritten(g, err)
			}
		}
	}
	return o.d.ledger.log.sync(o.d.ledger.log.size.Load())
}

// recut copies the records below tail of a segment file into a new one, which takes its place: of the same ordinal, base and capacity, and not sealed.
// Whoever still holds the old one keeps its bytes.
func (d *Dataset) recut(t *Tape, path string, info segmentInfo, tail uint64) error {
	old, err := d.disk.Open(path, true)
	if err != nil {
		return err
	}
	defer old.Close()
	anew := info
	anew.sealed, anew.epoch, anew.created = false, d.epoch, d.now()
	region, err := anew.headerRegion(d.metadata(t.schema))
	if err != nil {
		return err
	}
	to := segmentPath(t.dir, info.ordinal, activeSuffix)
	err = writeWhole(d.disk, to, func(f File) error {
		if err := f.Allocate(info.header + int64(info.records)*int64(t.size)); err != nil {
			return err
		}
		if _, err := f.WriteAt(region, 0); err != nil {
			return err
		}
		return d.copyRecords(t, f, old, info, tail)
	})
	if err != nil {
		return err
	}
	d.log.Info("segment goes on in a new file", zap.String("tape", t.name()), zap.Uint64("segment", info.ordinal), zap.Uint64("records", tail-info.base))
	if path == to {
		return nil
	}
	return d.removeSealed(t, info.ordinal)
}

// removeSealed takes away a sealed segment that goes on unsealed.
func (d *Dataset) removeSealed(t *Tape, ordinal uint64) error {
	for _, suffix := range []string{sealedSuffix, indexSuffix} {
		if err := removeFile(d.disk, segmentPath(t.dir, ordinal, suffix)); err != nil {
			return err
		}
	}
	return d.disk.SyncDir(t.dir)
}

// copyRecords copies a segment's records below tail. What the disk does not give back is left out: its sum finds it, and it is a hole.
func (d *Dataset) copyRecords(t *Tape, to, from File, info segmentInfo, tail uint64) error {
	per := blockRecords(t.size)
	buf := make([]byte, int(per)*t.size)
	for seq := info.base; seq < tail; seq += per {
		b := buf[:int(min(per, tail-seq))*t.size]
		at := info.header + int64(seq-info.base)*int64(t.size)
		if n, err := from.ReadAt(b, at); n < len(b) {
			d.log.Error("records cannot be read", zap.String("tape", t.name()), zap.Uint64("from", seq), zap.Error(err))
			continue
		}
		if _, err := to.WriteAt(b, at); err != nil {
			return err
		}
	}
	return nil
}
