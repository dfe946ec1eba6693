package journal

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Held asks for a shared lock and gives it back at once. Who wants the lock for good at that very moment tries again, see lockPatience.
func (OSDisk) Held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() // and with it the lock ends
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// lockPatience and lockTries are for one who only looks whether the lock is held: that takes microseconds.
const (
	lockPatience = 10 * time.Millisecond
	lockTries    = 5
)

// flock takes the lock for good.
func flock(f *os.File) (err error) {
	for range lockTries {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(lockPatience)
	}
	return err
}
