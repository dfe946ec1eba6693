package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// receiver is one run of `tapewire subscribe`.
type receiver struct {
	cmd     *subscribeCmd
	screen  console
	out     recordOutput
	rec     *recording
	sub     *feed.ResumingSubscriber
	open    int // schemas whose past, or all that was asked for, has not come whole
	records uint64
	missing int // times that the gateway told of missing records

	unresolved int       // times that the gateway did not know symbols
	lostAt     time.Time // of the outage that was told last; zero while there is a session
	lostTold   time.Time
	sessions   int // beyond the first one
}

// total says how much came, where that is not seen otherwise.
func (r *receiver) total() {
	switch {
	case r.cmd.Output != "":
		fmt.Fprintf(r.screen.err, "%s in %s%s\n", counted(r.records, "record"), r.cmd.Output, r.rec.added(r.records))
	case r.cmd.UntilReplayed || r.cmd.End != nil:
		fmt.Fprintln(r.screen.err, counted(r.records, "record"))
	}
}

// run ends at a limit, at the end of what was asked for, at a signal or at an error.
func (r *receiver) run(ctx context.Context, sub *feed.ResumingSubscriber) error {
	r.sub = sub
	for rec, err := range sub.Records(ctx) {
		if err != nil {
			return r.ended(ctx, err)
		}
		done, err := r.take(rec)
		if err != nil || done {
			return err
		}
	}
	return nil
}

// ended words why it is over; that the user ended it is no error.
func (r *receiver) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, feed.ErrChanged):
		return withExit(exitMissing, fmt.Errorf("%w\nthis cannot go on where it was; begin anew with another -o FILE, or with --start", err))
	}
	return clientError(r.cmd.address(), err)
}

// tellAgain is how often an outage that goes on is told.
const tellAgain = time.Minute

// lost tells of an outage.
func (r *receiver) lost(err error, pause time.Duration) {
	now := time.Now()
	if r.lostAt.IsZero() {
		r.lostAt = now
	} else if now.Sub(r.lostTold) < tellAgain {
		return
	}
	r.lostTold = now
	fmt.Fprintf(r.screen.err, "%s; trying again until it is there, Ctrl-C ends that\n", lsg.Printable(plain(lossText(err))))
}

// again tells that an outage is over.
func (r *receiver) again() {
	r.sessions++
	fmt.Fprintf(r.screen.err, "connected after %v; it goes on where it was\n", time.Since(r.lostAt).Round(time.Millisecond))
	r.lostAt = time.Time{}
}

// take handles one record and reports whether it was the last one wanted.
func (r *receiver) take(rec feed.Record) (done bool, err error) {
	if rec.RType().IsControl() {
		if err := r.out.Control(rec); err != nil {
			return false, err
		}
		return r.control(rec)
	}
	if err := r.out.Data(rec); err != nil {
		return false, err
	}
	if r.records++; r.records == r.cmd.Limit {
		return true, nil
	}
	if r.rec.due() {
		return false, r.rec.save(r.sub.Progress(), r.records, r.out)
	}
	return false, nil
}

// control tells the user what the gateway says and keeps count of what matters.
func (r *receiver) control(rec feed.Record) (done bool, err error) {
	if m, ok := feed.View[feed.ErrorMsg](rec); ok {
		fmt.Fprintf(r.screen.err, "gateway: error %d: %s\n", m.Code, lsg.Printable(m.Text()))
		switch m.Code {
		case feed.ErrorSkippedRecords:
			r.missing++
		case feed.ErrorSymbolResolutionFailed:
			r.unresolved++
		}
		return false, nil
	}
	m, ok := feed.View[feed.SystemMsg](rec)
	if !ok || m.Code == feed.SystemHeartbeat || m.Code == feed.SystemSubscriptionAck && r.sessions > 0 {
		return false, nil
	}
	text := m.Text()
	if m.Code == feed.SystemUnset && lsg.IsPosition(text) {
		if !r.rec.due() { // each schema has one a second
			return false, nil
		}
		return false, r.rec.save(r.sub.Progress(), r.records, r.out)
	}
	fmt.Fprintln(r.screen.err, "gateway:", lsg.Printable(sentence(text)))
	if w, err := lsg.ParseWaiting(text); err == nil && w.Symbol != "" && m.Code == feed.SystemUnset {
		r.unresolved++
	}
	switch {
	case m.Code == feed.SystemReplayCompleted && r.cmd.UntilReplayed,
		m.Code == feed.SystemUnset && lsg.IsEnd(text) && !r.cmd.UntilReplayed: // of a past that ends, the gateway says both
		r.open--
		return r.open == 0, nil
	case m.Code == feed.SystemUnset && lsg.IsGap(text):
		if gap, err := lsg.ParseGap(text); err != nil || gap.Cause != lsg.CauseSkipped { // a skip came as an error already
			r.missing++
		}
		return false, r.rec.save(r.sub.Progress(), r.records, r.out) // what is told once must be known as told
	}
	return false, nil
}

// sentence is a note of the gateway for a person: one that waits for a first record says so in its last field.
func sentence(text string) string {
	if w, err := lsg.ParseWaiting(text); err == nil && w.Words != "" {
		return w.Words
	}
	return text
}
