package feed

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// DefaultAddr is where producers and subscribers connect when they are given no address.
const DefaultAddr = "127.0.0.1:13000"

// OpenModeKey is sent when no key is given. A gateway without a key file runs open, on loopback only, and takes any key; one with keys refuses it.
const OpenModeKey = "db-OpenModeOpenModeOpenModeOpen0"

// DefaultDialTimeout bounds connecting and authenticating together.
const DefaultDialTimeout = 10 * time.Second

// clientName is what an SDK that is given no name calls itself on the auth line.
const clientName = "tapewire Go"

// longAgo is a deadline that has passed: setting it makes blocked reads and writes return at once.
var longAgo = time.Unix(1, 0)

// login is what both kinds of client need to open a session.
type login struct {
	addr, key string
	timeout   time.Duration
	tls       *tls.Config     // nil is plain TCP
	request   lsg.AuthRequest // without Auth
}

// open connects and authenticates. On success the connection belongs to the caller and has no deadline.
func (l login) open(ctx context.Context) (*inbox, lsg.AuthReply, error) {
	key := cmp.Or(l.key, OpenModeKey)
	if len(key) != lsg.KeySize || strings.ContainsAny(key, "|\r\n") {
		return nil, lsg.AuthReply{}, fmt.Errorf("%w: the key has %d bytes, want %d; copy it whole from the gateway's key file", ErrConfig, len(key), lsg.KeySize)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(l.timeout, DefaultDialTimeout))
	defer cancel()
	addr := cmp.Or(l.addr, DefaultAddr)
	conn, err := l.connect(ctx, addr)
	if err != nil {
		return nil, lsg.AuthReply{}, err
	}
	in := newInbox(conn, lineBuffer)
	stop := interrupt(ctx, conn.SetDeadline)
	reply, err := l.greet(in, key)
	stop()
	if err == nil {
		return in, reply, nil
	}
	conn.Close()
	var refused *RefusedError
	if errors.As(err, &refused) || errors.Is(err, ErrConfig) {
		return nil, lsg.AuthReply{}, err
	}
	advice := l.advice(in, err)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, lsg.AuthReply{}, fmt.Errorf("%w %s: the peer did not complete the handshake: %w; %s", ErrConnect, addr, err, advice)
}

// greet reads the greeting, answers the challenge and reads the reply.
func (l login) greet(in *inbox, key string) (lsg.AuthReply, error) {
	line, err := in.line()
	if err != nil {
		return lsg.AuthReply{}, err
	}
	if _, err := lsg.ParseVersion(line); err != nil {
		return lsg.AuthReply{}, err
	}
	if line, err = in.line(); err != nil {
		return lsg.AuthReply{}, err
	}
	challenge, err := lsg.ParseChallenge(line)
	if err != nil {
		return lsg.AuthReply{}, err
	}
	l.request.Auth = lsg.Response(challenge, key)
	request, err := l.request.Append(nil)
	if err != nil {
		return lsg.AuthReply{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if _, err := in.conn.Write(request); err != nil {
		return lsg.AuthReply{}, err
	}
	if line, err = in.line(); err != nil {
		return lsg.AuthReply{}, err
	}
	return readReply(line)
}

// readReply takes the two forms of a refusal: success=0, and the error line of a gateway that has a code for it.
func readReply(line string) (lsg.AuthReply, error) {
	if lsg.IsError(line) {
		e, err := lsg.ParseProducerError(line)
		if err != nil {
			return lsg.AuthReply{}, err
		}
		return lsg.AuthReply{}, &RefusedError{Code: e.Code, Text: e.Text, Retry: e.Retry}
	}
	reply, err := lsg.ParseAuthReply(line)
	if err == nil && !reply.Success {
		refused := &RefusedError{Code: lsg.CodeAuth, Text: reply.Error, Retry: lsg.RetryNever}
		if strings.HasPrefix(reply.Error, lsg.ConnectionLimit) {
			refused.Code, refused.Retry = lsg.CodeLimit, lsg.RetryLater
		}
		err = refused
	}
	return reply, err
}

// interrupt makes the end of ctx pass a deadline in the past to set, which ends blocked calls. The function that it returns undoes that; when it
// has returned, no deadline is set and none will be.
func interrupt(ctx context.Context, set func(time.Time) error) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		set(longAgo)
		close(done)
	})
	return func() {
		if !cancel() {
			<-done
		}
		set(time.Time{})
	}
}
