package feed

import (
	"errors"
	"fmt"

	"github.com/tapewire/tapewire/feed/lsg"
)

// The errors of Producer and Subscriber.
var (
	// ErrConnect: no session came about: nobody listens, the network failed, or the peer is no gateway. Trying again later may help.
	ErrConnect = errors.New("feed: cannot connect to")
	// ErrConfig: the client's own settings cannot work.
	ErrConfig = errors.New("feed: bad configuration")
	// ErrClosed: the client was closed by its own program.
	ErrClosed = errors.New("feed: closed")
	// ErrState: the call does not fit the state of the session, such as publishing before Start.
	ErrState = errors.New("feed: call out of order")
	// ErrChanged: the gateway's state is not the one that this producer left: another program published under its name and stream, or the journal
	// was replaced.
	ErrChanged = errors.New("feed: the gateway's state has changed")
	// ErrLost: the connection ended without a word from the gateway. What was not acked may or may not be in the tapes.
	ErrLost = errors.New("feed: connection lost")
	// ErrSilent: the gateway sent nothing, not even a heartbeat, for longer than it promised.
	ErrSilent = errors.New("feed: no heartbeat")
)

// RefusedError says that the gateway refused the authentication.
type RefusedError struct {
	Code  string // lsg.CodeAuth or another lsg code
	Text  string // the gateway's own words
	Retry string // lsg.RetryNever, RetryNow or RetryLater; "" when it did not say
}

// Error gives the gateway's words.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("feed: the gateway refused the session (%s): %s", e.Code, e.Text)
}

// ProducerError is the error line with which a gateway ends a producer's session. The records before Record are kept.
type ProducerError lsg.ProducerError

// Error gives all of it on one line.
func (e *ProducerError) Error() string {
	text := "feed: the gateway ended the session: " + e.Code
	if e.HasRecord {
		text += fmt.Sprintf(" at record %d", e.Record)
	}
	if e.Want != "" || e.Got != "" {
		text += fmt.Sprintf(": want %s, got %s", e.Want, e.Got)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Retry != "" {
		text += " (retry " + e.Retry + ")"
	}
	return text
}

// InstrumentError says that one instrument was refused. The session goes on.
type InstrumentError struct {
	Symbol string
	Code   string // lsg.CodeBadSymbol or CodeBadInstrument
	Text   string // the gateway's own words, or what is wrong with the declaration
}

// Error says which and why.
func (e *InstrumentError) Error() string {
	return fmt.Sprintf("feed: instrument %s is refused (%s): %s", e.Symbol, e.Code, e.Text)
}

// LineError says that the gateway refused one line of a producer, such as a gap. The session goes on.
type LineError struct {
	Line string // lsg.LineGap or another kind
	Code string // lsg.CodeBadGap or another lsg code
	Text string // the gateway's own words
}

// Error says which and why.
func (e *LineError) Error() string {
	return fmt.Sprintf("feed: a line (%s) is refused (%s): %s", e.Line, e.Code, e.Text)
}

// SubscriptionError says that the gateway refused a subscription: what it asks for can never come. The session's others go on.
type SubscriptionError struct {
	Schema string // its name
	Text   string // the gateway's own words
}

// Error says which and why.
func (e *SubscriptionError) Error() string {
	return fmt.Sprintf("feed: the subscription to %s is refused: %s", e.Schema, e.Text)
}

// SessionError says why a subscriber's stream ended.
type SessionError struct {
	Code ErrorCode // of the fatal error record that came before the end; ErrorUnset when there was none
	Text string    // of that record
	Err  error     // how the connection ended: io.EOF, a network error, ErrSilent
}

// Error gives the gateway's words, or how the connection ended when there were none.
func (e *SessionError) Error() string {
	if e.Text != "" {
		return fmt.Sprintf("feed: the gateway ended the session (%v): %s", e.Code, e.Text)
	}
	return fmt.Sprintf("feed: the session ended: %v", e.Err)
}

// Unwrap gives how the connection ended.
func (e *SessionError) Unwrap() error { return e.Err }

// IsFinal tells whether trying again with the same settings and records must fail again: a refusal, a fenced session, a bad record.
func IsFinal(err error) bool {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Retry != lsg.RetryNow && refused.Retry != lsg.RetryLater
	}
	var ended *ProducerError
	if errors.As(err, &ended) {
		return ended.Code == lsg.CodeFenced || ended.Retry != lsg.RetryNow && ended.Retry != lsg.RetryLater && ended.Code != lsg.CodeShutdown
	}
	var session *SessionError
	if errors.As(err, &session) {
		return session.final()
	}
	return !errors.Is(err, ErrConnect) && !errors.Is(err, ErrLost)
}

// final tells whether another session would end the same way: after the gateway's own end, its connection limit and a lost connection it need not.
func (e *SessionError) final() bool {
	switch e.Code {
	case ErrorInternal, ErrorConnectionLimit:
		return false
	case ErrorUnset:
		return e.Text != "" || errors.Is(e.Err, ErrVersion) || errors.Is(e.Err, ErrMetadata) || errors.Is(e.Err, ErrTooLarge)
	}
	return true
}
