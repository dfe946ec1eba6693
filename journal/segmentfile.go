package journal

import (
	"errors"
	"io/fs"

	"github.com/tapewire/tapewire/feed"
)

// openSegmentFile opens the file of a tape's segment. Where it is there twice, sealed and not, one of them was copied (see twice.go): of a segment that was left
// the sealed one comes first, as a tape that was copied earlier may lack records; of the one in use the one that is not sealed, as a tape never goes on in a
// sealed one. A file that does not open, or is of another segment, gives way to the other. Error: fs.ErrNotExist when there is none.
func openSegmentFile(disk Disk, dir string, schema feed.Schema, ordinal uint64, inUse bool) (File, segmentInfo, error) {
	var first error
	for _, suffix := range segmentSuffixes(inUse) {
		f, info, err := openSegmentPath(disk, segmentPath(dir, ordinal, suffix), schema, ordinal)
		if err == nil {
			return f, info, nil
		}
		if isShortage(err) || errors.Is(err, ErrVersion) {
			return nil, info, err
		}
		if first == nil || errors.Is(first, fs.ErrNotExist) {
			first = err
		}
	}
	return nil, segmentInfo{}, first
}

func openSegmentPath(disk Disk, path string, schema feed.Schema, ordinal uint64) (File, segmentInfo, error) {
	f, err := disk.Open(path, true)
	if err != nil {
		return nil, segmentInfo{}, err
	}
	info, err := readSegmentInfo(f, path)
	if err == nil {
		err = info.checkTape(path, schema, ordinal)
	}
	if err != nil {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

// segmentSuffixes is the order in which a segment's file is looked for. One that is not sealed yet may be sealed between two looks.
func segmentSuffixes(inUse bool) []string {
	if inUse {
		return []string{activeSuffix, sealedSuffix}
	}
	return []string{sealedSuffix, activeSuffix, sealedSuffix}
}
