package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// receiver is one run of `tapewire subscribe`.
type receiver struct {
	cmd     *subscribeCmd
	screen  console
	sink    *sink
	out     recordOutput // nil until something came that belongs into it
	rec     *recording
	sub     *feed.ResumingSubscriber
	over    map[string]bool // schemas whose past, or all that was asked for, has come whole
	records uint64
	unheard unheard

	lostAt   time.Time // of the outage that was told last; zero while there is a session
	lostTold time.Time
	sessions int // beyond the first one
}

// total says how much came, where that is not seen otherwise.
func (r *receiver) total() {
	switch {
	case r.cmd.Output != "":
		fmt.Fprintf(r.screen.err, "%s in %s%s\n", counted(r.records, "record"), r.cmd.Output, r.rec.added(r.records))
	case r.ends():
		fmt.Fprintln(r.screen.err, counted(r.records, "record"))
	}
}

// receive is a run from its first session to its verdict. A file is taken once there is a session, and changed once something comes for it: a wrong address or
// key, or a request that is refused, does not empty one that is there.
func (r *receiver) receive(ctx context.Context, cfg feed.ResumingSubscriberConfig) error {
	sub, err := feed.DialResumingSubscriber(ctx, cfg)
	if err != nil {
		return r.ended(ctx, err)
	}
	defer sub.Close()
	if err := r.sink.reserve(r.rec); err != nil {
		return err
	}
	err = r.run(ctx, sub)
	if err == nil && r.out == nil {
		err = r.open()
	}
	if r.out == nil {
		return err
	}
	if err == nil && ctx.Err() == nil {
		r.settle(ctx, cfg.SubscriberConfig)
	}
	r.rec.saved.Unheard = r.unheard
	err = errors.Join(err, r.save(), r.out.Close())
	r.total()
	if err == nil {
		err = r.verdict(ctx.Err() != nil)
	}
	return err
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
	r.unheard.again(r.over) // this session tells again of what is not there
	fmt.Fprintf(r.screen.err, "connected after %v; it goes on where it was\n", time.Since(r.lostAt).Round(time.Millisecond))
	r.lostAt = time.Time{}
}

// take handles one record and reports whether it was the last one wanted.
func (r *receiver) take(rec feed.Record) (done bool, err error) {
	if r.out == nil && begins(rec) {
		if err := r.open(); err != nil {
			return false, err
		}
	}
	if rec.RType().IsControl() {
		if r.out != nil {
			if err := r.out.Control(rec); err != nil {
				return false, err
			}
		}
		return r.control(rec)
	}
	r.unheard.hear(rec)
	if err := r.out.Data(rec); err != nil {
		return false, err
	}
	if r.records++; r.records == r.cmd.Limit {
		return true, nil
	}
	if r.rec.due() {
		return false, r.save()
	}
	return false, nil
}

// begins reports whether a record belongs into the output, or shows that others will: a request that is refused as a whole brings none, and leaves a file as it was.
func begins(rec feed.Record) bool {
	if m, ok := feed.View[feed.SystemMsg](rec); ok {
		return m.Code != feed.SystemSubscriptionAck && !lsg.IsWaiting(m.Text())
	}
	return rec.RType() != feed.RTypeError
}

// open opens the output.
func (r *receiver) open() (err error) {
	r.out, err = r.sink.open(r.rec)
	return err
}

// save puts what was received on disk.
func (r *receiver) save() error { return r.rec.save(r.sub.Progress(), r.records, r.out) }

// control tells the user what the gateway says and keeps count of what matters.
func (r *receiver) control(rec feed.Record) (done bool, err error) {
	if m, ok := feed.View[feed.ErrorMsg](rec); ok {
		fmt.Fprintf(r.screen.err, "gateway: error %d: %s\n", m.Code, lsg.Printable(plainText(m.Text())))
		switch m.Code {
		case feed.ErrorSkippedRecords:
			r.rec.lack(m.Text())
		case feed.ErrorSymbolResolutionFailed:
			if u, ok := lsg.ParseUnresolved(m.Text()); ok && u.Symbol != "" {
				r.unheard.tie(u.Symbol)
			}
			return false, nil // when all are refused, that is the end of the stream
		}
		return false, nil
	}
	r.unheard.hear(rec)
	m, ok := feed.View[feed.SystemMsg](rec)
	if !ok || m.Code == feed.SystemHeartbeat || m.Code == feed.SystemSubscriptionAck && r.sessions > 0 {
		return false, nil
	}
	text := m.Text()
	if m.Code == feed.SystemUnset && lsg.IsPosition(text) {
		if !r.rec.due() { // each schema has one a second
			return false, nil
		}
		return false, r.save()
	}
	fmt.Fprintln(r.screen.err, "gateway:", lsg.Printable(sentence(text)))
	if w, err := lsg.ParseWaiting(text); err == nil && m.Code == feed.SystemUnset {
		r.unheard.wait(w)
	}
	switch {
	case m.Code == feed.SystemReplayCompleted && r.cmd.UntilReplayed:
		r.over[replayedSchema(text)] = true
		return r.done(), nil
	case m.Code == feed.SystemUnset && lsg.IsEnd(text) && !r.cmd.UntilReplayed: // of a past that ends, the gateway says both
		e, err := lsg.ParseEnd(text)
		if err != nil {
			return false, err
		}
		r.over[e.Schema] = true
		return r.done(), nil
	case m.Code == feed.SystemUnset && lsg.IsGap(text):
		if gap, err := lsg.ParseGap(text); err != nil || gap.Cause != lsg.CauseSkipped { // a skip came as an error already
			r.rec.lack(text)
		}
		return false, r.save() // what is told once must be known as told
	}
	return false, nil
}

// ends reports whether the request has an end.
func (r *receiver) ends() bool { return r.cmd.UntilReplayed || r.cmd.End != nil }

// done reports whether nothing more can come: each schema has come whole, or was refused.
func (r *receiver) done() bool {
	left := map[string]bool{}
	for _, schema := range r.rec.saved.Schemas {
		left[schema] = !r.over[schema]
	}
	for _, p := range r.rec.saved.Progress { // of an earlier run
		left[p.Schema] = left[p.Schema] && !p.Ended
	}
	for _, refused := range r.sub.Refused() {
		left[refused.Schema] = false
	}
	for _, open := range left {
		if open {
			return false
		}
	}
	return true
}

// replayedSchema is whose past has come, of the text that says so.
func replayedSchema(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(text, "Finished "), " replay")
}

// settle asks once more for what was not heard of, when the request has come to its end.
func (r *receiver) settle(ctx context.Context, cfg feed.SubscriberConfig) {
	r.sub.Close()
	if err := r.unheard.question(ctx, cfg, r.rec.saved.Schemas); err != nil && ctx.Err() == nil {
		fmt.Fprintf(r.screen.err, "whether what did not come was ever published could not be asked: %s\n", lsg.Printable(plain(lossText(err))))
	}
}

// verdict is what a run that went well lacks all the same. What was refused never comes; what nobody has published is missing once the request has come to its
// end, which one that the user ends has not.
func (r *receiver) verdict(interrupted bool) error {
	if r.sub != nil {
		if refused := r.sub.Refused(); len(refused) > 0 {
			return withExit(exitRefused, refusal(refused))
		}
	}
	if err := r.rec.lacks(); err != nil || interrupted {
		return err
	}
	return r.unheard.verdict(r.cmd.Dataset)
}

// refusal names all subscriptions that were refused.
func refusal(list []*feed.SubscriptionError) error {
	var errs []error
	for _, refused := range list {
		errs = append(errs, refused)
	}
	return errors.Join(errs...)
}

// sentence is a note of the gateway for a person: of one that waits for a first record, what that is and its words.
func sentence(text string) string {
	w, err := lsg.ParseWaiting(text)
	switch {
	case err != nil || w.Words == "":
		return text
	case w.Symbol != "":
		return w.Schema + " of " + w.Symbol + ": " + w.Words
	case w.InstrumentID != "":
		return "instrument_id " + w.InstrumentID + ": " + w.Words
	}
	return w.Words
}
