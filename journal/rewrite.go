package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"
)

// rewrite replaces the log by one that holds what collect emits in place of all entries up to the logical length that it returns: the present one, read
// under the lock by which the caller orders its appends. Appends go on meanwhile and are kept; readers in other processes find the old file or the new one, and
// both are whole.
//
// Neither kill -9 nor a power cut finds anything between the two. The new entries are on disk before the file gets the log's name, and its header says that
// everything below that length counts as whole, so that older entries of the sync log, which vouch for that much at most, still hold: no sync ends while
// this is at work. An error before the file has its name leaves the log as it is: ErrDiskFull, ErrLimit, or the disk's own.
func (l *sideLog) rewrite(collect func(emit func(payload []byte)) (size int64)) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	var content []byte
	if l.gone > 0 { // before all else: what was entered for the loss stands behind it
		content = appendScar(content, l.gone)
	}
	size := collect(func(payload []byte) { content = appendFrame(content, payload) })
	if err := l.keepLost(); err != nil {
		return err
	}
	return l.replace(content, size)
}

// upgrade brings a log of an earlier version to the present one, byte for byte, damage too.
func (l *sideLog) upgrade() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.upgradeFile()
}

// tryUpgrade is upgrade for one that holds the lock by which appends are ordered, which a rewrite asks for while it keeps others away.
func (l *sideLog) tryUpgrade() error {
	if !l.syncMu.TryLock() {
		return fmt.Errorf("%w: %s is of an earlier version and in use; it is tried again", ErrDiskFull, l.path)
	}
	defer l.syncMu.Unlock()
	return l.upgradeFile()
}

func (l *sideLog) upgradeFile() error {
	if !l.old.Load() {
		return nil
	}
	begin, size := l.head.bytes(), l.size.Load() // nothing is appended meanwhile
	content := make([]byte, l.head.physical(size)-begin)
	if n, err := l.file.ReadAt(content, begin); n < len(content) {
		return fmt.Errorf("read %s: %w", l.path, err)
	}
	if err := l.replace(content, size); err != nil {
		return err
	}
	for i := range l.lost {
		l.lost[i].from += l.head.bytes() - begin
		l.lost[i].to += l.head.bytes() - begin
	}
	return nil
}

// keepLost copies what is damaged to quarantine, before a file without it takes the place of this one.
func (l *sideLog) keepLost() error {
	for _, lost := range l.lost {
		if lost.isScar() {
			continue
		}
		b := make([]byte, lost.to-lost.from)
		n, _ := l.file.ReadAt(b, lost.from) // what the disk does not give back cannot be kept
		if allZero(b[:n]) {                 // by which a log that was cut was made as long as it was
			continue
		}
		if err := l.q.keep(l.path, lost.from, b[:n]); err != nil {
			return err
		}
	}
	l.lost = nil
	return nil
}

// replace makes the new file and gives it the log's name. The caller holds syncMu.
func (l *sideLog) replace(content []byte, size int64) error {
	head := sideHead{version: sideVersion, base: size, rewritten: int64(len(content))}
	if head.physical(size) > maxSideLog {
		return fmt.Errorf("%w: %s would have %d bytes, the bound is %d", ErrLimit, l.path, head.physical(size), maxSideLog)
	}
	tmp := l.path + tmpSuffix
	f, err := l.disk.Create(tmp)
	if err != nil {
		return diskError(fmt.Errorf("rewrite %s: %w", l.path, err))
	}
	if _, err = f.WriteAt(append(head.append(l.magic), content...), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.takeOver(f, head, tmp)
	}
	if err != nil {
		// Space is given back: on a full disk a half-written file would keep the disk full.
		return errors.Join(diskError(fmt.Errorf("rewrite %s: %w", l.path, err)), f.Close(), removeFile(l.disk, tmp))
	}
	if err := l.disk.SyncDir(filepath.Dir(l.path)); err != nil {
		l.failed = fmt.Errorf("rewrite %s: %w", l.path, err)
		return l.failed
	}
	l.synced.Store(size)
	return nil
}

// takeOver copies what was appended since, and from then on the new file is the log. None of that is vouched for yet, as no sync has ended since.
func (l *sideLog) takeOver(f File, head sideHead, tmp string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := make([]byte, l.size.Load()-head.base)
	if n, err := l.file.ReadAt(since, l.head.physical(head.base)); n < len(since) {
		return err
	}
	if _, err := f.WriteAt(since, head.physical(head.base)); err != nil {
		return err
	}
	if err := l.disk.Rename(tmp, l.path); err != nil {
		return err
	}
	if err := l.file.Close(); err != nil {
		l.q.log.Warn("the file that a side log had before it was written anew could not be closed", zap.Error(err))
	}
	l.file, l.head = f, head
	l.old.Store(false)
	return nil
}
