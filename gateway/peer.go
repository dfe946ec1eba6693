package gateway

import (
	"errors"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// A peer can vanish without a word: its machine loses power, a firewall forgets
// the connection. Nothing tells the server. While nothing is on its way, the
// kernel asks (keepalive). While something is, the kernel alone would go on
// sending it again for a quarter of an hour, so the server looks by itself.
//
// TCP_USER_TIMEOUT is not for subscribers: it also ends the connection of one
// that is alive and has not read for that long, in a debugger or over a long
// computation. Its backlog is the tape, so it may take its time.

// keepAsking has the kernel ask an idle peer after half the timeout, often
// enough to know by its end.
func keepAsking(fd int, timeout time.Duration) {
	whole := int(timeout / time.Second)
	idle, interval := max(1, whole/2), max(1, whole/10)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, interval)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, max(1, (whole-idle)/interval))
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// dropUnanswered has the kernel end the connection when the peer leaves what is
// sent unanswered, or unread, for the timeout: for a peer that has to read.
func dropUnanswered(fd int, timeout time.Duration) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout/time.Millisecond))
}

// unanswered is how often the kernel must have sent the same in vain before a
// peer is taken for gone. One that is alive but does not read answers the
// question whether it has room again, though not each one.
const unanswered = 2

// vanished reports whether a peer is gone: it is owed bytes, and nothing came
// from it for the timeout though the kernel tried again.
func vanished(fd int, timeout time.Duration) bool {
	if owed, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err != nil || owed == 0 {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && time.Duration(info.Last_ack_recv)*time.Millisecond > timeout && max(info.Retransmits, info.Probes) >= unanswered
}

// forgetPeer drops what the kernel would go on sending after a close.
func forgetPeer(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// looksPerTimeout is how often in a PeerTimeout it is looked whether a peer is there.
const looksPerTimeout = 4

// vanished closes a session whose client is gone.
func (s *session) vanished(now time.Time) bool {
	if now.Before(s.lookAfter) {
		return false
	}
	timeout := s.loop.srv.limits.PeerTimeout
	s.lookAfter = now.Add(timeout / looksPerTimeout)
	if !vanished(s.fd, timeout) {
		return false
	}
	forgetPeer(s.fd)
	s.lost("peer", unix.ETIMEDOUT)
	return true
}

// lost closes a session whose connection failed.
func (s *session) lost(doing string, err error) {
	s.loop.srv.countVanished(err)
	s.close(doing + ": " + err.Error())
}

// countVanished counts an end by a peer that vanished.
func (s *Server) countVanished(err error) {
	if errors.Is(err, unix.ETIMEDOUT) {
		s.metrics.rejects("vanished").Inc()
	}
}

// watchProducers has the event loop look after its producers from time to time.
func (s *Server) watchProducers() {
	tick := time.NewTicker(s.limits.PeerTimeout / looksPerTimeout)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range s.producers.list() {
			p.look.Store(true)
			p.wake()
		}
	}
}

// vanished reports whether the producer is gone. It runs on the event loop: a
// descriptor that is looked at elsewhere may be another connection's by then.
func (p *producer) vanished() bool {
	fd := p.client.conn.Fd()
	if !vanished(fd, p.srv.limits.PeerTimeout) {
		return false
	}
	forgetPeer(fd)
	p.srv.countVanished(unix.ETIMEDOUT)
	return true
}

// strangersPerSecond bounds the log lines of one kind that clients without a
// key can cause, so that a flood of them does not fill the disk. Metrics count
// them all.
const strangersPerSecond = 20

func strangersLog(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, strangersPerSecond, 0)
	}))
}
