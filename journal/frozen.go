package journal

import (
	"errors"
	"fmt"

	"go.uber.org/zap"
)

// frozen is a segment in use that must not be stored to: records were cut from its file, somebody may still hold their pages, and the disk has no room for
// the new file that the tape is to go on in. The tape is read-only until there is room.
type frozen struct {
	path string
	info segmentInfo
	tail uint64
}

// freeze opens the old file for its readers. Nothing in it is populated, so an append finds no room.
func (d *Dataset) freeze(t *Tape, path string, info segmentInfo, tail uint64) (*Segment, error) {
	s, err := d.mapActive(t, path, info, tail)
	if err != nil {
		return nil, err
	}
	s.limit = tail // who reads it takes the new file for what comes then
	t.frozen = &frozen{path, info, tail}
	t.blocked = t.frozen.noRoom(t)
	d.log.Warn("no room for the file that a tape is to go on in after a cut; it is read-only until there is", zap.String("tape", t.name()), zap.Error(t.blocked))
	return s, nil
}

func (z *frozen) noRoom(t *Tape) error {
	return fmt.Errorf("%w: records of %s were cut, and there is no room for the %d bytes of the file that it is to go on in; free space or move the journal, "+
		"writing goes on by itself", ErrDiskFull, t.name(), z.info.header+int64(z.info.records)*int64(t.size))
}

// thaw lets a frozen tape go on in a new file, if there is room for one now. Preparer's.
func (d *Dataset) thaw(t *Tape) error {
	z := t.frozen
	if err := d.recut(t, z.path, z.info, z.tail); err != nil {
		if isFull(err) {
			return z.noRoom(t)
		}
		return d.prepareError(t, err)
	}
	z.path = segmentPath(t.dir, z.info.ordinal, activeSuffix) // one that was sealed is gone, should what follows have to be tried again
	s, err := d.openActive(t, z.path, z.info, z.tail)
	if err != nil {
		return errors.Join(ErrNotReady, err)
	}
	d.syncer.mu.Lock() // guards sums
	defer d.syncer.mu.Unlock()
	d.mu.Lock()
	old := t.active
	s.sums, s.proof = old.sums, old.proof
	segs := append([]*Segment(nil), *t.segs.Load()...)
	for i := range segs {
		if segs[i] == old {
			segs[i] = s
		}
	}
	t.segs.Store(&segs)
	t.active, t.frozen = s, nil
	d.mu.Unlock()
	old.Release() // the tape's reference: who reads it keeps it
	return nil
}
