package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"
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
