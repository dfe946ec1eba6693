package lsg

import (
	"fmt"
	"time"
)

// ConnectionLimit begins the error with which a gateway refuses a client beyond its connection limit. That is before it knows who comes, so the reply has
// no code; unlike other refusals this one passes.
const ConnectionLimit = "connection limit of this gateway reached"

// AuthReply is the server's answer to an AuthRequest and, for a subscriber, the last text that it ever receives.
type AuthReply struct {
	Success     bool
	SessionID   uint64
	Accepted    uint64 // with HasAccepted: records of the producer's stream that are in the tapes; the producer goes on from there
	HasAccepted bool
	Missing     uint64        // the records directly before Accepted that the producer's resume passed over, in this session or just before it: a gap in the ledger
	Head        Head          // of the producer's stream, as it was known when the session began; the zero value: nobody told
	Retain      time.Duration // with HasAccepted: how long the gateway keeps records after they were written; 0: for ever, or it does not say
	Error       string        // why not, when Success is false
}

// Append writes the line with its newline: exactly two keys for a subscriber and no trailing '|', since the Python client refuses more and the
// C++ client loses the session ID otherwise. Only a producer's reply has accepted, missing, head and retain_s. The error's text is cleaned.
func (r AuthReply) Append(dst []byte) []byte {
	w := lineWriter{buf: dst, start: len(dst)}
	w.flag("success", r.Success)
	if !r.Success {
		w.text("error", Clean(r.Error))
		return append(w.buf, '\n')
	}
	w.number("session_id", r.SessionID)
	if r.HasAccepted {
		w.number("accepted", r.Accepted)
		if r.Missing > 0 {
			w.number("missing", r.Missing)
		}
		w.optional("head", r.Head.String())
		if s := uint64(r.Retain / time.Second); s > 0 {
			w.number("retain_s", s)
		}
	}
	return append(w.buf, '\n')
}

// ParseAuthReply reads the line. A session_id that is no number counts as absent: some gateways send any string there.
func ParseAuthReply(line string) (AuthReply, error) {
	f, err := Parse(line)
	if err != nil {
		return AuthReply{}, err
	}
	if _, ok := f.Lookup("success"); !ok {
		return AuthReply{}, fmt.Errorf("%w: success; the line is no answer to an authentication", ErrMissing)
	}
	r := AuthReply{Error: f.Get("error")}
	if r.Success, err = f.flag("success", false); err != nil {
		return AuthReply{}, err
	}
	if id, ok, err := f.number("session_id"); ok && err == nil {
		r.SessionID = id
	}
	if r.Accepted, r.HasAccepted, err = f.number("accepted"); err != nil {
		return AuthReply{}, err
	}
	if n, ok, err := f.number("missing"); ok && err == nil {
		r.Missing = min(n, r.Accepted)
	}
	if s, ok, err := f.number("retain_s"); ok && err == nil && s <= maxRetain {
		r.Retain = time.Duration(s) * time.Second
	}
	r.Head, err = f.head()
	return r, err
}

// maxRetain bounds what is believed of retain_s, in seconds.
const maxRetain = 200 * 365 * 24 * 3600
