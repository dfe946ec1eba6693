package gateway

import (
	"errors"
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/journal"
)

// A SendPath is a way for a run of records to get from the tape into a socket.
type SendPath string

// The send paths.
const (
	SendAuto     SendPath = "auto"     // by the size of the run and what is known of it: SendWrite, SendSendfile, SendSplice
	SendWrite    SendPath = "write"    // one copy, from the mapping into the socket
	SendSendfile SendPath = "sendfile" // no copy: the socket refers to the page cache
	SendSplice   SendPath = "splice"   // no copy: file > pipe > socket, a large pipe at a time
	SendCopy     SendPath = "copy"     // read into a buffer, write from it: the baseline of every claim
)

// ParseSendPath reads the name of a send path.
func ParseSendPath(s string) (SendPath, error) {
	switch p := SendPath(s); p {
	case SendAuto, SendWrite, SendSendfile, SendSplice, SendCopy:
		return p, nil
	case "":
		return SendAuto, nil
	}
	return "", fmt.Errorf("gateway: unknown send path %q; choose auto, write, sendfile, splice or copy", s)
}

const (
	// zeroCopyFrom is the run size in bytes from which auto takes sendfile: below
	// it the copy is cheaper than what sendfile does per call. Where the two cross,
	// and the next two, is measured: docs/benchmarks.md, by the size of a run.
	zeroCopyFrom = 8 << 10
	// spliceFrom is the run size in bytes from which auto takes splice: a large
	// pipe moves in one call what sendfile takes several rounds of 64 KiB for.
	spliceFrom = 64 << 10
	// copyBuffer is the buffer of the copy path.
	copyBuffer = 256 << 10
)

// sender moves runs into sockets. It belongs to one loop.
type sender struct {
	path   SendPath
	buffer []byte // copy path, and write of segments that are not mapped
	pipe   *pipe  // splice path

	sends map[string]*pathCounters
}

type pathCounters struct{ calls, bytes *metrics.Counter }

func newSender(path SendPath, m *serverMetrics) (*sender, error) {
	s := &sender{path: path, buffer: make([]byte, copyBuffer), sends: map[string]*pathCounters{}}
	for _, name := range []string{pathWrite, pathSendfile, pathSplice, pathCopy, pathGather} {
		s.sends[name] = &pathCounters{calls: m.sendCalls(name), bytes: m.sendBytes(name)}
	}
	var err error
	s.pipe, err = newPipe()
	return s, err
}

func (s *sender) close() { s.pipe.close() }

// What a session's data last took, as metrics and the session list name it.
const (
	pathWrite    = "write"
	pathSendfile = "sendfile"
	pathSplice   = "splice"
	pathCopy     = "copy"
	pathGather   = "gather" // filtered, merged or stamped records, written from the staging buffer
)

// choose is the path of a run of n bytes; warm says that it was stored just now
// and that its reader is on this machine. Such bytes lie in the processor's cache:
// a copy costs little, and hands the reader warm bytes where zero copy would leave
// it the misses. A reader elsewhere is served by the network card.
func (s *sender) choose(n int, mapped, warm bool) string {
	switch {
	case s.path == SendCopy, s.path == SendWrite && !mapped:
		return pathCopy
	case s.path == SendWrite, s.path == SendAuto && mapped && (warm || n < zeroCopyFrom):
		return pathWrite
	case s.path == SendSplice, s.path == SendAuto && n >= spliceFrom:
		return pathSplice
	}
	return pathSendfile
}

// run sends bytes [skip, n) of the records from seq on, which lie in seg. It
// returns how many bytes the socket took, the path they went, and EAGAIN when
// the socket is full, perhaps after it took some. For warm see choose.
func (s *sender) run(fd int, seg *journal.Segment, seq, end uint64, skip, n int, warm bool) (sent int, path string, err error) {
	mapped := seg.Mapped(seq, end)
	offset := seg.Offset(seq) + int64(skip)
	switch path = s.choose(n-skip, mapped != nil, warm); path {
	case pathCopy:
		sent, err = s.copy(fd, seg, offset, n-skip)
	case pathWrite:
		sent, err = retry(func() (int, error) { return unix.Write(fd, mapped[skip:n]) })
	case pathSendfile:
		sent, err = retry(func() (int, error) { return unix.Sendfile(fd, seg.Fd(), &offset, n-skip) })
	case pathSplice:
		sent, err = s.pipe.send(fd, seg.Fd(), offset, n-skip)
	}
	if sent = max(sent, 0); sent > 0 {
		s.count(path, sent)
	} else if err == nil && n > skip {
		err = fmt.Errorf("gateway: the segment file ends before record %d: %w", seq, io.ErrUnexpectedEOF) // somebody cut it
	}
	return sent, path, err
}

func (s *sender) count(path string, n int) {
	c := s.sends[path]
	c.calls.Inc()
	c.bytes.Add(n)
}

// copy is the path without zero copy: disk or page cache to a buffer of ours,
// buffer to socket.
func (s *sender) copy(fd int, seg *journal.Segment, offset int64, n int) (int, error) {
	b := s.buffer[:min(n, len(s.buffer))]
	if _, err := seg.ReadAt(b, offset); err != nil {
		return 0, err
	}
	return retry(func() (int, error) { return unix.Write(fd, b) })
}

// staged writes bytes from the staging buffer.
func (s *sender) staged(fd int, b []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Write(fd, b) })
	if n = max(n, 0); n > 0 {
		s.count(pathGather, n)
	}
	return n, err
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// quickAck has the kernel acknowledge at once: C++ clients send their lines as
// separate small writes and would otherwise wait 40 ms for a delayed ACK.
// The kernel resets the option, so it is set again after each read.
func quickAck(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
