package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// SessionView is what an operator sees of a subscriber.
type SessionView struct {
	ID        uint64       `json:"id"`
	Remote    string       `json:"remote"`
	Client    string       `json:"client"`
	Key       string       `json:"key"`
	Dataset   string       `json:"dataset"`
	Since     time.Time    `json:"since"`
	Started   bool         `json:"started"`
	Blocked   bool         `json:"blocked"`    // its socket is full
	Lane      string       `json:"lane"`       // hot: at the tail; cold: catching up
	Path      string       `json:"path"`       // how its data last went: write, sendfile, splice, copy or gather
	SentBytes uint64       `json:"sent_bytes"` // control records included
	Cursors   []CursorView `json:"cursors"`
}

// CursorView is a session's place on one tape.
type CursorView struct {
	Schema     string `json:"schema"`
	Seq        uint64 `json:"seq"`
	LagRecords uint64 `json:"lag_records"`
	LagBytes   int64  `json:"lag_bytes"`
	Replaying  bool   `json:"replaying"`
	Filtered   bool   `json:"filtered"`
}

// Sessions lists the subscribers by id.
func (s *Server) Sessions() []SessionView {
	s.listing.Lock() // or each of many who ask would have the loops look at all sessions once more
	defer s.listing.Unlock()
	var all []SessionView
	s.settled(func() {
		all = []SessionView{} // an empty list in JSON, not null
		s.eachSession(func(sess *session) { all = append(all, sess.view()) })
	})
	slices.SortFunc(all, func(a, b SessionView) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b SessionView) bool { return a.ID == b.ID })
}

// sessionsAtOnce is how many sessions a pass looks at before their loop serves
// them again.
const sessionsAtOnce = 256

// eachSession calls f for the sessions of one loop after the other, on their loop,
// some at a time. One that goes from loop to loop meanwhile is missed, or met twice.
func (s *Server) eachSession(f func(*session)) {
	for _, l := range s.loops {
		for from, more := 0, true; more; from += sessionsAtOnce {
			more = false // of a loop that has ended
			l.call(func() { more = l.someSessions(from, f) })
		}
	}
}

// someSessions calls f for the sessions of the slots behind from, and reports
// whether there are more.
func (l *loop) someSessions(from int, f func(*session)) (more bool) {
	for i := from; i < min(from+sessionsAtOnce, len(l.sessions)); i++ {
		if sess := l.sessions[i]; sess != nil {
			f(sess)
		}
	}
	return from+sessionsAtOnce < len(l.sessions)
}

// settled runs a pass of eachSession again when a session went from loop to loop
// meanwhile.
func (s *Server) settled(pass func()) {
	const most = 16 // passes
	for range most {
		begun := s.moving.begun.Load()
		still := s.moving.done.Load() == begun
		if pass(); still && s.moving.begun.Load() == begun {
			return
		}
	}
}

func (s *session) view() SessionView {
	v := SessionView{
		ID: s.id, Remote: s.remote, Client: s.auth.Client, Key: keyName(s.key), Dataset: s.auth.Dataset, Since: s.since,
		Started: s.started, Blocked: !s.writable, Lane: s.loop.laneName(), Path: s.path, SentBytes: s.sentBytes, Cursors: []CursorView{},
	}
	for _, c := range s.cursors {
		lag := c.lag()
		v.Cursors = append(v.Cursors, CursorView{
			Schema: c.schema.String(), Seq: c.seq, LagRecords: uint64(lag) / uint64(c.size), LagBytes: lag,
			Replaying: c.replaying, Filtered: !c.filter.everything(),
		})
	}
	return v
}

// CloseSession ends one subscriber with an error record that makes official
// clients reconnect. It reports false when there is no such session.
func (s *Server) CloseSession(id uint64) (found bool) {
	s.settled(func() {
		s.eachSession(func(sess *session) {
			if sess.id == id && !found {
				sess.stop("Session closed by the operator; reconnect to go on")
				found = true
			}
		})
	})
	return found
}

// Admin serves health, metrics and the session list. With a key file all but health
// is for keys with the right admin; without one CheckAdmin says where to listen.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "GET /healthz\nGET /readyz\nGET /metrics\nGET /sessions\nPOST /sessions/ID/close\nPOST /datasets/NAME/remove")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s.metrics.write(w)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Sessions()) // the client went away
	})
	mux.HandleFunc("POST /sessions/{id}/close", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if err != nil || !s.CloseSession(id) {
			http.Error(w, "no session "+clip(r.PathValue("id"))+"; GET /sessions lists them", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /datasets/{name}/remove", s.answerRemove)
	// A page in an operator's browser must not close sessions on loopback.
	return http.NewCrossOriginProtection().Handler(s.sameMachine(s.guard(mux)))
}

// Ready reports why the server cannot do its whole job: nil when it can. A dataset
// that is not served at all is no reason, see notServed.
func (s *Server) Ready() error {
	if s.leaving.Load() {
		return errors.New("shutting down")
	}
	select {
	case <-s.ended:
		return errors.New("not serving")
	default:
	}
	for _, d := range s.journal.Datasets() {
		if err := d.Err(); err != nil {
			return fmt.Errorf("dataset %s takes no records: %w", d.Name(), err)
		}
	}
	return nil
}
