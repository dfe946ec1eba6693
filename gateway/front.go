package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
)

// front is the gnet side: it accepts, speaks the text phase, and feeds
// producers. Its callbacks run on the connection's event loop.
type front struct {
	gnet.BuiltinEventEngine
	srv     *Server
	hideout *hideout // where gnet listens when the server's listener is inherited
}

// client is a connection that gnet still owns.
type client struct {
	conn      gnet.Conn
	remote    string
	challenge string
	arrival   arrival
	grant            // once it is authenticated
	line      []byte // of the authentication, not yet complete
	timeout   *time.Timer
	expired   atomic.Bool // timeout is over
	detached  bool        // an egress loop or a goroutine has the socket now
	producer  *producer
}

func (f *front) OnBoot(eng gnet.Engine) gnet.Action {
	f.hideout.vanish()
	f.srv.engine = eng
	close(f.srv.booted)
	return gnet.None
}

// OnTick is asked for when there are acceptors, for its first call: OnBoot comes
// before the event loop is there, and a connection can be enrolled only after that.
func (f *front) OnTick() (time.Duration, gnet.Action) {
	f.srv.loopOnce.Do(func() { close(f.srv.looping) })
	return 24 * time.Hour, gnet.None
}

// OnOpen greets. Beyond the cap it also refuses in the same write: the client
// reads the greeting, then the reason.
func (f *front) OnOpen(conn gnet.Conn) ([]byte, gnet.Action) {
	s := f.srv
	if sp, spins := conn.Context().(*spinner); spins {
		sp.again()
		return nil, gnet.None
	}
	if s.cfg.Spin {
		s.spinner.start(s, conn.EventLoop())
	}
	c := &client{conn: conn, remote: remoteOf(conn), challenge: lsg.NewChallenge(), arrival: s.arrives()}
	conn.SetContext(c)
	out := lsg.AppendGreeting(nil, c.challenge)
	if n := s.sockets.Add(1); n > int64(s.limits.Connections) {
		reason := fmt.Sprintf(lsg.ConnectionLimit+" (%d); close sessions or raise --max-connections", s.limits.Connections)
		s.metrics.rejects("connection_limit").Inc()
		return lsg.AuthReply{Error: reason}.Append(out), gnet.Close
	}
	if s.files.crowded(conn.Fd()) {
		s.metrics.rejects("files").Inc()
		s.strangers.Error("client refused", zap.String("remote", c.remote), zap.Error(errCrowded))
		return lsg.AuthReply{Error: errCrowded.Error()}.Append(out), gnet.Close
	}
	quickAck(conn.Fd())
	keepAsking(conn.Fd(), s.limits.PeerTimeout)
	boundUnsent(conn.Fd(), leastSendQueue)
	c.timeout = time.AfterFunc(s.limits.AuthTimeout, func() {
		c.expired.Store(true)
		_ = conn.Wake(nil) // the loop knows whether it has authenticated meanwhile; a connection that is gone does not wake (gnet checks)
	})
	s.metrics.connections.Inc()
	return out, gnet.None
}

// remoteOf is where a client is, also when it came through a tunnel.
func remoteOf(conn gnet.Conn) string {
	if t, ok := conn.Context().(*tunnel); ok {
		return t.remote
	}
	return conn.RemoteAddr().String()
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
	c.arrival.over()
	if c.detached || c.producer != nil && c.producer.inputEnded(err) {
		return gnet.None
	}
	f.srv.socketClosed(c.grant)
	if c.producer != nil {
		c.producer.hungUp(err)
	}
	return gnet.None
}

// authLine collects and answers the authentication line.
func (f *front) authLine(c *client, b []byte) gnet.Action {
	if len(b) == 0 { // a wake-up
		if c.expired.Load() {
			return f.refuse(c, nil, fmt.Errorf("%w: want it within %v", errAuthTimeout, f.srv.limits.AuthTimeout))
		}
		return gnet.None
	}
	if len(c.line) == 0 && b[0] == handshakeRecord {
		return f.refuse(c, nil, errors.New("this port speaks no TLS; connect to the gateway's --tls-listen address, or without TLS"))
	}
	end := bytes.IndexByte(b, '\n')
	line := b[:max(end, 0)]
	if end < 0 {
		line = b
	}
	if len(c.line)+len(line) > f.srv.limits.AuthLine {
		return f.refuse(c, nil, fmt.Errorf("authentication line longer than %d bytes", f.srv.limits.AuthLine))
	}
	c.line = append(c.line, line...)
	if end < 0 {
		return gnet.None
	}
	rest := b[end+1:]
	text := string(c.line)
	c.line = nil
	if !lsg.IsAuthRequest(text) {
		return f.refuse(c, nil, errors.New("expected an authentication line such as auth=RESPONSE-SUFFIX|dataset=D|encoding=dbn, got "+clip(lsg.Clean(text))))
	}
	req, err := lsg.ParseAuthRequest(text)
	if err != nil {
		return f.refuse(c, nil, err)
	}
	req.Client = withoutSecrets(lsg.Printable(req.Client))
	if f.srv.stopping.Load() {
		return f.refuseForNow(c, &req)
	}
	if c.grant, err = f.srv.authorize(c.challenge, &req); err != nil {
		return f.refuse(c, &req, err)
	}
	c.timeout.Stop()
	if req.Role == lsg.RoleProducer {
		c.arrival.over()
		return f.openProducer(c, req, rest)
	}
	return f.detach(c, req, rest)
}

// errAuthTimeout is why a client is refused that never said who it is.
var errAuthTimeout = errors.New("no authentication line came in time")

// refuse says why a client is not let in; req is what it asked for, if that much
// is known. A limit passes, so a producer is told to try again: its SDK would give
// up for good on success=0.
func (f *front) refuse(c *client, req *lsg.AuthRequest, why error) gnet.Action {
	code, reason := "auth", withoutSecrets(why.Error())
	reply := lsg.AuthReply{Error: reason}.Append(nil)
	if errors.Is(why, errAuthTimeout) {
		code = "auth_timeout"
	}
	if limit := (*keyLimit)(nil); errors.As(why, &limit) {
		code = limit.name
		if req.Role == lsg.RoleProducer {
			reply = lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryLater, Text: reason}.Append(nil)
		}
	}
	f.srv.metrics.rejects(code).Inc()
	f.srv.strangers.Info("client refused", zap.String("remote", c.remote), zap.String("reason", reason))
	f.srv.audit.add(c.refusedEntry(req, c.key, reason))
	_, _ = c.conn.Write(reply)
	return gnet.Close
}

// refuseForNow turns away who comes during a shutdown. A producer is told that
// it may come again: it would take a plain refusal for the last word.
func (f *front) refuseForNow(c *client, req *lsg.AuthRequest) gnet.Action {
	if req.Role != lsg.RoleProducer {
		return f.refuse(c, req, errors.New(shuttingDown.Text))
	}
	f.srv.metrics.rejects(lsg.CodeShutdown).Inc()
	f.srv.audit.add(c.refusedEntry(req, nil, shuttingDown.Text))
	_, _ = c.conn.Write(shuttingDown.Append(nil))
	return gnet.Close
}

// detach hands an authenticated subscriber's socket to an egress loop. gnet
// closes its own descriptor; no FIN goes out, because ours lives.
func (f *front) detach(c *client, req lsg.AuthRequest, rest []byte) gnet.Action {
	fd, err := c.conn.Dup()
	if err != nil {
		f.srv.log.Error("cannot detach a session", zap.String("remote", c.remote), zap.Error(err))
		return f.refuse(c, &req, fmt.Errorf("internal error: %w", err))
	}
	c.detached = true
	s := &session{
		id: f.srv.nextSession.Add(1), fd: fd, auth: req, grant: c.grant, remote: c.remote, local: localOnly(c.remote), since: time.Now(),
		in:      bytes.Clone(rest), // rest lies in gnet's buffer
		arrival: c.arrival,
	}
	c.arrival = arrival{} // the session has it
	s.claims = f.srv.budgets.claims(s.use)
	s.claims.sockets.boundQueue(fd)
	f.srv.admit(s)
	return gnet.Close
}

// checkAddress finds what no listener can be opened on.
func checkAddress(addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("gateway: %q is no address to listen on; write HOST:PORT, such as %s, or :PORT for every interface", addr, DefaultListen)
	}
	return nil
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
