package journal

import (
	"bytes"
	"errors"
	"fmt"
)

// A full segment that is there twice, sealed and not, was copied: while it was sealed, perhaps begun while it still filled, or back over a directory in which
// it was sealed since, perhaps in another history. Sealing by itself never leaves both.

// keepOne decides which file is served, by its suffix; nothing that only the other holds is lost. Where both hold the same, or the other one is not full, it is
// the sealed one. Else one of them was copied back, as everything else was: it is the one whose ctime is later. What is not served goes to quarantine.
func (o *opening) keepOne(t *Tape, ordinal uint64) (suffix string, err error) {
	sealed, active := segmentPath(t.dir, ordinal, sealedSuffix), segmentPath(t.dir, ordinal, activeSuffix)
	same, later, err := o.compare(sealed, active)
	switch {
	case errors.Is(err, ErrVersion) || err != nil && !errors.Is(err, ErrCorrupt):
		return "", err
	case same:
		return sealedSuffix, errors.Join(o.d.disk.Remove(active), o.d.disk.SyncDir(t.dir))
	case later:
		if err := o.q.move(sealed, fmt.Sprintf("%s.%08d%s", t.schema, ordinal, sealedSuffix)); err != nil {
			return "", err
		}
		return activeSuffix, o.d.removeSealed(t, ordinal)
	}
	return sealedSuffix, o.q.move(active, fmt.Sprintf("%s.%08d%s", t.schema, ordinal, activeSuffix))
}

// compare says whether two files of a segment hold the same records, and whether b is full and changed later than a. Error: ErrCorrupt where one cannot be read.
func (o *opening) compare(a, b string) (same, later bool, err error) {
	fb, err := o.d.disk.Open(b, true)
	if err != nil {
		return false, false, err
	}
	defer fb.Close()
	ib, err := readSegmentInfo(fb, b)
	if err != nil {
		return false, false, err
	}
	end, err := lastStored(fb, ib, ib.base)
	if err != nil || end < ib.base+ib.records {
		return false, false, err
	}
	fa, err := o.d.disk.Open(a, true)
	if err != nil {
		return false, false, err
	}
	defer fa.Close()
	sa, errA := fa.Stamp()
	sb, errB := fb.Stamp()
	if err := errors.Join(errA, errB); err != nil {
		return false, false, err
	}
	later = sb.Changed > sa.Changed
	ia, err := readSegmentInfo(fa, a)
	if err != nil || ia.base != ib.base || ia.recordSize != ib.recordSize || ia.records != ib.records {
		return false, later, err
	}
	same, at := true, ib.header
	err = eachChunk(fa, ia, ia.base, ia.base+ia.records, func(x []byte) error {
		y := make([]byte, len(x))
		if _, err := fb.ReadAt(y, at); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCorrupt, b, err)
		}
		at += int64(len(y))
		same = same && bytes.Equal(x, y)
		return nil
	})
	return same && err == nil, later, err
}
