package gateway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// The events of the audit log.
const (
	auditAccepted      = "auth_accepted"
	auditRefused       = "auth_refused"
	auditSubscribed    = "subscribed"
	auditUnsubscribed  = "unsubscribed"
	auditSessionEnd    = "session_end"
	auditPublishBegin  = "publish_begin"
	auditPublishEnd    = "publish_end"
	auditReload        = "keys_reloaded"
	auditReloadRefused = "keys_reload_refused"
	auditRevoked       = "key_revoked"
	auditAdmin         = "admin"
	auditLost          = "entries_lost"
)

// auditEntry is one line of the audit log; what does not concern an event is left out.
type auditEntry struct {
	Time   time.Time `json:"ts"`
	Event  string    `json:"event"`
	Key    string    `json:"key,omitempty"` // the key's name, never the key; "open" without a key file
	Remote string    `json:"remote,omitempty"`
	Client string    `json:"client,omitempty"`

	Session  uint64 `json:"session,omitempty"`
	Role     string `json:"role,omitempty"` // subscriber or producer
	Dataset  string `json:"dataset,omitempty"`
	Producer string `json:"producer,omitempty"`
	Stream   string `json:"stream,omitempty"`

	Schema        string   `json:"schema,omitempty"`
	Stype         string   `json:"stype,omitempty"`
	SymbolCount   int      `json:"symbol_count,omitempty"` // of ALL_SYMBOLS there is none
	Symbols       []string `json:"symbols,omitempty"`
	SymbolsSHA256 string   `json:"symbols_sha256,omitempty"` // instead of a long list: of each symbol and a newline
	Start         string   `json:"start,omitempty"`          // of a replay
	Resume        string   `json:"resume,omitempty"`         // EPOCH:SEQ

	Accepted *uint64 `json:"accepted,omitempty"` // records of the stream that the tapes had
	Records  *uint64 `json:"records,omitempty"`  // data records sent, or committed
	Bytes    *uint64 `json:"bytes,omitempty"`    // sent, control records included
	Why      string  `json:"why,omitempty"`

	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	Keys   int    `json:"keys,omitempty"`
	Lost   uint64 `json:"lost,omitempty"`
}

func (e auditEntry) why(reason string) auditEntry {
	e.Why = reason
	return e
}

// finish does what an event loop has no time for: it hides secrets, and makes a
// digest of a list of more than listed symbols.
func (e *auditEntry) finish(listed int) {
	e.Client, e.Why, e.Path = shown(e.Client), shown(e.Why), shown(e.Path)
	if len(e.Symbols) <= listed {
		list := make([]string, len(e.Symbols)) // the list is the session's
		for i, symbol := range e.Symbols {
			list[i] = shown(symbol)
		}
		e.Symbols = list
		return
	}
	digest := sha256.New()
	for _, symbol := range e.Symbols {
		io.WriteString(digest, symbol+"\n")
	}
	e.Symbols, e.SymbolsSHA256 = nil, hex.EncodeToString(digest.Sum(nil))
}

// shown is text from outside for a person who looks at the log.
func shown(text string) string { return lsg.Printable(withoutSecrets(text)) }

const (
	roleSubscriber = "subscriber"
	roleProducer   = lsg.RoleProducer
)

// refusedEntry is of a client that was not let in.
func (c *client) refusedEntry(req *lsg.AuthRequest, key *Key, reason string) auditEntry {
	e := auditEntry{Event: auditRefused, Remote: c.remote, Why: reason}
	if key != nil {
		e.Key = key.Name
	}
	if req != nil {
		e.Client, e.Dataset, e.Role = req.Client, req.Dataset, cmp.Or(req.Role, roleSubscriber)
		if !looksLikeKey(req.Producer) && !looksLikeKey(req.Stream) {
			e.Producer, e.Stream = req.Producer, req.Stream
		}
	}
	return e
}

func (s *session) entry(event string) auditEntry {
	return auditEntry{
		Event: event, Key: keyName(s.key), Remote: s.remote, Client: s.auth.Client, Session: s.id, Role: roleSubscriber, Dataset: s.auth.Dataset,
	}
}

// audited notes a complete subscription, or that one is taken back.
func (s *session) audited(r *request) {
	if s.loop.srv.audit == nil {
		return
	}
	e := s.entry(auditSubscribed)
	if r.remove {
		e.Event = auditUnsubscribed
	}
	e.Schema, e.Stype, e.SymbolCount, e.Symbols = r.schema.String(), r.stype.String(), len(r.symbols), r.symbols
	if r.symbols == nil {
		e.Symbols = []string{lsg.AllSymbols}
	}
	switch {
	case r.hasResume:
		e.Resume = fmt.Sprintf("%d:%d", r.resume.Epoch, r.resume.Seq)
	case r.hasStart && r.start == 0:
		e.Start = "0"
	case r.hasStart:
		e.Start = time.Unix(0, int64(r.start)).UTC().Format(time.RFC3339Nano)
	}
	s.loop.srv.audit.add(e)
}

// endEntry is of a session that is over: what it got, and why it ended.
func (s *session) endEntry(why string) auditEntry {
	e := s.entry(auditSessionEnd).why(cmp.Or(s.said, why))
	e.Records, e.Bytes = new(s.sentRecords), new(s.sentBytes)
	return e
}

func (p *producer) entry(event string) auditEntry {
	return auditEntry{
		Event: event, Key: keyName(p.key), Remote: p.client.remote, Client: p.req.Client, Session: p.session, Role: roleProducer,
		Dataset: p.req.Dataset, Producer: p.req.Producer, Stream: p.req.Stream,
	}
}

// say notes why the server ends the producer, for the audit log. The first reason counts.
func (p *producer) say(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = cmp.Or(p.said, why)
}

// auditEnd notes that a publishing session is over.
func (p *producer) auditEnd(err error) {
	if p.srv.audit == nil || !p.opened {
		return
	}
	why := "closed by the client"
	switch {
	case p.ingest.ended.Load():
		why = lsg.EndSession
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
		why = err.Error()
	}
	p.mu.Lock()
	e := p.entry(auditPublishEnd).why(cmp.Or(p.said, why))
	p.mu.Unlock()
	e.Records = new(p.writer.Accepted() - p.acceptedBefore)
	p.srv.audit.add(e)
}
