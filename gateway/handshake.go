package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// What a handshake came to, as tapewire_tls_handshakes_total counts it.
const (
	handshakeOK          = "ok"
	handshakePlain       = "plain"              // it speaks no TLS
	handshakeSilent      = "silent"             // it said nothing, as a client that speaks no TLS does
	handshakeSlow        = "slow"               // it took longer than Limits.AuthTimeout
	handshakeCertificate = "client_certificate" // none was shown, or not a good one
	handshakeDistrusted  = "distrusted"         // the client refused our certificate
	handshakeClosed      = "closed"             // it hung up
	handshakeLimit       = "limit"              // no room for one more connection
	handshakeFailed      = "failed"             // something else, such as an old version of TLS
)

// handshakeRecord is the first byte of whoever speaks TLS.
const handshakeRecord = 0x16

// handshake speaks TLS with a peer up to the first byte of its own. Whatever the
// peer does, it ends within Limits.AuthTimeout and a linger.
func (l *tlsListener) handshake(sock *tlsSocket) (peer *tls.Conn, result string, err error) {
	ctx, cancel := context.WithTimeout(l.shaking, l.srv.limits.AuthTimeout)
	defer cancel()
	timeout := l.srv.limits.PeerTimeout
	_ = sock.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: timeout / 2, Interval: timeout / 10, Count: 5}) // as keepAsking does
	if result, err := l.hello(ctx, sock); err != nil {
		return nil, result, err
	}
	peer = tls.Server(sock, l.certs.server)
	if err := peer.HandshakeContext(ctx); err != nil { // which ends it with ctx
		return nil, handshakeResult(ctx, err), err
	}
	return peer, handshakeOK, nil
}

// hello waits for the first byte. In the Live protocol the gateway speaks first,
// in TLS the client: who says nothing waits for a greeting, on the wrong port.
// It gets one, with the reason for its end.
func (l *tlsListener) hello(ctx context.Context, sock *tlsSocket) (result string, err error) {
	limits := &l.srv.limits
	interrupt := context.AfterFunc(ctx, func() { sock.Close() })
	defer interrupt()
	var first [1]byte
	_ = sock.SetReadDeadline(time.Now().Add(min(limits.Hello, limits.AuthTimeout)))
	_, err = sock.Read(first[:])
	_ = sock.SetReadDeadline(time.Time{})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		sock.explain(limits.Linger)
		return handshakeSilent, fmt.Errorf("it said nothing for %v, as a client that speaks no TLS", limits.Hello)
	case err != nil:
		return handshakeResult(ctx, err), err
	case first[0] != handshakeRecord:
		sock.explain(limits.Linger)
		return handshakePlain, errors.New("it does not speak TLS")
	}
	sock.head = first[:]
	return "", nil
}

// handshakeResult names why a handshake failed.
func handshakeResult(ctx context.Context, err error) string {
	var verify *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return handshakeSlow
	case errors.As(err, &verify), strings.Contains(err.Error(), "didn't provide a certificate"): // which has no type
		return handshakeCertificate
	case errors.As(err, &op) && op.Op == "remote error":
		return handshakeDistrusted
	case errors.Is(err, io.EOF), errors.As(err, &op):
		return handshakeClosed
	}
	return handshakeFailed
}

// tlsSocket is the TCP socket below a TLS connection.
type tlsSocket struct {
	*net.TCPConn
	head     []byte        // read ahead of TLS
	gone     func() bool   // whether the gateway's end of the tunnel is closed; nil in the handshake
	patience time.Duration // how long what was said before may take to leave then
}

// Read gives what was read ahead first.
func (s *tlsSocket) Read(b []byte) (int, error) {
	if len(s.head) > 0 {
		n := copy(b, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	return s.TCPConn.Read(b)
}

// Write waits as long as the peer likes, it may be slow, but not for ever once
// the gateway has closed. The waiting is done here because to TLS a write that
// timed out is the end.
func (s *tlsSocket) Write(b []byte) (n int, err error) {
	if s.gone == nil {
		return s.TCPConn.Write(b)
	}
	for over := false; ; over = s.gone() {
		_ = s.SetWriteDeadline(time.Now().Add(s.patience))
		k, err := s.TCPConn.Write(b[n:])
		if n += k; over || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// explain tells a client that speaks no TLS why it is closed, in the words of
// the protocol: a greeting, and the refusal of whatever it answers.
func (s *tlsSocket) explain(patience time.Duration) {
	_ = s.SetDeadline(time.Now().Add(patience))
	_, _ = s.TCPConn.Write(lsg.AuthReply{Error: lsg.TLSOnly}.Append(lsg.AppendGreeting(nil, lsg.NewChallenge())))
	_ = s.CloseWrite()
	_, _ = io.CopyN(io.Discard, s.TCPConn, explainReads) // unread input would reset the connection, words and all
}

// explainReads is how much of such a client's answer is read, in bytes.
const explainReads = 4 << 10
