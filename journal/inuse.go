package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// A segment in use that was on disk before anything was stored to it does not get lost, shorter or another header by a power cut: somebody did that while nobody
// served it. What it still gives stays, in a file of its own that ends there, and the tape goes on in the next segment, at the tail that is known. So what lies
// between the two is a hole with exact bounds, for this opening and all others, and for taps.

// mendInUse lets tapes go on whose segment in use is hurt. What it does can be done again: an opening that is stopped changes no place.
func (o *opening) mendInUse() error {
	for schema := range feed.Schema(feed.NumSchemas) {
		p, ok := o.result.places[int(schema)]
		if !ok {
			continue
		}
		k, path, err := o.inUse(schema, p)
		if err != nil && !isGone(err) {
			continue // whoever opens it tells that
		}
		name := fmt.Sprintf("segment %d of %s/%s", p.ordinal, o.d.name, schema)
		if err != nil {
			o.d.log.Error("segment in use is hurt; what is left of it is served, and the tape goes on in the next one", zap.String("segment", name),
				zap.Uint64("lost_from", k.end), zap.Uint64("lost_to", p.tail), zap.Error(err))
			err = o.goOn(schema, p, k, path)
			o.result.places[int(schema)], o.result.moved = place{p.ordinal + 1, p.tail, p.tail}, true
		} else if filepath.Ext(path) == sealedSuffix {
			err = o.putAside(schema, p.ordinal, activeSuffix, p.base) // it would come first
		}
		if err != nil {
			return fmt.Errorf("go on behind what is hurt in %s: %w", name, diskError(err))
		}
	}
	return nil
}

// isGone says of an error about the file of a segment that its records, or the end of them, are not there any more. A disk that does not give them back may be
// another time.
func isGone(err error) bool { return isHurt(err) && !errors.Is(err, syscall.EIO) }

// inUse is what the file of a tape's segment in use gives below the tail; an error says why that is not all. Where it is there sealed and not, it is the whole
// one, or the one that gives more.
func (o *opening) inUse(schema feed.Schema, p place) (best kept, from string, err error) {
	best, err = kept{end: p.base}, fs.ErrNotExist
	for _, suffix := range segmentSuffixes(true) {
		path := segmentPath(o.d.path(schema.String()), p.ordinal, suffix)
		k, why := o.readInUse(path, schema, p)
		if why == nil {
			return k, path, nil
		}
		if k.end > best.end {
			best, from = k, path
		}
		if !errors.Is(why, fs.ErrNotExist) {
			err = why
		}
	}
	return best, from, err
}

func (o *opening) readInUse(path string, schema feed.Schema, p place) (kept, error) {
	none := kept{end: p.base}
	f, err := o.d.disk.Open(path, true)
	if err != nil {
		return none, err
	}
	defer f.Close()
	k, err := readKept(o.d.disk, f, path, schema, p.ordinal)
	if err == nil && k.info.base != p.base {
		err = fmt.Errorf("%w: %s begins with record %d, the segment in use with %d", ErrCorrupt, path, k.info.base, p.base)
	}
	if err != nil {
		return none, err
	}
	if k.end = min(k.end, p.tail); k.end < p.tail {
		err = fmt.Errorf("%w: %s gives records up to %d, the tail is %d", ErrCorrupt, path, k.end, p.tail)
		if k.cut != nil {
			err = k.cut
		}
	}
	return k, err
}

// goOn leaves a segment that is hurt with what it gives, and makes the next one.
func (o *opening) goOn(schema feed.Schema, p place, k kept, path string) error {
	t := o.d.makeTape(schema)
	if err := errors.Join(o.d.disk.Mkdir(t.dir), o.d.disk.SyncDir(o.d.dir)); err != nil {
		return err
	}
	for _, suffix := range segmentSuffixes(true) {
		if segmentPath(t.dir, p.ordinal, suffix) != path {
			if err := o.putAside(schema, p.ordinal, suffix, p.base); err != nil {
				return err
			}
		}
		if err := o.putAside(schema, p.ordinal+1, suffix, 0); err != nil {
			return err
		}
	}
	if path != "" {
		if err := o.shorten(t, path, k); err != nil {
			return err
		}
	}
	header := o.d.headerBytes(t)
	s, err := o.d.createFitting(t, p.ordinal+1, p.tail, o.d.segmentBytes(o.d.o.MinSegment, header), header)
	if err == nil {
		s.Release()
	}
	return err
}

// putAside moves a file that no place names to quarantine, if there is one; seq is the first record that it does not give. One that was prepared and never stored
// to is not worth that.
func (o *opening) putAside(schema feed.Schema, ordinal uint64, suffix string, seq uint64) error {
	path := segmentPath(o.d.path(schema.String()), ordinal, suffix)
	f, err := o.d.disk.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		info, err := readSegmentInfo(f, path)
		end := uint64(0)
		if err == nil {
			end, err = lastStored(f, info, info.base)
		}
		f.Close()
		if err == nil && end == info.base && !info.sealed {
			return errors.Join(o.d.disk.Remove(path), o.d.disk.SyncDir(filepath.Dir(path)))
		}
	}
	return o.q.move(path, fmt.Sprintf("%s.%08d.%d%s", schema, ordinal, seq, suffix))
}

// shorten lets the file of a segment end with what it gives: in a new one, and the old one goes to quarantine, as it is after a cut.
func (o *opening) shorten(t *Tape, path string, k kept) error {
	if k.info.limit() == k.end && k.cut == nil {
		return nil // an opening that was stopped did it
	}
	if k.end == k.info.base {
		return k.cut
	}
	f, err := o.d.disk.Open(path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := o.q.link(f, path, fmt.Sprintf("%s.%08d.%d%s", t.schema, k.info.ordinal, k.end, filepath.Ext(path))); err != nil {
		return err
	}
	k.info.records = k.end - k.info.base
	return o.d.recut(t, path, k.info, k.end)
}
