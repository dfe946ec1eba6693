package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Who may use the admin side: with a key file those whose key has the right admin,
// without one everybody, which is why it then stays on loopback. What health checks
// need is open, since it tells nothing.

// CheckAdmin reports why Admin must not be served on an address.
func (s *Server) CheckAdmin(addr string) error {
	if s.keys.Load() == nil && !localOnly(addr) {
		return fmt.Errorf("%w, its admin side too, and %s is not: make a key (tapewire key new --keys keys.toml NAME --rights admin) and pass --keys keys.toml", ErrOpenMode, addr)
	}
	return nil
}

// sameMachine lets only requests pass, while the gateway is open, that a program on
// this machine means for this machine. A page that a browser here has open must not
// read or close sessions: it may have had its own name point to loopback since it
// was loaded (DNS rebinding), so the name it asks for is looked at. With a key file
// no page has the key.
func (s *Server) sameMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.keys.Load() == nil {
			status, err := foreign(r)
			if err != nil {
				s.metrics.rejects("admin").Inc()
				s.strangers.Info("admin request refused", zap.String("remote", r.RemoteAddr), zap.String("reason", err.Error()))
				s.audit.add(auditEntry{Event: auditAdmin, Remote: r.RemoteAddr, Client: r.UserAgent(), Method: r.Method, Path: r.URL.Path, Status: status, Why: err.Error()})
				http.Error(w, err.Error(), status)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// foreign says why a request is not meant for an admin side that is open on
// loopback: nil when it is. HTTP/1.0 has requests without a host; no browser
// sends those.
func foreign(r *http.Request) (status int, err error) {
	if r.Host != "" && !loopbackHost(r.Host) {
		return http.StatusMisdirectedRequest, fmt.Errorf("host %s is not this machine; without a key file the admin side answers to localhost, 127.0.0.1 and [::1] only", clip(lsg.Clean(r.Host)))
	}
	for _, origin := range r.Header["Origin"] {
		if u, err := url.Parse(origin); err != nil || !loopbackHost(u.Host) {
			return http.StatusForbidden, fmt.Errorf("origin %s is not this machine; without a key file the admin side is for programs and pages of this machine only", clip(lsg.Clean(origin)))
		}
	}
	return 0, nil
}

// loopbackHost reports whether a host, with or without a port, names loopback
// whatever a name server says.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// guard lets those pass who may, and notes who asked for what.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/", "/healthz", "/readyz":
			next.ServeHTTP(w, r)
			return
		}
		answer := &statusWriter{ResponseWriter: w}
		key, status, err := s.adminKey(r)
		e := auditEntry{Event: auditAdmin, Key: keyName(key), Remote: r.RemoteAddr, Client: r.UserAgent(), Method: r.Method, Path: r.URL.Path}
		if err == nil {
			next.ServeHTTP(answer, r)
		} else {
			if e.Why = err.Error(); key == nil {
				e.Key = "" // nobody knows
			}
			s.metrics.rejects("admin").Inc()
			s.log.Info("admin request refused", zap.String("remote", r.RemoteAddr), zap.String("reason", e.Why))
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="tapewire", charset="UTF-8"`)
			}
			http.Error(answer, err.Error(), status)
		}
		e.Status = cmp.Or(answer.status, http.StatusOK)
		s.audit.add(e)
	})
}

// adminKey is the key that a request shows, nil in open mode; with an error the
// status to answer.
func (s *Server) adminKey(r *http.Request) (*Key, int, error) {
	keys := s.keys.Load()
	if keys == nil {
		return nil, 0, nil
	}
	secret := shownKey(r)
	if secret == "" {
		return nil, http.StatusUnauthorized, errors.New("this needs a key with the right admin: as the user name, without a password, or as Authorization: Bearer KEY")
	}
	key := keys.holder(secret)
	switch {
	case key == nil:
		return nil, http.StatusUnauthorized, errors.New("unknown key")
	case !key.isAdmin():
		return key, http.StatusForbidden, fmt.Errorf("key %q may not use the admin side; its owner adds the right admin in the key file", key.Name)
	}
	return key, 0, nil
}

// shownKey is the key in a request's Authorization header, "" when there is none.
func shownKey(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok {
		return user
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// statusWriter remembers the status of an answer, 0 until one was written.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}
