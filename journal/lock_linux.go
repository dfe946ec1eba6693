package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// osLock is a data directory that is taken: by a lock on the directory itself, which nobody can remove while others look for it there, and by one on a file
// in it, which older releases look at and which holds our pid. flock ends with the process, whatever way that ends, so no stale lock can keep a server from
// starting.
type osLock struct {
	path string
	dir  *os.File

	mu   sync.Mutex // every dataset asks
	file *os.File   // under mu
}

// Lock takes the directory first: a lock file may be gone.
func (OSDisk) Lock(path string) (Lock, error) {
	dir, err := lockDir(filepath.Dir(path), path)
	if err != nil {
		return nil, err
	}
	l := &osLock{path: path, dir: dir}
	if err := l.lockFile(); err != nil {
		dir.Close()
		return nil, err
	}
	return l, nil
}

// LockDir looks for no pid: who holds the directory may know it by another path.
func (OSDisk) LockDir(path string) (io.Closer, error) { return lockDir(path, "") }

// lockDir takes a directory; pid is the file with the pid of who holds it, "" for none.
func lockDir(path, pid string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flock(dir, pid); err != nil && !noLocks(err) {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// noLocks says that the filesystem, one of those that we do not vouch for, locks nothing of this kind: the lock file has to do.
func noLocks(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EBADF)
}

// Lock takes the inode, so that one who has the file under another name, of a hard link, is kept out too.
func (f *osFile) Lock() error {
	if err := flock(f.File, ""); err != nil && !noLocks(err) {
		return err
	}
	return nil
}

// lockPatience and lockTries are for one who only looks whether there is a lock, see Locked: that takes microseconds.
const (
	lockPatience = 10 * time.Millisecond
	lockTries    = 5
)

// Locked asks for shared locks and gives them back at once.
func (OSDisk) Locked(path string) (bool, error) {
	for _, name := range []string{filepath.Dir(path), path} {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) || isNoFile(err) {
			continue // nobody can have locked it
		}
		if err != nil {
			return false, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		f.Close() // and with it the lock ends
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true, nil
		}
	}
	return false, nil
}

// flock takes the lock on f, or says who holds it: pid is the file with the holder's.
func flock(f *os.File, pid string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for range lockTries {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPatience)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	holder := "another process"
	if number, err := os.ReadFile(pid); err == nil && len(bytes.TrimSpace(number)) > 0 {
		holder = "pid " + string(bytes.TrimSpace(number))
	}
	return fmt.Errorf("%w: %s is held by %s", ErrLocked, f.Name(), holder)
}

func (l *osLock) lockFile() error {
	f, err := l.openFile()
	if err != nil {
		return err
	}
	if err := flock(f, l.path); err != nil {
		f.Close()
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil && !isFull(err) { // the pid is a courtesy: a full disk must not keep a server from starting
		f.Close()
		return err
	}
	l.file = f
	return nil
}

// openFile opens the lock file, or says what to do about what stands in its place.
func (l *osLock) openFile() (*os.File, error) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, fileMode)
	if errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("%w; earlier releases let a dataset have this name: rename the directory, such as to %s-1, by which the dataset is served, or remove it when it is none", err, filepath.Base(l.path))
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s has mode %v", l.path, info.Mode())
		}
		if err == nil {
			return f, nil
		}
		f.Close()
	} else if info, odd := os.Lstat(l.path); odd != nil || info.Mode().IsRegular() {
		return nil, err // rights, or what the disk lacks
	}
	return nil, fmt.Errorf("%w: the lock file is no file that can be opened; nobody needs what stands there: remove it, and it is made anew", err)
}

func (l *osLock) Held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(int(l.file.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: l.path, Err: err}
	}
	if st.Nlink > 0 {
		return nil
	}
	removed := l.file
	if err := l.lockFile(); err != nil {
		return fmt.Errorf("the lock file was removed: %w", err)
	}
	return removed.Close()
}

func (l *osLock) Close() error { return errors.Join(l.file.Close(), l.dir.Close()) }
