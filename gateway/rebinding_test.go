package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A page in an operator's browser may have had its own name point to loopback: what
// an open admin side tells and does is not for it.
func TestOpenAdminAnswersToThisMachineAlone(t *testing.T) {
	s := serveTest(t)
	ask := func(method, path, host, origin string) int {
		r := httptest.NewRequest(method, "http://"+host+path, nil)
		r.Host = host
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		s.Admin().ServeHTTP(w, r)
		return w.Code
	}
	for _, host := range []string{"localhost:9090", "LOCALHOST", "127.0.0.1:9090", "127.8.8.8", "[::1]:9090", "[::1]", ""} {
		if got := ask("GET", "/sessions", host, ""); got != http.StatusOK {
			t.Errorf("host %q: %d", host, got)
		}
	}
	for _, host := range []string{"evil.example:9090", "127.0.0.1.evil.example", "localhost.evil.example:9090", "192.0.2.1:9090", "0.0.0.0:9090", "[::]:9090"} {
		for _, path := range []string{"/sessions", "/metrics", "/readyz", "/"} {
			if got := ask("GET", path, host, ""); got != http.StatusMisdirectedRequest {
				t.Errorf("host %q, %s: %d", host, path, got)
			}
		}
		if got := ask("POST", "/sessions/1/close", host, "http://"+host); got != http.StatusMisdirectedRequest {
			t.Errorf("a close for host %q: %d", host, got)
		}
	}
	for _, origin := range []string{"http://evil.example", "https://127.0.0.1.evil.example", "null", "file://"} {
		if got := ask("GET", "/sessions", "localhost:9090", origin); got != http.StatusForbidden {
			t.Errorf("origin %q: %d", origin, got)
		}
	}
	if got := ask("POST", "/sessions/1/close", "localhost:9090", "http://localhost:3000"); got != http.StatusForbidden {
		t.Errorf("a close by another page of this machine: %d", got)
	}
	if n := s.rejected("admin"); n == 0 {
		t.Error("no refusal is counted")
	}
}

// With a key file a page has no key, and the operator may have a name for the machine.
func TestAdminWithKeysAnswersToAnyName(t *testing.T) {
	keys := newKeys(t, Key{Name: "operator", Rights: []Right{RightAdmin}})
	s := serveTest(t, func(c *Config) { c.Keys = keys.ring() })
	r := httptest.NewRequest("GET", "http://feeds.example/sessions", nil)
	r.SetBasicAuth(keys.key("operator").Secret, "")
	w := httptest.NewRecorder()
	if s.Admin().ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("by another name, with a key: %d", w.Code)
	}
}
