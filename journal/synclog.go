package journal

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"github.com/tapewire/tapewire/feed"
)

// sync.log is what a power cut leaves behind. Header: 8 bytes of magic, u32 format version, u32 CRC32C of these 12 (version 1: zero); then frames in preallocated space. Each entry covers
// the whole dataset, and is written only after everything it speaks of is on disk. The first entry is a checkpoint: it carries every stream's count.
const (
	syncLogName    = "sync.log"
	syncLogMagic   = "TWSYNCLG"
	syncLogVersion = 2
	flagCheckpoint = 1
	flagClean      = 2
)

type syncEntry struct {
	epoch      uint64
	checkpoint bool
	clean      bool // the journal was closed after it: nothing was committed since
	places     map[int]place
	ranges     []syncRange
	counts     []streamCount
	logs       [numSideLogs]int64 // bytes of symbols, streams, ledger, epochs and outliers log

	sums map[int]fresh // while syncing: what the state page said of each tape when places was taken
}

// syncRange vouches for the bytes of records [from, to) of one segment.
type syncRange struct {
	schema   feed.Schema
	ordinal  uint64
	from, to uint64
	crc      uint32
	segment  *Segment // while syncing
	apart    bool     // in memory: nothing is joined to it
}

type streamCount struct {
	stream uint32
	count  uint64
}

func (e *syncEntry) append(dst []byte) []byte {
	le := binary.LittleEndian
	var flags uint32
	if e.checkpoint {
		flags |= flagCheckpoint
	}
	if e.clean {
		flags |= flagClean
	}
	dst = le.AppendUint32(dst, flags)
	dst = le.AppendUint64(dst, e.epoch)
	for _, n := range e.logs[:logOutliers] {
		dst = le.AppendUint64(dst, uint64(n))
	}
	dst = le.AppendUint32(dst, uint32(len(e.places)))
	for s := range MaxTapes {
		if p, ok := e.places[s]; ok {
			dst = le.AppendUint32(dst, uint32(s))
			dst = le.AppendUint64(dst, p.ordinal)
			dst = le.AppendUint64(dst, p.base)
			dst = le.AppendUint64(dst, p.tail)
		}
	}
	dst = le.AppendUint32(dst, uint32(len(e.ranges)))
	for _, r := range e.ranges {
		dst = le.AppendUint32(dst, uint32(r.schema))
		dst = le.AppendUint64(dst, r.ordinal)
		dst = le.AppendUint64(dst, r.from)
		dst = le.AppendUint64(dst, r.to)
		dst = le.AppendUint32(dst, r.crc)
	}
	dst = le.AppendUint32(dst, uint32(len(e.counts)))
	for _, c := range e.counts {
		dst = le.AppendUint32(dst, c.stream)
		dst = le.AppendUint64(dst, c.count)
	}
	return le.AppendUint64(dst, uint64(e.logs[logOutliers]))
}

// parseSyncEntry trusts nothing but the CRC that the frame has passed: numbers out of their bounds are damage.
func parseSyncEntry(b []byte) (*syncEntry, error) {
	f := fields{b: b}
	flags := f.u32()
	e := &syncEntry{epoch: f.u64(), checkpoint: flags&flagCheckpoint != 0, clean: flags&flagClean != 0, places: map[int]place{}}
	for i := range logOutliers {
		e.logs[i] = int64(f.u64())
	}
	ok := true
	for n := f.u32(); n > 0 && !f.bad; n-- {
		s := f.u32()
		p := place{f.u64(), f.u64(), f.u64()}
		ok = ok && s < feed.NumSchemas && p.base <= p.tail
		e.places[int(s)] = p
	}
	for n := f.u32(); n > 0 && !f.bad; n-- {
		r := syncRange{schema: feed.Schema(f.u32()), ordinal: f.u64(), from: f.u64(), to: f.u64(), crc: f.u32()}
		ok = ok && r.schema.Valid() && r.from <= r.to
		e.ranges = append(e.ranges, r)
	}
	for n := f.u32(); n > 0 && !f.bad; n-- {
		c := streamCount{f.u32(), f.u64()}
		ok = ok && c.stream < MaxStreams
		e.counts = append(e.counts, c)
	}
	if len(f.b) > 0 { // else of version 1
		e.logs[logOutliers] = int64(f.u64())
	}
	if !ok || !f.done() {
		return nil, fmt.Errorf("%w: entry of %s", ErrCorrupt, syncLogName)
	}
	return e, nil
}

// syncLog is the open log.
type syncLog struct {
	file File
	size int64         // bytes of the file, all allocated
	end  int64         // of the last entry
	span int64         // bytes of records that entries after the checkpoint vouch for
	from map[int]place // of its checkpoint: no recovery goes back behind it
	due  bool          // the next sync begins a fresh log
	buf  []byte
}

// createSyncLog replaces the log by one that begins with e as its checkpoint: in one step, and on disk when it returns.
func createSyncLog(disk Disk, dir string, e *syncEntry) (*syncLog, error) {
	e.checkpoint = true
	b := append(make([]byte, 0, sideHeader), syncLogMagic...)
	b = binary.LittleEndian.AppendUint32(b, syncLogVersion)
	b = binary.LittleEndian.AppendUint32(b, crc32c(b))
	b = appendFrame(b, e.append(nil))
	l := &syncLog{size: max(syncLogBytes, roundUp(2*int64(len(b)), headerUnit)), end: int64(len(b)), from: e.places}
	path := filepath.Join(dir, syncLogName)
	err := writeWhole(disk, path, func(f File) error {
		if err := f.Allocate(l.size); err != nil {
			return err
		}
		_, err := f.WriteAt(b, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.file, err = disk.Open(path, false)
	return l, err
}

// fits says whether the entry can be added, or a fresh log is due.
func (l *syncLog) fits(entry []byte, span int64) bool {
	return !l.due && l.end+frameHeader+int64(len(entry)) <= l.size && l.span+span <= syncLogSpan
}

// append adds an entry and forces it to disk.
func (l *syncLog) append(entry []byte, span int64) error {
	l.buf = appendFrame(l.buf[:0], entry)
	if _, err := l.file.WriteAt(l.buf, l.end); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.end += int64(len(l.buf))
	l.span += span
	return nil
}

// readSyncLog reads the entries up to the first that is not whole, and where that one would begin. The first entry is a checkpoint.
func readSyncLog(disk Disk, dir string) (list []*syncEntry, end int64, err error) {
	path := filepath.Join(dir, syncLogName)
	f, err := disk.Open(path, true)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	if size > maxSyncLog {
		return nil, 0, fmt.Errorf("%w: %s is %d bytes", ErrCorrupt, path, size)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, 0, fmt.Errorf("read %s: %w", path, err)
	}
	if err := checkLogHeader(b, path, syncLogMagic, syncLogVersion); err != nil {
		return nil, 0, err
	}
	for end = sideHeader; ; {
		p, ok := nextFrame(b[end:])
		if !ok {
			break
		}
		e, err := parseSyncEntry(p)
		if err != nil {
			break
		}
		list = append(list, e)
		end += frameHeader + int64(len(p))
	}
	if len(list) == 0 || !list[0].checkpoint {
		return nil, 0, fmt.Errorf("%w: %s has no checkpoint", ErrCorrupt, path)
	}
	return list, end, nil
}

// reopenSyncLog goes on with the log that is there, behind its last whole entry: for an opening on a disk too full for a fresh one.
func reopenSyncLog(disk Disk, dir string, end int64, from map[int]place, e *syncEntry) (*syncLog, error) {
	f, err := disk.Open(filepath.Join(dir, syncLogName), false)
	if err != nil {
		return nil, err
	}
	l := &syncLog{file: f, end: end, span: syncLogSpan, from: from} // the next sync with records asks for a fresh one
	shared, err := isShared(f)
	if err == nil {
		l.size, err = f.Size()
	}
	if err == nil {
		b := e.append(nil)
		if shared {
			err = fmt.Errorf("%w: %s has another name too, of a hard link, and there is no room for a file of its own", ErrDiskFull, syncLogName)
		} else if !l.fits(b, 0) {
			err = fmt.Errorf("%w: %s is full", ErrDiskFull, syncLogName)
		} else {
			err = l.append(b, 0)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}
