package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// BackupProgress tells what Backup or Restore has finished.
type BackupProgress struct {
	Dataset string
	File    string // below the dataset's directory
	Bytes   int64  // of it
	Linked  bool   // it has another name now: nothing was copied
}

// backupTries is how often a dataset is begun again whose oldest segments expire while it is copied.
const backupTries = 5

// Backup copies the journal in dir to the directory to, which it makes, while a server runs or not: each dataset as of one commit. Segments that are sealed
// get a second name where to is on the same filesystem, as they never change. Of the others the committed records are copied. The copy has no state page but
// a sync log that was closed properly: an opening takes all of it, and begins an epoch there.
//
// progress may be nil. What Verify says of dir, it says of the copy. Errors: what names the directories, ErrCorrupt where a dataset cannot be read, ErrDiskFull.
func Backup(dir, to string, progress func(BackupProgress)) error {
	if progress == nil {
		progress = func(BackupProgress) {}
	}
	if err := emptyDir(to); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	dirs, err := datasetDirs(OSDisk{}, dir)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if len(dirs) == 0 {
		return fmt.Errorf("backup: %w: %s holds no dataset", fs.ErrNotExist, dir)
	}
	lock, err := OSDisk{}.LockDir(to) // a gateway that starts there would clear away what is not finished
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer lock.Close()
	for _, from := range dirs {
		name := filepath.Base(from)
		for try := 1; ; try++ {
			err := copyDataset(from, filepath.Join(to, name+tmpSuffix), progress)
			if err == nil {
				break
			}
			if errors.Is(err, errExpiring) && try < backupTries {
				continue
			}
			return fmt.Errorf("backup of dataset %s: %w; %s is not complete", name, diskError(err), to)
		}
		// Until here an opening takes it for one that was never finished.
		if err := os.Rename(filepath.Join(to, name+tmpSuffix), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return OSDisk{}.SyncDir(to)
}

// emptyDir makes a directory, or says that something is in it.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	names, err := OSDisk{}.List(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: %s is not empty; name a directory that is not there yet", fs.ErrExist, dir)
	}
	return err
}

// errExpiring: a segment went away while the dataset was copied.
var errExpiring = errors.New("its oldest records expire faster than they are copied; try again")

// copyDataset copies a dataset as of one commit, taken first: what it needs is in the other files by then, and stays.
func copyDataset(from, to string, progress func(BackupProgress)) error {
	disk := OSDisk{}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := disk.Mkdir(to); err != nil {
		return err
	}
	v, err := loadView(disk, from)
	if err != nil {
		return err
	}
	e := &syncEntry{epoch: v.epoch, clean: true, places: v.places}
	for i := range v.streams {
		e.counts = append(e.counts, streamCount{uint32(i), v.counts[i]})
	}
	if len(v.damage[logStreams]) > 0 {
		e.counts = nonZero(v.counts)
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		if _, ok := v.places[int(schema)]; !ok {
			continue
		}
		ranges, err := v.copyTape(schema, to, progress)
		if err != nil {
			return err
		}
		e.ranges = append(e.ranges, ranges...)
	}
	for i, log := range sideLogs {
		if e.logs[i], err = v.copySideLog(log.name, log.magic, i, to, progress); err != nil {
			return err
		}
	}
	if err := v.loadGaps(); err != nil {
		return err
	}
	for schema, first := range v.expired {
		if v.places[schema].tail < first {
			return errExpiring
		}
	}
	l, err := createSyncLog(disk, to, e)
	if err != nil {
		return err
	}
	return errors.Join(l.file.Close(), disk.SyncDir(to))
}

// copySideLog copies the whole frames of a side log. One that is hurt is copied as it is: whoever opens the copy finds what is found here.
func (v *view) copySideLog(name, magic string, log int, to string, progress func(BackupProgress)) (int64, error) {
	path := filepath.Join(v.dir, name)
	f, err := v.disk.Open(path, true)
	if isHurt(err) {
		return v.least(log), nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	c, err := readSideLog(f, path, magic, v.least(log))
	if isHurt(err) {
		return v.least(log), copyFile(path, filepath.Join(to, name))
	}
	if err != nil {
		return 0, err
	}
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	size = min(size, c.whole) // it is shorter when it was cut
	err = writeWhole(v.disk, filepath.Join(to, name), func(out File) error { return copyBytes(out, f, 0, size) })
	progress(BackupProgress{Dataset: v.name, File: name, Bytes: size})
	return c.size(), err
}

// copyTape links or copies a tape's segments, the oldest first as those may expire, and returns the sums of those that are not sealed.
func (v *view) copyTape(schema feed.Schema, to string, progress func(BackupProgress)) (ranges []syncRange, err error) {
	out := filepath.Join(to, schema.String())
	if err := v.disk.Mkdir(out); err != nil {
		return nil, err
	}
	ordinals, err := v.segments(schema)
	if err != nil {
		return nil, err
	}
	for _, ordinal := range ordinals {
		f, info, end, err := v.open(schema, ordinal)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errExpiring
		}
		if errors.Is(err, ErrCorrupt) { // as it is: whoever opens the copy finds what is found here
			err = v.linkSegment(schema, ordinal, out, progress)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if info.sealed {
			err = v.linkSegment(schema, ordinal, out, progress)
		} else {
			var sums []syncRange
			sums, err = v.copySegment(f, info, end, out)
			ranges = append(ranges, sums...)
			progress(BackupProgress{Dataset: v.name, File: fmt.Sprintf("%s/%08d%s", schema, ordinal, activeSuffix), Bytes: int64(end-info.base) * int64(info.recordSize)})
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return ranges, v.disk.SyncDir(out)
}

// linkSegment gives a sealed segment and its index a second name, or copies them where that cannot be.
func (v *view) linkSegment(schema feed.Schema, ordinal uint64, out string, progress func(BackupProgress)) error {
	for _, suffix := range []string{sealedSuffix, indexSuffix} {
		from := segmentPath(filepath.Join(v.dir, schema.String()), ordinal, suffix)
		to := segmentPath(out, ordinal, suffix)
		size, linked, err := linkOrCopy(from, to)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix == indexSuffix:
			continue // it is made again when it is needed
		case errors.Is(err, fs.ErrNotExist):
			// One that is not sealed, and whose header is damaged, is copied as it is.
			active := segmentPath(filepath.Join(v.dir, schema.String()), ordinal, activeSuffix)
			if err = copyFile(active, segmentPath(out, ordinal, activeSuffix)); errors.Is(err, fs.ErrNotExist) {
				return errExpiring
			}
			return err
		case err != nil:
			return err
		}
		progress(BackupProgress{Dataset: v.name, File: filepath.Join(schema.String(), filepath.Base(to)), Bytes: size, Linked: linked})
	}
	return nil
}

func linkOrCopy(from, to string) (size int64, linked bool, err error) {
	st, err := os.Stat(from)
	if err != nil {
		return 0, false, err
	}
	err = os.Link(from, to)
	if err == nil || !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EOPNOTSUPP) {
		return st.Size(), err == nil, err
	}
	return st.Size(), false, copyFile(from, to)
}

// copySegment copies the committed records of a segment that is not sealed into a file of its size. The sums are those that the sync log has; what it
// does not vouch for is summed up here.
func (v *view) copySegment(f File, info segmentInfo, end uint64, out string) (ranges []syncRange, err error) {
	region, err := info.headerRegion(tapeMetadata(v.name, info.schema))
	if err != nil {
		return nil, err
	}
	add := func(from, to uint64, crc uint32) {
		ranges = append(ranges, syncRange{schema: info.schema, ordinal: info.ordinal, from: from, to: to, crc: crc})
	}
	err = writeWhole(v.disk, segmentPath(out, info.ordinal, activeSuffix), func(to File) error {
		if _, err := to.WriteAt(region, 0); err != nil {
			return err
		}
		copied := func(a, b uint64) (crc uint32, err error) {
			at := info.header + int64(a-info.base)*int64(info.recordSize)
			err = eachChunk(f, info, a, b, func(b []byte) error {
				crc = updateCRC(crc, b)
				n, err := to.WriteAt(b, at)
				at += int64(n)
				return err
			})
			return crc, err
		}
		seq := info.base
		for _, c := range append(rangeChunks(v.entries, info, end), chunk{from: end, to: end}) {
			crc, err := copied(seq, c.from)
			if err == nil && seq < c.from {
				add(seq, c.from, crc)
			}
			if err == nil {
				_, err = copied(c.from, c.to)
			}
			if err != nil {
				return err
			}
			if c.from < c.to {
				add(c.from, c.to, c.crc)
			}
			seq = c.to
		}
		return to.Truncate(info.header + int64(info.records)*int64(info.recordSize))
	})
	return ranges, err
}
