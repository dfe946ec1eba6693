package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// A sideLog is an append-only file of frames: symbols.log, streams.log, ledger.log, epochs.log, outliers.log.
// Header: 8 bytes of magic, u32 format version, u32 zero. It grows by ordinary writes, so an append survives kill -9, and a power cut once a sync covered it.
type sideLog struct {
	mu     sync.Mutex
	file   File
	path   string
	buf    []byte
	size   atomic.Int64 // bytes of header and whole frames
	synced atomic.Int64 // of those, on disk
	lacks  atomic.Int64 // bytes of the frame that the last append found no room for; 0: it did find room, or there is room now
}

const (
	sideHeader  = 16
	sideVersion = 1

	symbolsMagic  = "TWSYMBOL"
	streamsMagic  = "TWSTREAM"
	ledgerMagic   = "TWLEDGER"
	epochsMagic   = "TWEPOCHS"
	outliersMagic = "TWOUTLIE"
)

// sideLogs is all of them, in the order in which an entry of the sync log has their lengths.
var sideLogs = []struct{ name, magic string }{
	{symbolsName, symbolsMagic}, {streamsName, streamsMagic}, {ledgerName, ledgerMagic}, {epochsName, epochsMagic},
	{outliersName, outliersMagic},
}

// createSideLog makes an empty log and forces it to disk.
func createSideLog(disk Disk, path, magic string) error {
	f, err := disk.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := append(make([]byte, 0, sideHeader), magic...)
	b = binary.LittleEndian.AppendUint32(b, sideVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// Where each log's length stands in an entry of the sync log.
const (
	logSymbols = iota
	logStreams
	logLedger
	logEpochs
	logOutliers
	numSideLogs
)

// sideContents is what a side log holds.
type sideContents struct {
	payloads [][]byte
	whole    int64  // bytes up to the end of the last whole frame
	rest     []byte // what follows
	lost     []lostBytes
}

// lostBytes is a part of a file that was on disk once and is no frame any more.
type lostBytes struct{ from, to int64 }

// readSideLog reads a log. Up to vouched, a length that the sync log names, each byte belonged to a frame: what is none there is damage, and reading
// goes on behind it. Beyond, the first thing that is no frame is the end.
func readSideLog(f File, path, magic string, vouched int64) (c sideContents, err error) {
	size, err := f.Size()
	if err != nil {
		return c, err
	}
	if size > maxSideLog {
		return c, fmt.Errorf("%w: %s is %d bytes, the bound is %d", ErrLimit, path, size, maxSideLog)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	if err := checkLogHeader(b, path, magic, sideVersion); err != nil {
		return c, err
	}
	for at := int64(sideHeader); ; {
		for p, ok := nextFrame(b[at:]); ok; p, ok = nextFrame(b[at:]) {
			c.payloads = append(c.payloads, p)
			at += frameHeader + int64(len(p))
		}
		c.whole, c.rest = at, b[at:]
		if at >= vouched {
			return c, nil
		}
		next := nextWhole(b, at+1, vouched)
		c.lost = append(c.lost, lostBytes{at, next})
		if next == vouched {
			return c, nil
		}
		at = next
	}
}

// nextWhole is where the first whole frame from at on begins; end when there is none before it.
func nextWhole(b []byte, at, end int64) int64 {
	for ; at < min(end, int64(len(b))); at++ {
		if _, ok := nextFrame(b[at:]); ok {
			return at
		}
	}
	return end
}

// openSideLog opens a log for appending. What follows its last whole frame (an append that a crash cut short) goes to quarantine. Damage before that is
// an error, or passed over when each entry means something without the others.
func openSideLog(disk Disk, path, magic string, q *quarantine, vouched int64, passOver bool) (*sideLog, [][]byte, error) {
	f, err := disk.Open(path, false)
	if err != nil {
		return nil, nil, err
	}
	c, err := readSideLog(f, path, magic, vouched)
	for _, lost := range c.lost {
		if err = lost.of(path); !passOver {
			break
		}
		q.log.Error("entries of a side log are lost; all others are used, and the file stays as it is up to the last of them", zap.Error(err))
		err = nil
	}
	if err == nil && len(c.rest) > 0 {
		if !allZero(c.rest) {
			q.log.Warn("side log ends in a torn entry, which was never acknowledged; cut", zap.String("file", path), zap.Int("bytes", len(c.rest)))
			err = q.keep(path, c.whole, c.rest)
		}
		if err == nil {
			err = f.Truncate(c.whole)
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	l := &sideLog{file: f, path: path}
	l.size.Store(c.whole)
	return l, c.payloads, nil
}

func (l lostBytes) of(path string) error {
	return fmt.Errorf("%w: bytes %d to %d of %s are no entries any more", ErrCorrupt, l.from, l.to, path)
}

// append writes one entry. After an error nothing was added: the next append writes over what may have reached the file.
// Errors: ErrLimit, ErrDiskFull (retry looks for room), or the disk's own.
func (l *sideLog) append(payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.size.Load()
	l.buf = appendFrame(l.buf[:0], payload)
	if len(payload) > maxFrame || at+int64(len(l.buf)) > maxSideLog {
		return fmt.Errorf("%w: %s would grow beyond %d bytes", ErrLimit, l.path, maxSideLog)
	}
	if _, err := l.file.WriteAt(l.buf, at); err != nil {
		if isFull(err) {
			l.lacks.Store(int64(len(l.buf)))
		}
		return diskError(fmt.Errorf("append to %s: %w", l.path, err))
	}
	l.lacks.Store(0)
	l.size.Store(at + int64(len(l.buf)))
	return nil
}

// retry makes sure of the room that the last append did not find, by writing zeros there: they are no frame, the next append writes over them, and an
// opening cuts them off. So whoever is told that there is room again does not find it gone.
func (l *sideLog) retry() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	lacks := l.lacks.Load()
	if lacks == 0 {
		return nil
	}
	_, err := l.file.WriteAt(make([]byte, lacks), l.size.Load())
	if isFull(err) {
		return err
	}
	l.lacks.Store(0) // any other error is for the next append to find
	return nil
}

// full is nil, or the state of a log whose last entry found no room.
func (l *sideLog) full() error {
	if l.lacks.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%w: no room for the next entry of %s; free space or move the journal, writing goes on by itself", ErrDiskFull, l.path)
}

// sync forces the log to disk up to size, a value of l.size from before.
func (l *sideLog) sync(size int64) error {
	if l.synced.Load() >= size {
		return nil
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", l.path, err)
	}
	l.synced.Store(size)
	return nil
}

// appendSide adds an entry to a side log on behalf of w, nil for none. When there is no room, the preparer looks for it from now on.
func (d *Dataset) appendSide(w *Writer, l *sideLog, payload []byte) error {
	known := l.full() != nil
	err := l.append(payload)
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	if !known {
		d.log.Warn("side log is full", zap.Error(err))
	}
	if w != nil {
		d.mu.Lock()
		w.lackingLog = l
		d.mu.Unlock()
	}
	d.preparer.kick()
	return err
}

// retrySideLogs looks for room for the entries that side logs had none for. It wakes those in Wait also when it finds nothing to do: an append that
// found room does not.
func (d *Dataset) retrySideLogs() (again bool) {
	for _, l := range d.sideLogs() {
		if l.full() == nil {
			continue
		}
		if l.retry() != nil {
			again = true
			continue
		}
		d.log.Info("side log has room again", zap.String("file", l.path))
	}
	d.mu.Lock()
	d.announce()
	d.mu.Unlock()
	return again
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
