package floor

import (
	"os"

	"golang.org/x/sys/unix"
)

// Receive maps a file, faults all of it in unless lazy, accepts one producer and
// receives size bytes straight into the mapping. It answers with one byte when it
// has all. A lazy one makes each page when the first byte comes for it.
func Receive(path string, size int, lazy bool) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if !lazy {
		if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil {
			return err
		}
	}
	l, err := Listen()
	if err != nil {
		return err
	}
	producer, err := Accept(l)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(producer, false); err != nil {
		return err
	}
	Bare()
	for at := 0; at < size; {
		n, err := read(producer, b[at:min(size, at+relayBuffer)])
		if err != nil && err != unix.EINTR {
			return err
		}
		if n == 0 && err == nil {
			break
		}
		at += max(n, 0)
	}
	_, err = write(producer, []byte{'.'})
	return err
}
