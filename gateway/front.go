package gateway

import (
	"bytes"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// front is the gnet side: it accepts, speaks the text phase, and feeds
// producers. Its callbacks run on the connection's event loop.
type front struct {
	gnet.BuiltinEventEngine
	srv *Server
}

// client is a connection that gnet still owns.
type client struct {
	conn      gnet.Conn
	remote    string
	challenge string
	line      []byte // of the authentication, not yet complete
	timeout   *time.Timer
	detached  bool // an egress loop or a goroutine has the socket now
	producer  *producer
}

const keepAlive = 30 * time.Second

func (f *front) OnBoot(eng gnet.Engine) gnet.Action {
	f.srv.engine = eng
	close(f.srv.booted)
	return gnet.None
}

// OnOpen greets. Beyond the cap it also refuses in the same write: the client
// reads the greeting, then the reason.
func (f *front) OnOpen(conn gnet.Conn) ([]byte, gnet.Action) {
	s := f.srv
	if isSpinner(conn) {
		conn.SetContext(&s.spinner)
		s.spinner.again()
		return nil, gnet.None
	}
	if s.cfg.Spin {
		s.spinner.start(s, conn.EventLoop())
	}
	c := &client{conn: conn, remote: conn.RemoteAddr().String(), challenge: lsg.NewChallenge()}
	conn.SetContext(c)
	out := lsg.AppendGreeting(nil, c.challenge)
	if n := s.sockets.Add(1); n > int64(s.limits.Connections) {
		reason := fmt.Sprintf("connection limit of this gateway reached (%d); close sessions or raise --max-connections", s.limits.Connections)
		s.metrics.rejects("connection_limit").Inc()
		return lsg.AuthReply{Error: reason}.Append(out), gnet.Close
	}
	quickAck(conn.Fd())
	_ = conn.SetKeepAlivePeriod(keepAlive)
	// The late Close of a connection that is gone does nothing (gnet checks).
	c.timeout = time.AfterFunc(s.limits.AuthTimeout, func() { _ = conn.Close() })
	s.metrics.connections.Inc()
	return out, gnet.None
}

// OnTraffic takes what came. Everything is consumed at once: gnet would keep a
// rest in a buffer that it copies on every read.
func (f *front) OnTraffic(conn gnet.Conn) (action gnet.Action) {
	if sp, spins := conn.Context().(*spinner); spins {
		_, _ = conn.Discard(-1)
		sp.again()
		return gnet.None
	}
	c, ok := conn.Context().(*client)
	if !ok {
		return gnet.Close
	}
	defer func() {
		if p := recover(); p != nil {
			f.srv.metrics.panics.Inc()
			f.srv.log.Error("connection panicked and is closed", zap.String("remote", c.remote), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			action = gnet.Close
		}
	}()
	b, _ := conn.Next(-1)
	if c.producer != nil {
		return c.producer.traffic(b)
	}
	quickAck(conn.Fd())
	return f.authLine(c, b)
}

// OnClose runs before gnet closes its descriptor.
func (f *front) OnClose(conn gnet.Conn, err error) gnet.Action {
	if sp, spins := conn.Context().(*spinner); spins {
		sp.ended()
		return gnet.None
	}
	c, ok := conn.Context().(*client)
	if !ok {
		return gnet.None
	}
	if c.timeout != nil {
		c.timeout.Stop()
	}
	if c.detached {
		return gnet.None
	}
	f.srv.sockets.Add(-1)
	if c.producer != nil {
		c.producer.hungUp(err)
	}
	return gnet.None
}

// authLine collects and answers the authentication line.
func (f *front) authLine(c *client, b []byte) gnet.Action {
	if len(b) == 0 {
		return gnet.None // a wake-up
	}
	end := bytes.IndexByte(b, '\n')
	line := b[:max(end, 0)]
	if end < 0 {
		line = b
	}
	if len(c.line)+len(line) > f.srv.limits.AuthLine {
		return f.refuse(c, fmt.Sprintf("authentication line longer than %d bytes", f.srv.limits.AuthLine))
	}
	c.line = append(c.line, line...)
	if end < 0 {
		return gnet.None
	}
	rest := b[end+1:]
	text := string(c.line)
	c.line = nil
	if !lsg.IsAuthRequest(text) {
		return f.refuse(c, "expected an authentication line such as auth=RESPONSE-SUFFIX|dataset=D|encoding=dbn, got "+clip(lsg.Clean(text)))
	}
	req, err := lsg.ParseAuthRequest(text)
	if err != nil {
		return f.refuse(c, err.Error())
	}
	if f.srv.stopping.Load() {
		return f.refuseForNow(c, req.Role)
	}
	key, err := f.srv.authorize(c.challenge, &req)
	if err != nil {
		return f.refuse(c, err.Error())
	}
	c.timeout.Stop()
	if req.Role == lsg.RoleProducer {
		return f.openProducer(c, req, key, rest)
	}
	return f.detach(c, req, key, rest)
}

func (f *front) refuse(c *client, reason string) gnet.Action {
	f.srv.metrics.rejects("auth").Inc()
	f.srv.log.Info("client refused", zap.String("remote", c.remote), zap.String("reason", reason))
	_, _ = c.conn.Write(lsg.AuthReply{Error: reason}.Append(nil))
	return gnet.Close
}

// refuseForNow turns away who comes during a shutdown. A producer is told that
// it may come again: it would take a plain refusal for the last word.
func (f *front) refuseForNow(c *client, role string) gnet.Action {
	if role != lsg.RoleProducer {
		return f.refuse(c, shuttingDown.Text)
	}
	f.srv.metrics.rejects(lsg.CodeShutdown).Inc()
	_, _ = c.conn.Write(shuttingDown.Append(nil))
	return gnet.Close
}

// authorize checks an authentication request. The error is for the client.
func (s *Server) authorize(challenge string, req *lsg.AuthRequest) (*Key, error) {
	right := RightSubscribe
	if req.Role == lsg.RoleProducer {
		right = RightPublish
	}
	var key *Key
	if keys := s.keys.Load(); keys != nil {
		if key = keys.find(challenge, req.Auth); key == nil {
			return nil, fmt.Errorf("authentication failed: unknown key ending in %q", lsg.Bucket(req.Auth))
		}
		if !key.May(right, req.Dataset) {
			return nil, fmt.Errorf("authentication failed: key %q may not %s dataset %s; its owner adds the right in the key file", key.Name, right, req.Dataset)
		}
	}
	switch {
	case req.Encoding != lsg.EncodingDBN:
		return nil, fmt.Errorf("encoding=%s is not served here; use encoding=dbn", req.Encoding)
	case req.Compression != lsg.CompressionNone:
		return nil, fmt.Errorf("compression=%s is not served here; use compression=none", req.Compression)
	}
	return key, journal.CheckDataset(req.Dataset)
}

// detach hands an authenticated subscriber's socket to an egress loop. gnet
// closes its own descriptor; no FIN goes out, because ours lives.
func (f *front) detach(c *client, req lsg.AuthRequest, key *Key, rest []byte) gnet.Action {
	fd, err := c.conn.Dup()
	if err != nil {
		f.srv.log.Error("cannot detach a session", zap.String("remote", c.remote), zap.Error(err))
		return f.refuse(c, "internal error: "+err.Error())
	}
	c.detached = true
	s := &session{
		id: f.srv.nextSession.Add(1), fd: fd, auth: req, key: key, remote: c.remote, since: time.Now(),
		in: bytes.Clone(rest), // rest lies in gnet's buffer
	}
	f.srv.admit(s)
	return gnet.Close
}

// localOnly reports whether addr can be reached from this machine only.
func localOnly(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
