package gateway

import (
	"context"
	"errors"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// refusal is an error with the code it has on the wire.
type refusal struct {
	code      string
	record    uint64
	hasRecord bool
	want, got string
	text      string
}

func (r *refusal) Error() string { return r.code + ": " + r.text }

// shuttingDown is what who comes too late is told.
var shuttingDown = lsg.ProducerError{Code: lsg.CodeShutdown, Retry: lsg.RetryLater, Text: "the gateway is shutting down"}

// explain turns an error into the line a producer gets.
func (p *producer) explain(err error) lsg.ProducerError {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return lsg.ProducerError{Code: r.code, Record: r.record, HasRecord: r.hasRecord, Want: r.want, Got: r.got, Retry: lsg.RetryNever, Text: r.text}
	case errors.Is(err, journal.ErrFenced):
		return lsg.ProducerError{Code: lsg.CodeFenced, Retry: lsg.RetryNever, Text: err.Error()}
	case errors.Is(err, journal.ErrOwned):
		return lsg.ProducerError{Code: lsg.CodeOwned, Retry: lsg.RetryNever, Text: err.Error()}
	case errors.Is(err, journal.ErrNoStream):
		return lsg.ProducerError{Code: lsg.CodeNoStream, Retry: lsg.RetryNever, Text: err.Error()}
	case errors.Is(err, journal.ErrIDConflict):
		return lsg.ProducerError{Code: lsg.CodeIDConflict, Retry: lsg.RetryNever, Text: err.Error() + "; declare it with an instrument= line and use the id you get, or publish to another dataset"}
	case errors.Is(err, journal.ErrStreamHead):
		return lsg.ProducerError{Code: lsg.CodeStreamHead, Retry: lsg.RetryNever, Text: err.Error()}
	case errors.Is(err, journal.ErrLimit):
		return lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryNever, Text: err.Error()}
	case errors.Is(err, journal.ErrClosed), errors.Is(err, context.Canceled):
		return shuttingDown
	case errors.Is(err, feed.ErrMetadata), errors.Is(err, feed.ErrVersion), errors.Is(err, journal.ErrName), errors.Is(err, journal.ErrRecord):
		return lsg.ProducerError{Code: lsg.CodeBadMetadata, Retry: lsg.RetryNever, Text: err.Error()}
	}
	return lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryLater, Text: err.Error()}
}

// offLoop is returned for work that takes too long for the event loop: the
// producer is parked while do runs, and goes on when it is done.
type offLoop struct {
	do func(context.Context) error
}

func (*offLoop) Error() string { return "this takes a while" }

// again reports whether what was not taken is to be taken again later.
func again(err error) bool {
	var slow *offLoop
	return waits(err) || errors.As(err, &slow)
}
