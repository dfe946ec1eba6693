package journal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// A sideLog is an append-only file of frames: symbols.log, streams.log, ledger.log, epochs.log, outliers.log. It grows by ordinary writes, so an append survives kill -9, and
// a power cut once a sync covered it. Lengths are logical, see sideHead.
type sideLog struct {
	disk  Disk
	q     *quarantine
	path  string
	magic string

	syncMu sync.Mutex // held while the file is synced, and while it is written anew; taken before mu
	failed error      // under syncMu: which file the name stands for after a power cut is not known

	mu     sync.Mutex
	file   File // changes with head, under both
	head   sideHead
	lost   []lostBytes // what an opening passed over
	losses []int       // entries before each of that
	gone   int64       // bytes of entries that are lost, by all that
	buf    []byte

	old    atomic.Bool           // of an earlier version: nothing is appended to it
	size   atomic.Int64          // of header and whole frames, logical
	synced atomic.Int64          // of those, on disk
	lacks  atomic.Int64          // bytes of the frame that the last append found no room for; 0: it did find room, or there is room now
	broken atomic.Pointer[error] // why the last append failed, if not for want of room
}

// openSideLog opens a log for appending. What follows its last whole frame (an append that a crash cut short) goes to quarantine. Damage before that is
// an error, or passed over when each entry means something without the others.
func openSideLog(disk Disk, path, magic string, q *quarantine, vouched int64, passOver bool) (*sideLog, [][]byte, error) {
	if err := removeFile(disk, path+tmpSuffix); err != nil { // a rewrite that did not come to its end
		return nil, nil, err
	}
	f, err := openOwn(disk, path)
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
	if err == nil && len(c.lost) > 0 {
		err = padTo(f, c.whole)
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
	l := &sideLog{disk: disk, q: q, path: path, magic: magic, file: f, head: c.head, lost: c.lost, losses: c.losses}
	for _, lost := range c.lost {
		l.gone += lost.bytes
	}
	l.old.Store(c.head.version < sideVersion)
	l.size.Store(c.size())
	return l, c.payloads, nil
}

// since is how many of the entries that an opening read lie before the last loss; 0 without one.
func (l *sideLog) since() int {
	if n := len(l.losses); n > 0 {
		return l.losses[n-1]
	}
	return 0
}

// padTo makes a log that was cut as long as it was, with zeros for what is lost: so it stays known that entries are, and where.
func padTo(f File, size int64) error {
	if have, err := f.Size(); err != nil || have >= size {
		return err
	}
	return f.Truncate(size)
}

// append writes one entry. After an error nothing was added: the next append writes over what may have reached the file.
// Errors: ErrLimit, ErrDiskFull (retry looks for room), or the disk's own.
func (l *sideLog) append(payload []byte) error {
	if l.old.Load() {
		if err := l.tryUpgrade(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	size := l.size.Load()
	at := l.head.physical(size)
	l.buf = appendFrame(l.buf[:0], payload)
	if len(payload) > maxFrame || at+int64(len(l.buf)) > maxSideLog {
		return fmt.Errorf("%w: %s would grow beyond %d bytes", ErrLimit, l.path, maxSideLog)
	}
	if err := isWhole(l.path, l.file, at); err != nil { // the entry would hide it
		return fmt.Errorf("%w: %w", ErrFault, remedied(err))
	}
	if _, err := l.file.WriteAt(l.buf, at); err != nil {
		err = fmt.Errorf("append to %s: %w", l.path, err)
		if isFull(err) {
			l.lacks.Store(int64(len(l.buf)))
		} else {
			broken := fmt.Errorf("%w: %w", ErrFault, err)
			l.broken.Store(&broken)
		}
		return diskError(err)
	}
	l.lacks.Store(0)
	l.broken.Store(nil)
	l.size.Store(size + int64(len(l.buf)))
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
	_, err := l.file.WriteAt(make([]byte, lacks), l.head.physical(l.size.Load()))
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

// bytes is how long the file is.
func (l *sideLog) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.physical(l.size.Load())
}

// sync forces the log to disk up to size, a value of l.size from before.
func (l *sideLog) sync(size int64) error {
	if l.synced.Load() >= size {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.failed != nil {
		return l.failed
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
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte
