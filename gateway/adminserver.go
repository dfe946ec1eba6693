package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// AdminServer serves the admin side over HTTP. It holds at most
// Limits.AdminConnections sockets: one more takes the place of the one that has
// been idle longest, so whoever holds them all keeps no operator out.
type AdminServer struct {
	srv      *Server
	listener net.Listener
	http     *http.Server

	mu    sync.Mutex
	since map[net.Conn]idleSince
}

// idleSince is when a connection last had nothing to do.
type idleSince struct {
	at   time.Time
	busy bool // a request is being answered
}

// ListenAdmin takes an address for the admin side. Nobody is answered before
// Serve, which is for when the server has started.
func (s *Server) ListenAdmin(addr string) (*AdminServer, error) {
	if err := s.CheckAdmin(addr); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gateway: admin side: %w", err)
	}
	a := &AdminServer{srv: s, listener: l, since: map[net.Conn]idleSince{}}
	a.http = &http.Server{
		Handler:           s.Admin(),
		ReadHeaderTimeout: s.limits.AdminTimeout,
		ReadTimeout:       s.limits.AdminTimeout,
		WriteTimeout:      3 * s.limits.AdminTimeout,
		IdleTimeout:       s.limits.AdminTimeout,
		MaxHeaderBytes:    s.limits.AdminHeader,
		ConnState:         a.note,
		ErrorLog:          zap.NewStdLog(s.strangers),
	}
	return a, nil
}

// Addr is where it listens, with the real port; nil when it is off.
func (a *AdminServer) Addr() net.Addr {
	if a == nil {
		return nil
	}
	return a.listener.Addr()
}

// Serve answers until Close.
func (a *AdminServer) Serve() {
	if a == nil {
		return
	}
	go func() {
		if err := a.http.Serve(&adminListener{Listener: a.listener, admin: a}); !errors.Is(err, http.ErrServerClosed) {
			a.srv.log.Error("the admin side has ended", zap.Error(err))
		}
	}()
}

// Close ends it, with the answers that are under way.
func (a *AdminServer) Close() {
	if a == nil {
		return
	}
	_ = a.http.Close()
	_ = a.listener.Close() // of one that never served
}

// note keeps track of who has nothing to do.
func (a *AdminServer) note(conn net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.since[conn]; !known {
		return
	}
	switch state {
	case http.StateClosed, http.StateHijacked:
		a.forget(conn)
	default:
		a.since[conn] = idleSince{time.Now(), state == http.StateActive}
	}
}

// forget is called with mu held.
func (a *AdminServer) forget(conn net.Conn) {
	delete(a.since, conn)
	a.srv.adminOpen.Store(int64(len(a.since)))
}

// admit makes room for a connection, or reports that there is none.
func (a *AdminServer) admit(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.since) >= a.srv.limits.AdminConnections {
		oldest := a.idlest()
		if oldest == nil {
			return false
		}
		a.forget(oldest)
		_ = oldest.Close()
	}
	a.since[conn] = idleSince{at: time.Now()}
	a.srv.adminOpen.Store(int64(len(a.since)))
	return true
}

// idlest is the connection that has had nothing to do for longest, nil when all
// are being answered.
func (a *AdminServer) idlest() (oldest net.Conn) {
	for conn, s := range a.since {
		if !s.busy && (oldest == nil || s.at.Before(a.since[oldest].at)) {
			oldest = conn
		}
	}
	return oldest
}

// adminListener accepts for an AdminServer.
type adminListener struct {
	net.Listener
	admin *AdminServer
}

// Accept returns the next connection that there is room for. A failure that
// passes, such as no free descriptor, does not end it: net/http tries again.
func (l *adminListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.admin.crowded(conn) && l.admin.admit(conn) {
			return conn, nil
		}
		l.admin.srv.metrics.rejects("admin_connections").Inc()
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
		_ = conn.Close()
	}
}

// crowded reports whether the process is about to run out of descriptors.
func (a *AdminServer) crowded(conn net.Conn) (crowded bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) { crowded = a.srv.files.crowded(int(fd)) })
	return crowded || err != nil
}
