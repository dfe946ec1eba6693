package gateway

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// unreadable reports whether an error of a read or a send says that the file does
// not give back what was stored in it: a broken disk, or a file that somebody cut.
func unreadable(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EFAULT) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// lookForCuts takes records out of service that a session's files do not hold any
// more, so that who connects again is told and served what lies behind them.
func (s *session) lookForCuts() {
	for _, c := range s.cursors {
		if c.seg != nil {
			c.seg.Shortened()
		}
	}
}
