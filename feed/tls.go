package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/tapewire/tapewire/feed/lsg"
)

// connect dials, and speaks TLS when that was asked for.
func (l login) connect(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w; check that the gateway runs and that the address is HOST:PORT", ErrConnect, addr, err)
	}
	if l.tls == nil {
		return conn, nil
	}
	config := l.tls.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr) // it was dialled, so it is right
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w %s by TLS: %w; %s", ErrConnect, addr, err, tlsAdvice(err))
	}
	return secure, nil
}

// alertByte is the first byte of what speaks TLS and has heard something else.
const alertByte = 0x15

// advice says what to do about a peer that did not get as far as an answer.
func (l login) advice(in *inbox, err error) string {
	switch heard := in.buf[:in.to]; {
	case l.tls != nil && isAlert(err):
		return tlsAdvice(err)
	case l.tls == nil && len(heard) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
		return "it says nothing: check that it is a Live gateway and no port for TLS, where clients speak first"
	case l.tls == nil && len(heard) > 0 && heard[0] == alertByte:
		return lsg.TLSOnly
	}
	return "check that it is a Live gateway"
}

// isAlert reports whether TLS failed by the peer's word. In TLS 1.3 a client has
// done its part before it hears what the server thinks of its certificate.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// tlsAdvice says what to do about a failed handshake.
func tlsAdvice(err error) string {
	var noTLS tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &noTLS):
		return "the port speaks no TLS: give the address of the gateway's TLS listener, or connect without TLS"
	case errors.As(err, &unknown):
		return "trust the authority that signed the gateway's certificate: TLS.RootCAs, or --tls-ca FILE"
	case errors.As(err, &name):
		return "connect by a name that is in the gateway's certificate, or have it made out to this one too"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the gateway's certificate; if it is good, set this machine's clock"
	case isAlert(err) && strings.Contains(err.Error(), "certificate required"):
		return "the gateway asks for a client certificate: TLS.Certificates, or --tls-cert FILE and --tls-key FILE"
	case isAlert(err) && (strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "handshake failure")):
		return "the gateway does not take this client certificate: have it signed by the authority of its --tls-client-ca, for client authentication, and renew it when it has expired"
	case isAlert(err) && strings.Contains(err.Error(), "protocol version"):
		return "the gateway speaks TLS 1.3: do not limit TLS.MaxVersion"
	}
	return "check that this is the gateway's TLS listener"
}
