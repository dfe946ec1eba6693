package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// TLSOptions says where the gateway speaks TLS, and as whom. The zero value is
// no TLS.
type TLSOptions struct {
	Listen       string           // address; "" is no TLS
	Listener     *net.TCPListener // takes the place of Listen; see Config.Listener
	CertFile     string           // PEM: the certificate, then what it was signed with
	KeyFile      string           // PEM: its key
	ClientCAFile string           // PEM: clients must show a certificate that one of these signed; "" asks for none
}

// tlsSide is what a server has for clients that speak TLS.
type tlsSide struct {
	certs *certificates // nil without TLS, and so is tls
	tls   *tlsListener
}

// newTLSSide checks a configuration and reads the certificates. It opens nothing.
func newTLSSide(cfg Config) (tlsSide, error) {
	if cfg.TLS.Listen != "" {
		if err := checkAddress(cfg.TLS.Listen); err != nil {
			return tlsSide{}, err
		}
		if cfg.Keys == nil && !localOnly(cfg.TLS.Listen) {
			return tlsSide{}, fmt.Errorf("%w, by TLS too, and %s is not: make keys (tapewire key new --keys keys.toml NAME) and pass --keys keys.toml", ErrOpenMode, cfg.TLS.Listen)
		}
	}
	certs, err := loadCertificates(cfg.TLS, cfg.Logger)
	return tlsSide{certs: certs}, err
}

// tlsListener accepts those who speak TLS and brings them to the event loop.
//
// The loop reads and the egress loops send plain bytes, from the page cache
// where they can, and TLS in user space can do neither. So a connection that
// speaks TLS is a tunnel: a goroutine for each direction between the TLS socket
// and one end of a socket pair, whose other end the event loop takes as if it
// had accepted it. Authentication, limits, back-pressure and slow readers stay
// in one place. Dialling our own port instead would take ports, and a table to
// find the peer's address again; here it travels with the descriptor.
type tlsListener struct {
	*acceptor // with a slot for each handshake, of Limits.Handshakes
	srv       *Server
	certs     *certificates

	shaking context.Context // ends when handshakes must
	give    context.CancelFunc

	cutting context.Context // ends when tunnels must
	cut     context.CancelFunc
	tunnels sync.WaitGroup
	open    atomic.Int64 // tunnels
}

// listenTLS begins to listen; peers are let in once the event loop runs.
func (s *Server) listenTLS() error {
	if s.certs == nil {
		return nil
	}
	ln, err := s.cfg.TLS.listen()
	if err != nil {
		return err
	}
	l := &tlsListener{srv: s, certs: s.certs}
	l.shaking, l.give = context.WithCancel(s.ctx)
	l.cutting, l.cut = context.WithCancel(context.Background())
	l.acceptor = s.accept(ln, s.limits.Handshakes, l.enter)
	s.tls = l
	s.metrics.watchTLS(l)
	return nil
}

func (o *TLSOptions) listen() (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	ln, err := net.Listen("tcp", o.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w: %s; stop the other server or choose another --tls-listen", ErrAddressInUse, o.Listen)
	case err != nil:
		return nil, fmt.Errorf("gateway: listen for TLS on %s: %w", o.Listen, err)
	}
	return ln, nil
}

// TLSAddr is where the server speaks TLS, with the real port; nil when nowhere.
func (s *Server) TLSAddr() net.Addr {
	if s.tls == nil {
		return nil
	}
	return s.tls.ln.Addr()
}

// ReloadTLS reads the certificate files now instead of at one of the next
// handshakes. When they are wrong, everything stays as it is.
func (s *Server) ReloadTLS() error {
	if s.certs == nil {
		return nil
	}
	return s.certs.reload()
}

// enter brings one peer to the event loop, or closes it.
func (l *tlsListener) enter(conn *net.TCPConn) {
	remote := conn.RemoteAddr().String()
	sock := &tlsSocket{TCPConn: conn, patience: l.srv.limits.Linger}
	peer, result, err := l.handshake(sock)
	if err == nil {
		if err = l.tunnel(sock, peer, remote); err != nil {
			result = handshakeLimit
		}
	}
	l.srv.metrics.handshakes(result).Inc()
	if err != nil {
		l.srv.log.Info("TLS client refused", zap.String("remote", remote), zap.String("result", result), zap.Error(err))
		conn.Close()
	}
}

// tunnel makes the socket pair, has the event loop take one end and relays
// between the peer and the other.
func (l *tlsListener) tunnel(sock *tlsSocket, peer *tls.Conn, remote string) error {
	s := l.srv
	if n := l.open.Add(1); n > int64(s.limits.Connections) {
		l.open.Add(-1)
		return fmt.Errorf("%d connections by TLS are open or about to close, the limit is %d", n-1, s.limits.Connections)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		l.open.Add(-1)
		return err
	}
	t := &tunnel{remote: remote, peer: peer, sock: sock, inner: ours, linger: s.limits.Linger}
	if err := s.enroll(gnet.NewContext(context.Background(), t), theirs); err != nil {
		l.open.Add(-1)
		ours.Close()
		return err
	}
	sock.gone = t.gone
	l.tunnels.Go(func() {
		defer l.open.Add(-1)
		t.relay(l.cutting)
	})
	return nil
}

// tunnelsOpen is how many connections came by TLS.
func (l *tlsListener) tunnelsOpen() int64 {
	if l == nil {
		return 0
	}
	return l.open.Load()
}

// handshaking is how many are on their way to the event loop.
func (l *tlsListener) handshaking() int64 {
	if l == nil {
		return 0
	}
	return l.onTheirWay()
}

// stop lets nobody in any more, and ends the handshakes.
func (l *tlsListener) stop() {
	if l == nil {
		return
	}
	l.give()
	l.acceptor.finish()
}

// finish waits until the tunnels have delivered what they hold, and cuts those
// that have not when ctx ends. Their inner ends are closed by then.
func (l *tlsListener) finish(ctx context.Context) {
	if l == nil {
		return
	}
	defer context.AfterFunc(ctx, l.cut)()
	l.tunnels.Wait()
	l.cut()
}

// tunnelWindow is what the kernel holds in each direction of a socket pair,
// in bytes: what a subscriber's session is ahead of its TLS connection at most,
// beside a buffer of the tunnel. The kernel caps it (net.core.wmem_max).
const tunnelWindow = 256 << 10

func socketPair() (ours *net.UnixConn, theirs net.Conn, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, tunnelWindow)
		f := os.NewFile(uintptr(fd), "tunnel")
		var connErr error
		if ends[i], connErr = net.FileConn(f); connErr != nil {
			err = connErr
		}
		f.Close() // FileConn has a copy
	}
	if err == nil {
		return ends[0].(*net.UnixConn), ends[1], nil
	}
	for _, end := range ends {
		if end != nil {
			end.Close()
		}
	}
	return nil, nil, fmt.Errorf("gateway: socket pair of a tunnel: %w", err)
}
