package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tapewire/tapewire/feed"
)

// kept is what a segment file still gives of its records.
type kept struct {
	info segmentInfo
	end  uint64 // the first record that it does not give; info.limit() when it is whole
	cut  error  // why that is not all
}

// readKept reads the header of the file of a tape's segment. One that somebody cut gives its whole records, a sealed one the blocks that are whole: a block's sum
// needs all of it.
func readKept(disk Disk, f File, path string, schema feed.Schema, ordinal uint64) (kept, error) {
	info, err := readSegmentInfo(f, path)
	k := kept{info: info, end: info.limit()}
	if errors.Is(err, errShort) {
		k.cut, err = err, nil
	}
	if err == nil {
		err = info.checkTape(path, schema, ordinal)
	}
	if err == nil && k.cut != nil {
		k.end, err = info.whole(disk, filepath.Dir(path), f)
	}
	return k, err
}

// checkTape says whether a header is the one of a tape's segment, and not of a file that came from somewhere else.
func (i *segmentInfo) checkTape(path string, schema feed.Schema, ordinal uint64) error {
	if i.schema != schema || i.recordSize != schema.RecordSize() || i.ordinal != ordinal {
		return fmt.Errorf("%w: %s says it is segment %d of %s", ErrCorrupt, path, i.ordinal, i.schema)
	}
	return nil
}

// checkEpoch says whether a segment was made, or sealed, in an epoch that its dataset had: those of another dataset are numbered otherwise, and a file of one, with
// the place and the record size of ours, was copied here. That holds whatever its directory was called then.
func (i *segmentInfo) checkEpoch(f File, path string, epochs []Epoch) error {
	if slices.ContainsFunc(epochs, func(e Epoch) bool { return e.Number == i.epoch }) {
		return nil
	}
	region, of := make([]byte, i.header), "another dataset"
	if _, err := f.ReadAt(region, 0); err == nil {
		if m, err := feed.ParseMetadata(region); err == nil {
			of = m.Dataset
		}
	}
	return fmt.Errorf("%w: %s is of epoch %d, which this dataset never had: it was copied from %s, or from another copy of this one; put the file that belongs here in its place", ErrCorrupt, path, i.epoch, of)
}

// checkEpoch is segmentInfo.checkEpoch, as far as all epochs are known that there were.
func (o *opening) checkEpoch(f File, path string, info segmentInfo) error {
	if o.d.epochsLog.gone > 0 {
		return nil
	}
	return info.checkEpoch(f, path, o.d.epochs)
}

// limit is the number of the first record that does not belong to the segment any more.
func (i *segmentInfo) limit() uint64 { return i.base + i.records }

// whole is the end of the records that a file which was cut holds in full, of a sealed segment of the blocks: as its index divides them, so that a loss in one of them
// grows no further, and without an index of those that a segment without a loss has.
func (i *segmentInfo) whole(disk Disk, dir string, f File) (uint64, error) {
	size, err := f.Size()
	if err != nil {
		return i.base, err
	}
	end := i.base + uint64(max(size-i.header, 0))/uint64(i.recordSize)
	if end >= i.limit() {
		return i.limit(), nil
	}
	if !i.sealed {
		return end, nil
	}
	_, blocks, err := readIndex(disk, dir, *i, true)
	if isShortage(err) {
		return i.base, err
	}
	if k, ok := blockAt(blocks, end); ok {
		return k.first, nil
	}
	per := blockRecords(i.recordSize)
	return i.base + (end-i.base)/per*per, nil
}

// holesIn is what files, in their order, lack of a tape whose first record is expired: before them, between them, and where one was cut. What touches and has one
// cause is one hole. It is what an opening serves by, and a tap.
func holesIn(files []kept, expired uint64) (holes []Hole) {
	add := func(h Hole) {
		n := len(holes)
		switch {
		case h.From >= h.To:
		case n > 0 && holes[n-1].To == h.From && holes[n-1].Cause == h.Cause:
			holes[n-1].To = h.To
		default:
			holes = append(holes, h)
		}
	}
	next, cause := expired, CauseQuarantined
	for i := range files {
		k := &files[i]
		add(Hole{next, k.info.base, cause})
		add(Hole{k.end, k.info.limit(), CauseDamaged})
		next, cause = max(next, k.info.limit()), CauseDamaged
	}
	return holes
}
