package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/journal"
)

// Config says how a server runs. The zero value is an open gateway on loopback.
type Config struct {
	Listen   string           // address, default DefaultListen
	Listener *net.TCPListener // takes the place of Listen: one that others hold too, so that it outlives the server. Shutdown closes it
	Keys     *Keyring         // nil: open mode, allowed on loopback only
	Audit    string           // file that the audit log is appended to; none when empty
	SendPath SendPath         // default SendAuto
	Loops    int              // egress loops of the hot lane, among which the sessions are divided; default 1
	Spin     bool             // never let the ingest loop sleep: less latency for a core of its own
	TLS      TLSOptions       // a second address, for clients that speak TLS
	Limits   Limits           // zero fields take their defaults
	Version  string           // of the program, for the metrics
	Logger   *zap.Logger      // default: silent
}

// DefaultListen is where clients look for a gateway unless told otherwise.
const DefaultListen = "127.0.0.1:13000"

const (
	// readBuffer is the ingest loop's read buffer: one batch of a producer.
	readBuffer = 256 << 10
	ingestLoop = 1
)

// Server is a running gateway. It does not own its journal.
type Server struct {
	cfg     Config
	limits  Limits
	files   filesPlan
	journal *journal.Journal
	keys    atomic.Pointer[Keyring] // nil in open mode
	uses    keyUses
	audit   *auditLog // nil without Config.Audit
	log     *zap.Logger
	metrics *serverMetrics
	budgets *budgets

	strangers *zap.Logger // log, for what clients without a key can cause: some lines a second

	engine   gnet.Engine
	booted   chan struct{}
	looping  chan struct{} // closed when connections can be enrolled; never when nobody would do that
	loopOnce sync.Once
	ended    chan struct{} // closed when the server no longer serves
	down     chan struct{} // closed when a Shutdown is complete
	endOnce  sync.Once
	endErr   error
	addr     net.Addr
	leaving  atomic.Bool // Shutdown was called
	stopping atomic.Bool // nobody is let in any more
	wg       sync.WaitGroup
	unwatch  func()
	ctx      context.Context // ends with the server
	cancel   context.CancelFunc

	loops       []*loop // Config.Loops of the hot lane, then the cold one
	cold        *loop
	moving      moves
	nextSession atomic.Uint64
	sockets     atomic.Int64 // gnet's and detached ones
	open        atomic.Int64 // sessions, on a loop or on their way to one
	listing     sync.Mutex   // one list of sessions at a time
	adminOpen   atomic.Int64 // connections of the admin side
	arriving    atomic.Int64 // connections that have not come to their session yet
	producers   producers
	spinner     spinner   // with Config.Spin
	inherited   *acceptor // with Config.Listener

	tlsSide
}

// New checks a configuration. It opens nothing.
func New(j *journal.Journal, cfg Config) (*Server, error) {
	cfg.inherit()
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.Loops <= 0 {
		cfg.Loops = 1
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	var err error
	if cfg.SendPath, err = ParseSendPath(string(cfg.SendPath)); err != nil {
		return nil, err
	}
	if err := checkAddress(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Keys == nil && !localOnly(cfg.Listen) {
		return nil, fmt.Errorf("%w, and %s is not: make keys (tapewire key new --keys keys.toml NAME) and pass --keys keys.toml", ErrOpenMode, cfg.Listen)
	}
	secure, err := newTLSSide(cfg)
	if err != nil {
		return nil, err
	}
	open, _ := j.Files()
	s := &Server{
		cfg: cfg, limits: cfg.Limits.withDefaults(secure.certs != nil, open), journal: j, log: cfg.Logger, tlsSide: secure,
		booted: make(chan struct{}), looping: make(chan struct{}), ended: make(chan struct{}), down: make(chan struct{}),
	}
	if s.files, err = s.limits.planFiles(open); err != nil {
		return nil, err
	}
	j.LimitFiles(s.files.tapes)
	s.uses.follow(cfg.Keys)
	s.keys.Store(cfg.Keys)
	s.strangers = strangersLog(s.log)
	s.metrics = newServerMetrics(s)
	s.budgets = newBudgets(&s.limits, s.metrics)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Start begins to listen and returns once clients can connect.
func (s *Server) Start() error {
	s.raiseProcs()
	if err := s.checkFree(); err != nil {
		return err
	}
	if err := s.openAudit(); err != nil {
		return err
	}
	if err := s.listenTLS(); err != nil {
		s.audit.close()
		return err
	}
	for i := range s.cfg.Loops + 1 {
		l, err := newLoop(s, i == s.cfg.Loops)
		if err != nil {
			s.tls.stop()
			return err
		}
		s.loops, s.cold = append(s.loops, l), l
	}
	s.unwatch = s.journal.Watch(func() {
		for _, l := range s.loops {
			l.datasetCreated()
		}
	})
	for _, l := range s.loops {
		s.wg.Go(func() {
			if err := l.run(); err != nil {
				s.end(err)
			}
		})
	}
	s.wg.Go(s.serveGnet)
	s.wg.Go(s.watchProducers)
	select {
	case <-s.booted:
	case <-s.ended:
		return s.abandon()
	}
	if err := s.findAddr(); err != nil {
		return err
	}
	s.acceptInherited()
	return nil
}

// serveGnet runs the event loop. That it returns is an error unless it was
// asked to: gnet ends, without one, when accept fails.
func (s *Server) serveGnet() {
	f := &front{srv: s}
	at := "tcp://" + s.cfg.Listen
	if s.cfg.Listener != nil {
		var err error
		if f.hideout, err = newHideout(); err != nil {
			s.end(err)
			return
		}
		defer f.hideout.close()
		at = f.hideout.address()
	}
	err := gnet.Run(f, at,
		gnet.WithNumEventLoop(ingestLoop),
		gnet.WithReusePort(true), // accept on the loop itself: the cap holds before the next accept
		gnet.WithReuseAddr(true), // or the sockets of a gateway that was killed would keep checkFree off the port
		gnet.WithReadBufferCap(readBuffer),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay),
		gnet.WithTicker(s.certs != nil || s.cfg.Listener != nil), // see OnTick
		gnet.WithLoadBalancing(gnet.LeastConnections),            // the default may not be asked by several acceptors at once
		gnet.WithLogger(s.log.WithOptions(zap.IncreaseLevel(max(zap.WarnLevel, s.log.Level()))).Sugar()), // it announces what serve has said already
	)
	if err == nil && !s.stopping.Load() {
		err = ErrEngine
	}
	s.end(err)
}

// end notes why the server stopped, once.
func (s *Server) end(err error) {
	s.endOnce.Do(func() {
		s.endErr = err
		close(s.ended)
	})
}

// abandon cleans up after a start that failed.
func (s *Server) abandon() error {
	s.stopLoops()
	s.cancel()
	s.tls.stop()
	s.unwatch()
	s.wg.Wait()
	s.audit.close()
	return fmt.Errorf("gateway: listen on %s: %w", s.cfg.Listen, s.endErr)
}

// raiseProcs makes room for goroutines that block in epoll_wait and hold their P
// until the runtime takes it away, up to 10 ms later.
func (s *Server) raiseProcs() {
	const spare = 4
	const gnetLoops, coldLoops = ingestLoop + 1, 1
	if want := gnetLoops + s.cfg.Loops + coldLoops + spare; runtime.GOMAXPROCS(0) < max(want, runtime.NumCPU()) {
		runtime.GOMAXPROCS(max(want, runtime.NumCPU()))
	}
}

// checkFree refuses an address that somebody listens on. The event loop could
// not tell: its listener shares the port with others (SO_REUSEPORT).
func (s *Server) checkFree() error {
	if s.cfg.Listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: %s; stop the other server or choose another --listen", ErrAddressInUse, s.cfg.Listen)
	case err != nil:
		return fmt.Errorf("gateway: listen on %s: %w", s.cfg.Listen, err)
	}
	return l.Close()
}

func (s *Server) findAddr() error {
	if s.cfg.Listener != nil {
		s.addr = s.cfg.Listener.Addr()
		return nil
	}
	fd, err := s.engine.Dup()
	if err != nil {
		return fmt.Errorf("gateway: find the listener: %w", err)
	}
	defer unix.Close(fd)
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("gateway: find the listener: %w", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		s.addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		s.addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	default:
		return fmt.Errorf("gateway: unexpected listener address %T", sa)
	}
	return nil
}

// Addr is where the server listens, with the real port.
func (s *Server) Addr() net.Addr { return s.addr }

// Wait returns when the server no longer serves: nil after Shutdown, else why.
func (s *Server) Wait() error {
	<-s.ended
	return s.endErr
}

// admit gives a detached session to an egress loop.
func (s *Server) admit(sess *session) {
	s.log.Info("subscriber connected", zap.Uint64("session", sess.id), zap.String("remote", sess.remote),
		zap.String("dataset", sess.auth.Dataset), zap.String("client", sess.auth.Client), zap.String("key", keyName(sess.key)))
	s.audit.add(sess.entry(auditAccepted))
	s.open.Add(1)
	s.adopt(sess, s.hotLoop(sess))
}

// hotLoop is the session's loop on the hot lane, always the same.
func (s *Server) hotLoop(sess *session) *loop { return s.loops[sess.id%uint64(s.cfg.Loops)] }

// adopt has a loop take over a session that no loop has.
func (s *Server) adopt(sess *session, to *loop) {
	sess.loop = to
	if !to.post(func() { to.adopt(sess) }) {
		sess.dispose("server stopped")
	}
}

func (s *Server) sessionClosed(sess *session, why string) {
	s.socketClosed(sess.grant)
	s.open.Add(-1)
	s.audit.add(sess.endEntry(why))
	s.log.Info("subscriber left", zap.Uint64("session", sess.id), zap.String("why", why), zap.Uint64("bytes", sess.sentBytes))
}
