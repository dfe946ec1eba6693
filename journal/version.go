package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// otherVersion names a file of a version that this program does not know, and what helps.
func otherVersion(path string, version, known uint32) error {
	remedy := "a later tapewire wrote it: upgrade to that one, or one after it"
	if version < known {
		remedy = "no release wrote it: use the tapewire that did"
	}
	return fmt.Errorf("%w: %s has version %d, known is %d; %s", ErrVersion, path, version, known, remedy)
}

// checkLogHeader judges how sync.log or a side log begins: known is its latest version, and all earlier ones are read too. The header's first 16 bytes are there
// in each version. Their last four bytes are zero in version 1, and in each other the CRC32C of what is
// before them: a bit that flipped in the version is damage, and what another release wrote is not taken for damage.
func checkLogHeader(b []byte, path, magic string, known uint32) error {
	if len(b) < sideHeader || string(b[:8]) != magic {
		return fmt.Errorf("%w: %s does not begin with %s", ErrCorrupt, path, magic)
	}
	version, sum := binary.LittleEndian.Uint32(b[8:]), uint32(0)
	if version != 1 {
		sum = crc32c(b[:12])
	}
	switch {
	case binary.LittleEndian.Uint32(b[12:]) != sum:
		return fmt.Errorf("%w: header of %s fails its CRC", ErrCorrupt, path)
	case version == 0 || version > known:
		return otherVersion(path, version, known)
	}
	return nil
}

// checkVersions looks at the header of each file of a dataset for a version that is not known. An opening does so before it changes anything: what it
// takes for damage it would cut, replace or clear away. What is missing or damaged is for others to judge, and so are block indexes, which are derived.
func checkVersions(disk Disk, dir string) error {
	if err := checkStateVersion(disk, dir); err != nil {
		return err
	}
	if err := checkLogVersion(disk, filepath.Join(dir, syncLogName), syncLogMagic, syncLogVersion); err != nil {
		return err
	}
	for _, log := range sideLogs {
		if err := checkLogVersion(disk, filepath.Join(dir, log.name), log.magic, sideVersion); err != nil {
			return err
		}
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		if err := checkTapeVersions(disk, filepath.Join(dir, schema.String())); err != nil {
			return err
		}
	}
	return nil
}

func checkStateVersion(disk Disk, dir string) error {
	path := filepath.Join(dir, stateName)
	return onlyVersion(checkStateHead(readHead(disk, path, stateConst), path))
}

func checkLogVersion(disk Disk, path, magic string, known uint32) error {
	return onlyVersion(checkLogHeader(readHead(disk, path, sideHeader), path, magic, known))
}

// checkTapeVersions looks at all segments of a tape, also at those that were prepared and hold nothing yet.
func checkTapeVersions(disk Disk, dir string) error {
	names, err := disk.List(dir)
	if err != nil {
		return nil // no record yet; else the opening meets the error again
	}
	for _, name := range names {
		if !strings.HasSuffix(name, activeSuffix) && !strings.HasSuffix(name, sealedSuffix) {
			continue
		}
		path := filepath.Join(dir, name)
		f, err := disk.Open(path, true)
		if errors.Is(err, fs.ErrNotExist) { // sealed meanwhile, when a server runs beside us: its version is the one it had
			continue
		}
		if err == nil {
			_, err = readSegmentInfo(f, path)
			f.Close()
		}
		if err := onlyVersion(err); err != nil {
			return err
		}
	}
	return nil
}

// readHead is the first n bytes of a file; nil when they cannot be had.
func readHead(disk Disk, path string, n int) []byte {
	f, err := disk.Open(path, true)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, n)
	if got, _ := f.ReadAt(b, 0); got < n {
		return nil
	}
	return b
}

func onlyVersion(err error) error {
	if errors.Is(err, ErrVersion) {
		return err
	}
	return nil
}
