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

// openTapes opens every tape that has records.
func (o *opening) openTapes() error {
	for schema := range feed.Schema(feed.NumSchemas) {
		if p, ok := o.result.places[int(schema)]; ok {
			if err := o.openTape(schema, p); err != nil {
				return err
			}
			continue
		}
		// No record was ever committed here, or recovery kept none: clear away what was prepared.
		t := o.d.makeTape(schema)
		names, err := o.d.disk.List(t.dir)
		if err == nil {
			_, err = o.sortFiles(t, names, 0)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o *opening) openTape(schema feed.Schema, p place) (err error) {
	d := o.d
	t := d.makeTape(schema)
	if err := d.disk.SyncDir(t.dir); err != nil {
		return err
	}
	names, err := d.disk.List(t.dir)
	if err != nil {
		return err
	}
	files, err := o.sortFiles(t, names, p.ordinal)
	if err != nil {
		return err
	}
	var segs []*Segment
	defer func() {
		if err != nil {
			releaseUnsealed(segs)
		}
	}()
	next := uint64(0) // base of the segment after the one at hand
	for _, ordinal := range slices.Backward(slices.Sorted(maps.Keys(files))) {
		s, err := o.openSegment(t, ordinal, files[ordinal], p)
		if err != nil && ordinal < p.ordinal && !isShortage(err) && !isFull(err) && !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: it cannot be opened: %w", ErrCorrupt, err) // a link to a disk that is not there, another's rights, a disk's error
		}
		if err == nil && ordinal < p.ordinal && s.limit > next {
			err = fmt.Errorf("%w: %s ends with record %d, the next segment begins with %d", ErrCorrupt, segmentPath(t.dir, ordinal, files[ordinal]), s.limit, next)
		}
		if err != nil && (ordinal == p.ordinal || !errors.Is(err, ErrCorrupt)) {
			return err
		}
		if err == nil && len(segs) > 0 && s.limit < next && next <= o.expired[int(schema)] {
			t.expired = append(t.expired, s) // removed, but for a power cut before the directory was synced; those behind it are not back
			continue
		}
		if err != nil {
			o.d.log.Error("segment is damaged; its records are not served, the file stays", zap.String("tape", t.name()), zap.Uint64("segment", ordinal), zap.Error(err))
			continue
		}
		segs, next = append(segs, s), s.base
	}
	if len(segs) == 0 {
		return fmt.Errorf("%w: segment %d of %s, in use when the journal was last open, is missing", ErrCorrupt, p.ordinal, t.name())
	}
	slices.Reverse(segs)
	o.noteHoles(t, segs)
	t.segs.Store(&segs)
	t.active, t.unsynced = segs[len(segs)-1], p.tail
	t.first.Store(segs[0].base)
	t.tail.Store(p.tail)
	d.granted[schema] = true
	d.holdFiles(filesPerTape)
	d.tapes[schema] = t
	d.j.tapes.Add(1)
	d.visible[schema].Store(t)
	return nil
}

// noteHoles takes out of service what the files do not give: before the first segment that is served, between two, and where one was cut.
func (o *opening) noteHoles(t *Tape, segs []*Segment) {
	first, expired := segs[0].base, o.expired[int(t.schema)]
	if gone := min(expired, first); gone > 0 { // what expired and is there all the same is served: it was restored, or not removed yet
		t.addHole(Hole{0, gone, CauseExpired})
	}
	files := make([]kept, len(segs))
	for i, s := range segs {
		files[i] = kept{info: s.info(), end: s.limit}
		if end, cut := o.cut[s]; cut {
			files[i].end = end
		}
	}
	for _, h := range holesIn(files, expired) {
		t.addHole(h)
	}
}

// sortFiles tells the segment files of a tape by ordinal and suffix, and clears away what is no part of it: unfinished files, and
// segments beyond the one in use, which were prepared and never committed to.
func (o *opening) sortFiles(t *Tape, names []string, active uint64) (map[uint64]string, error) {
	files := map[uint64]string{}
	for _, name := range names {
		path := filepath.Join(t.dir, name)
		suffix := filepath.Ext(name)
		ordinal, ok := ordinalOf(name)
		switch {
		case suffix == tmpSuffix:
			if err := o.d.disk.Remove(path); err != nil {
				return nil, err
			}
		case ok && suffix == indexSuffix && ordinal >= active:
			// Of a sealed segment that is none of this history: the one in use, and those to come, have none yet.
			if err := o.dropIndex(t, ordinal); err != nil {
				return nil, err
			}
		case !ok || suffix != activeSuffix && suffix != sealedSuffix:
		case ordinal < active && files[ordinal] != "":
			var err error
			if files[ordinal], err = o.keepOne(t, ordinal); err != nil {
				return nil, err
			}
		case ordinal == active && files[ordinal] != "":
			if err := o.d.removeSealed(t, ordinal); err != nil { // it goes on in the new file, see recut
				return nil, err
			}
			files[ordinal] = suffix
		case ordinal <= active:
			files[ordinal] = suffix
		case suffix == sealedSuffix:
			// Recovery has gone back behind a sealed segment.
			if err := o.q.move(path, fmt.Sprintf("%s.%s", t.schema, name)); err != nil {
				return nil, err
			}
		case o.held(path):
			if err := o.q.move(path, fmt.Sprintf("%s.%08d.0%s", t.schema, ordinal, suffix)); err != nil {
				return nil, err
			}
		default:
			if err := o.d.disk.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// dropIndex puts a block index aside, with the sums of the records that it is of.
func (o *opening) dropIndex(t *Tape, ordinal uint64) error {
	path := segmentPath(t.dir, ordinal, indexSuffix)
	return o.q.move(path, fmt.Sprintf("%s.%s", t.schema, filepath.Base(path)))
}

func (o *opening) openSegment(t *Tape, ordinal uint64, suffix string, p place) (*Segment, error) {
	path := segmentPath(t.dir, ordinal, suffix)
	f, err := o.d.disk.Open(path, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	k, err := readKept(o.d.disk, f, path, t.schema, ordinal)
	info := k.info
	if err == nil && ordinal < p.ordinal {
		err = o.checkEpoch(f, path, info)
	}
	if err == nil && ordinal == p.ordinal && (info.base != p.base || p.tail < p.base || p.tail > p.base+info.records) {
		err = fmt.Errorf("%w: %s holds records %d to %d, the tail is %d", ErrCorrupt, path, info.base, info.base+info.records, p.tail)
	}
	if err != nil {
		return nil, err
	}
	if ordinal == p.ordinal {
		return o.openInUse(t, f, path, k, p.tail)
	}
	if suffix == activeSuffix {
		return o.openFull(t, f, path, k)
	}
	s := &Segment{tape: t, ordinal: ordinal, base: info.base, header: info.header, limit: info.base + info.records, proof: &proof{}}
	s.sealed.Store(true)
	s.written.Store(o.d.j.stamped(info))
	if k.cut != nil {
		o.d.log.Error("segment is cut short; what is left of it is served, the file stays", zap.String("tape", t.name()), zap.Uint64("segment", ordinal), zap.Error(k.cut))
		o.cut[s] = k.end
	}
	return s, nil
}

// openInUse opens the segment that a tape goes on in: in a new file when records were cut from it, now or by an opening that had no room for the new one
// (its file is in quarantine, too), when it shares its file with another copy, when it was sealed, or when somebody cut off what it had room for. Until there is room
// the tape takes no records.
func (o *opening) openInUse(t *Tape, f File, path string, k kept, tail uint64) (*Segment, error) {
	info := k.info
	kept, err := o.q.holds(f)
	if err != nil {
		return nil, err
	}
	shared, err := o.isCopys(f)
	if err != nil {
		return nil, err
	}
	if _, cut := o.result.recut[path]; cut || kept || shared || info.sealed || k.cut != nil {
		err := o.d.recut(t, path, info, tail)
		if isFull(err) && k.cut == nil {
			if err := o.q.link(f, path, fmt.Sprintf("%s.%08d.%d%s", t.schema, info.ordinal, tail, filepath.Ext(path))); err != nil {
				return nil, err
			}
			return o.d.freeze(t, path, info, tail)
		}
		if err != nil {
			return nil, err
		}
		path = segmentPath(t.dir, info.ordinal, activeSuffix)
	}
	s, err := o.d.openActive(t, path, info, tail)
	if err == nil {
		s.clearBeyond(tail)
	}
	return s, err
}

// clearBeyond makes zero what a process that was killed had copied above the tail and not committed. Nobody was ever given those bytes, and left there a later
// power cut would let them pass for records that were accepted. They follow the tail without a hole, in pages that were populated then, as they are now.
func (s *Segment) clearBeyond(tail uint64) {
	end := min(s.populated.Load(), s.Offset(s.limit))
	for at := s.Offset(tail); at < end; at += blockBytes {
		b := s.data[at:min(at+blockBytes, end)]
		if allZero(b) {
			return
		}
		clear(b)
	}
}
