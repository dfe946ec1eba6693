package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// held is a listener that outlives the servers, as a service manager keeps one.
func held(t testing.TB) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

// passOn is what a process gets of a listener: a descriptor of its own.
func passOn(t testing.TB, ln *net.TCPListener) *net.TCPListener {
	t.Helper()
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copied, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return copied.(*net.TCPListener)
}

// inheriting has a gateway serve a listener that somebody holds.
func inheriting(t testing.TB, ln *net.TCPListener) func(*Config) {
	return func(c *Config) { c.Listener = passOn(t, ln) }
}

// Who comes by an inherited listener is served like anybody else: known by its
// own address, with the socket's options, also when the loop spins.
func TestInheritedListenerServesLikeAnyOther(t *testing.T) {
	for _, spin := range []bool{false, true} {
		t.Run(fmt.Sprintf("spin %v", spin), func(t *testing.T) { servesLikeAnyOther(t, spin) })
	}
}

func servesLikeAnyOther(t *testing.T, spin bool) {
	leavesNothing(t)
	ln := held(t)
	s := serveTest(t, inheriting(t, ln), func(c *Config) { c.Spin = spin })
	if got, want := s.Addr().String(), ln.Addr().String(); got != want {
		t.Fatalf("the server says that it listens on %s, want %s", got, want)
	}
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	bot := startedRaw(t, s)
	all := trades(1, 5000)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), all...)
	if got := takeData(t, sub, len(all)); !bytes.Equal(got, bytes.Join(all, nil)) {
		t.Error("the records that came are not those that were published")
	}
	if _, ok := s.viewOf(bot); !ok {
		t.Errorf("no session comes from %s: %+v", bot.conn.LocalAddr(), s.Sessions())
	}
	want := map[string]int{"nodelay": 1, "keepalive": 1, "idle": int(s.limits.PeerTimeout / time.Second / 2)}
	for _, fd := range descriptors(s) {
		for name, opt := range map[string][2]int{
			"nodelay": {unix.IPPROTO_TCP, unix.TCP_NODELAY}, "keepalive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "idle": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		} {
			if got, err := unix.GetsockoptInt(fd, opt[0], opt[1]); err != nil || got != want[name] {
				t.Errorf("%s is %d, %v on a session's socket, want %d", name, got, err, want[name])
			}
		}
	}
}

// descriptors are those of the sessions on the hot lane.
func descriptors(s *Server) (fds []int) {
	done := make(chan struct{})
	s.loops[0].post(func() {
		for _, sess := range s.loops[0].sessions {
			if sess != nil {
				fds = append(fds, sess.fd)
			}
		}
		close(done)
	})
	<-done
	return fds
}

// The cap holds however many wait at once, and a place that is given back is
// taken by the next.
func TestCapHoldsBehindAnInheritedListener(t *testing.T) {
	leavesNothing(t)
	const most, beyond = 16, 50
	s := serveTest(t, inheriting(t, held(t)), func(c *Config) { c.Limits.Connections = most })
	var in []*rawClient
	refused := 0
	for range most + beyond {
		c := dialRaw(t, s)
		c.line()
		c.line()
		if len(in) < most {
			in = append(in, c)
			continue
		}
		if got := c.rest(); !strings.Contains(got, "connection limit of this gateway reached (16)") {
			t.Fatalf("beyond the cap one is told %q", got)
		}
		refused++
	}
	if refused != beyond || s.rejected("connection_limit") != beyond {
		t.Errorf("%d are refused and %d are counted, want %d", refused, s.rejected("connection_limit"), beyond)
	}
	in[0].conn.Close()
	eventually(t, "its place is free", func() bool { return s.sockets.Load() < most })
	if got := dialRaw(t, s).auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
		t.Errorf("who comes when there is room again is told %q", got)
	}
}

// A server that stops closes its own descriptor and nothing else: who connects
// from then on waits in the queue, during the drain too, and is the successor's.
func TestShutdownLeavesTheQueueToTheSuccessor(t *testing.T) {
	g, secure := securedBy(t)
	ln, secureLn := held(t), held(t)
	both := func(c *Config) {
		secure(c)
		c.Listener, c.TLS.Listener = passOn(t, ln), passOn(t, secureLn)
	}
	s := serveTest(t, both, func(c *Config) { c.Limits.Drain, c.Limits.Linger = patience, patience })
	slow := startedRaw(t, s)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 200_000)...)
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	eventually(t, "it stops", s.stopping.Load)
	g.Server = s
	waiting := []*rawClient{dialRaw(t, s), dialRaw(t, s)}
	byTLS, _ := g.raw()
	slow.conn.Close()
	if err := <-down; err != nil {
		t.Fatal(err)
	}
	last := dialRaw(t, s) // while nobody serves
	for _, c := range append(waiting, last) {
		_ = c.conn.SetReadDeadline(time.Now()) // what was sent would be here
		if b, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("who waits reads %q, %v, want nothing yet", b, err)
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	}
	serveTest(t, both)
	for _, c := range append(waiting, last, byTLS) {
		c.r.Reset(c.conn) // the deadline's error is kept there
		if got := c.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
			t.Errorf("who has waited is told %q", got)
		}
	}
}

// Who was accepted just before a shutdown gets its session and is told then that
// it ends, so that it comes again; a refusal would be the last word.
func TestWhoIsOnItsWayAtAShutdownIsToldInItsSession(t *testing.T) {
	leavesNothing(t)
	s := serveTest(t, inheriting(t, held(t)), func(c *Config) { c.Limits.Arrival, c.Limits.Drain = patience, patience })
	accepted, authenticated, publishing := dialRaw(t, s), dialRaw(t, s), dialRaw(t, s)
	for _, c := range []*rawClient{accepted, publishing} {
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	authenticated.auth(testKey, "dataset="+testDataset)
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	eventually(t, "it accepts nobody any more", func() bool {
		select {
		case <-s.inherited.ended:
			return true
		default:
			return false
		}
	})
	publishing.produce("1")
	accepted.auth(testKey, "dataset="+testDataset)
	for _, c := range []*rawClient{accepted, authenticated} {
		c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	}
	for _, c := range []*rawClient{accepted, authenticated} {
		if got := c.rest(); !strings.Contains(got, shutdownText) {
			t.Errorf("it is told %q", got)
		}
		c.conn.Close()
	}
	if got := publishing.rest(); !strings.Contains(got, "error=shutdown|retry=later") {
		t.Errorf("the producer is told %q", got)
	}
	publishing.conn.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// Who says nothing delays a shutdown by Limits.Arrival, not longer, and is turned
// away in order when it speaks at last.
func TestASilentConnectionDoesNotHoldAShutdown(t *testing.T) {
	leavesNothing(t)
	s := serveTest(t, inheriting(t, held(t)), func(c *Config) {
		c.Limits.Arrival, c.Limits.Drain, c.Limits.Linger = 50*time.Millisecond, patience, patience
	})
	slow := startedRaw(t, s)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 200_000)...)
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	silent, speaks := dialRaw(t, s), dialRaw(t, s)
	for _, c := range []*rawClient{silent, speaks} {
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	eventually(t, "it stops", s.stopping.Load)
	if got := speaks.auth(testKey, producerFields(testDataset, "late", "1")); !strings.HasPrefix(got, "error=shutdown|retry=later") {
		t.Errorf("who speaks during the drain is told %q", got)
	}
	slow.conn.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
	if n := s.arriving.Load(); n != 0 {
		t.Errorf("%d are still on their way", n)
	}
}

// failing is a listener that cannot accept for a while.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// That there is no free descriptor passes. It must not end the server, nor lose
// those who wait.
func TestFailureToAcceptPasses(t *testing.T) {
	s := serveTest(t, inheriting(t, held(t)))
	before := footprintOf(t, s, 0)
	ln := &failing{Listener: held(t)}
	ln.left.Store(3)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := s.accept(ln, 1, s.enter)
	defer a.finish()
	c := rawOn(t, conn)
	if got := c.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
		t.Errorf("who waited is told %q", got)
	}
	conn.Close()
	if got := dialRaw(t, s).auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
		t.Errorf("who comes by the other listener is told %q", got)
	}
	eventually(t, "it is gone", func() bool { return s.sockets.Load() == before.sockets+1 })
}

// The socket that gnet must have is nowhere to be found, and its directory may
// have a name too long for one.
func TestTheEventLoopsOwnSocketIsHidden(t *testing.T) {
	leavesNothing(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep", 30))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	s := serveTest(t, inheriting(t, held(t)))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("TMPDIR holds %v, %v while the gateway serves", left, err)
	}
	sdkSubscribe(t, s)
	t.Setenv("TMPDIR", filepath.Join(dir, "nowhere"))
	failed, err := New(s.journal, Config{Listener: passOn(t, held(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer failed.cfg.Listener.Close()
	if err := failed.Start(); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("without a directory for it: %v, want TMPDIR named", err)
	}
}

// An inherited address is not the operator's flag, and no less public.
func TestOpenModeRefusesAPublicInheritedListener(t *testing.T) {
	public, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer public.Close()
	ln := public.(*net.TCPListener)
	for _, cfg := range []Config{{Listener: ln}, {TLS: TLSOptions{Listener: ln}}} {
		if _, err := New(nil, cfg); !errors.Is(err, ErrOpenMode) || !strings.Contains(err.Error(), ln.Addr().String()) {
			t.Errorf("%v, want %v and the address", err, ErrOpenMode)
		}
	}
}
