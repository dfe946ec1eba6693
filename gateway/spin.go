package gateway

import (
	"context"
	"net"
	"os"
	"sync"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// spinner keeps the ingest loop awake: a connection of the loop to itself that
// has a byte to read whenever the loop looks. So the loop never waits for an
// event, and what a producer sends is seen within a microsecond or two instead of
// after the wake-up of a thread. It costs a core, from the first connection on.
type spinner struct {
	once  sync.Once
	other int // the end that the byte is written to; the loop has the other
}

// start gives the loop its spinner. It runs on the loop: from elsewhere one
// cannot know that the loop is there.
func (sp *spinner) start(s *Server, loop gnet.EventLoop) {
	sp.once.Do(func() {
		if err := sp.enroll(loop); err != nil {
			s.log.Error("the ingest loop does not spin", zap.Error(err))
		}
	})
}

func (sp *spinner) enroll(loop gnet.EventLoop) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	sp.other = pair[1]
	one := os.NewFile(uintptr(pair[0]), "spinner")
	defer one.Close()
	conn, err := net.FileConn(one)
	if err != nil {
		unix.Close(sp.other)
		return err
	}
	_, err = loop.Enroll(gnet.NewContext(context.Background(), sp), conn) // takes conn, and is done later
	return err
}

// again puts the next byte there.
func (sp *spinner) again() {
	var one [1]byte
	_, _ = unix.Write(sp.other, one[:])
}

// ended closes our end once the loop has closed its own.
func (sp *spinner) ended() { unix.Close(sp.other) }
