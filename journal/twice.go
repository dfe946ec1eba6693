package journal

import (
	"bytes"
	"errors"
	"fmt"

	"go.uber.org/zap"
)

// A full segment that is there twice, sealed and not, was copied: while it was sealed, perhaps begun while it still filled, or back over a directory in which
// it was sealed since, perhaps in another history. Sealing by itself never leaves both.

// keepOne decides which file is served, by its suffix; nothing that only the other holds is lost. Where both hold the same, or the other one is not full or not of
// this place of the tape, it is the sealed one. Where the sync log knows one of them, it is that one. Else one of them was copied back, as everything else was: it
// is the one whose ctime is later. What is not served goes to quarantine.
func (o *opening) keepOne(t *Tape, ordinal uint64) (suffix string, err error) {
	sealed, active := segmentPath(t.dir, ordinal, sealedSuffix), segmentPath(t.dir, ordinal, activeSuffix)
	same, instead, err := o.compare(t, ordinal, sealed, active)
	switch {
	case err != nil:
		return "", err
	case same:
		return sealedSuffix, errors.Join(o.d.disk.Remove(active), o.d.disk.SyncDir(t.dir))
	case instead:
		if err := o.q.move(sealed, fmt.Sprintf("%s.%08d%s", t.schema, ordinal, sealedSuffix)); err != nil {
			return "", err
		}
		return activeSuffix, o.d.removeSealed(t, ordinal)
	}
	o.d.log.Warn("a segment is there sealed and as an older copy of the time before; the sealed one is served", zap.String("tape", t.name()), zap.Uint64("segment", ordinal))
	return sealedSuffix, o.q.move(active, fmt.Sprintf("%s.%08d%s", t.schema, ordinal, activeSuffix))
}

// compare says whether two files of a segment hold the same records, and whether b is to be served instead of the sealed a.
func (o *opening) compare(t *Tape, ordinal uint64, a, b string) (same, instead bool, err error) {
	fb, ib, err := openSegmentPath(o.d.disk, b, t.schema, ordinal)
	if err != nil {
		return false, false, unlessHurt(err)
	}
	defer fb.Close()
	if end, err := lastStored(fb, ib, ib.base); err != nil || end < ib.limit() || !o.fits(fb, ib) {
		return false, false, unlessHurt(err)
	}
	fa, ia, err := openSegmentPath(o.d.disk, a, t.schema, ordinal)
	if err != nil {
		return false, unlessHurt(err) == nil, unlessHurt(err)
	}
	defer fa.Close()
	if !o.fits(fa, ia) {
		return false, true, nil
	}
	same, err = equalRecords(fa, ia, fb, ib)
	if same || unlessHurt(err) != nil {
		return same, false, err
	}
	sa, errA := fa.Stamp()
	sb, errB := fb.Stamp()
	return false, sb.Changed > sa.Changed, errors.Join(errA, errB)
}

// fits says whether a file is of this dataset, and whether the sync log, as far as it knows the segment, knows this file: its place in the tape, and the sums of its records.
func (o *opening) fits(f File, info segmentInfo) bool {
	if o.checkEpoch(f, "", info) != nil {
		return false
	}
	info.sealed = false // here a sealed segment's word is not taken
	for _, e := range o.entries {
		p, ok := e.places[int(info.schema)]
		if ok && (p.ordinal == info.ordinal && p.base != info.base || p.ordinal == info.ordinal+1 && p.base != info.limit()) {
			return false
		}
		for _, r := range e.ranges {
			if r.schema == info.schema && r.ordinal == info.ordinal && checkRange(f, info, r) != nil {
				return false
			}
		}
	}
	return true
}

// equalRecords says whether two files hold the same records.
func equalRecords(fa File, ia segmentInfo, fb File, ib segmentInfo) (bool, error) {
	if ia.base != ib.base || ia.records != ib.records {
		return false, nil
	}
	same, at := true, ib.header
	err := eachChunk(fa, ia, ia.base, ia.limit(), func(x []byte) error {
		y := make([]byte, len(x))
		if _, err := fb.ReadAt(y, at); err != nil {
			return fmt.Errorf("%w: segment %d: %w", ErrCorrupt, ib.ordinal, err)
		}
		at += int64(len(y))
		same = same && bytes.Equal(x, y)
		return nil
	})
	return same && err == nil, err
}

// unlessHurt is nil for an error that is about a file alone, and says nothing of the process or the format.
func unlessHurt(err error) error {
	if isShortage(err) || errors.Is(err, ErrVersion) {
		return err
	}
	return nil
}
