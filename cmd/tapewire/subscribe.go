package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

type subscribeCmd struct {
	gatewayFlag
	Dataset       string     `help:"The dataset; it need not exist yet." placeholder:"D" required:""`
	Schema        []string   `help:"The schema, or several." placeholder:"S" required:""`
	Symbols       names      `help:"Only these; everything when not given." placeholder:"A,B"`
	StypeIn       string     `help:"How the symbols are written: raw_symbol or instrument_id (default ${default})." placeholder:"T" default:"raw_symbol"`
	Start         *startTime `help:"Where to begin, by the records' own times: 0 for everything kept, ns since 1970, 2026-01-02T03:04:05Z, 09:30 for today (UTC), or -5m for five minutes ago. It is a position in the tape, not a filter. Live only when not given." placeholder:"T"`
	UntilReplayed bool       `help:"End when the past, which --start asks for, has come; live records that come meanwhile are left out."`
	Limit         uint64     `help:"End after so many records; 0 is no limit." placeholder:"N"`
	Format        string     `help:"pretty for people, dbn for programs; dbn when -o names a .dbn file." placeholder:"F" enum:"pretty,dbn," default:""`
	Output        string     `short:"o" help:"Write to a file instead of standard output; it must not exist yet." placeholder:"FILE"`
	Force         bool       `help:"Let -o replace a file that exists."`
}

// Help teaches by example.
func (subscribeCmd) Help() string {
	return `Examples:

  tapewire subscribe --dataset EQUS.LEAN --schema trades
  tapewire subscribe --dataset EQUS.LEAN --schema trades --symbols SPY,IBM --start -5m
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 0 --until-replayed -o spy.dbn
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 0 --format dbn | dbn - --json

Records go to standard output or the file; what the gateway has to say goes to standard error. The key comes
from TAPEWIRE_KEY or DATABENTO_API_KEY. The exit code is 5 when the gateway told of missing records, or when --until-replayed ended and a symbol was not known.`
}

// startTime is a moment as --start takes it, in ns.
type startTime uint64

// Decode reads what lsg.ParseTime reads, or a duration before now.
func (s *startTime) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	ns, err := parseStart(text, time.Now())
	*s = startTime(ns)
	return err
}

// clockTime is a time of today.
var clockTime = regexp.MustCompile(`^[0-9]{2}:[0-9]{2}`)

func parseStart(text string, now time.Time) (uint64, error) {
	if clockTime.MatchString(text) {
		text = now.UTC().Format(time.DateOnly) + "T" + text
	}
	if !strings.HasPrefix(text, "-") {
		return lsg.ParseTime(text)
	}
	ago, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time before now; write a duration such as -5m or -1h30m", text)
	}
	return uint64(max(0, now.Add(ago).UnixNano())), nil
}

// Run subscribes and copies what comes to the output until there is an end. The output is opened once there is a session, so that a wrong address
// or key does not empty a file that is there.
func (s *subscribeCmd) Run(ctx context.Context, c console) error {
	subscriptions, err := s.subscriptions()
	if err != nil {
		return err
	}
	format, err := s.outputFormat(c)
	if err != nil {
		return err
	}
	secure, err := s.tlsConfig()
	if err != nil {
		return err
	}
	r := receiver{cmd: s, screen: c, replaying: len(subscriptions)}
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: s.address(), Key: clientKey(), Dataset: s.Dataset, Client: "tapewire subscribe", TLS: secure})
	if err != nil {
		return r.ended(ctx, err)
	}
	defer sub.Close()
	if r.out, err = s.openOutput(c, format, subscriptions); err != nil {
		return err
	}
	err = r.run(ctx, sub, subscriptions)
	if closeErr := r.out.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	r.total()
	switch {
	case err == nil && r.missing > 0:
		err = withExit(exitMissing, fmt.Errorf("the gateway told %d times of missing records; they are listed above", r.missing))
	case err == nil && r.unresolved > 0 && s.UntilReplayed:
		err = withExit(exitMissing, fmt.Errorf("symbols that the gateway does not know are missing in this replay; they are listed above"))
	}
	return err
}

// subscriptions checks the flags that only make sense together.
func (s *subscribeCmd) subscriptions() ([]feed.Subscription, error) {
	if err := checkDataset(s.Dataset); err != nil {
		return nil, err
	}
	stype, err := feed.ParseSType(s.StypeIn)
	if err != nil {
		return nil, withExit(exitUsage, fmt.Errorf("--stype-in: %w", err))
	}
	for _, symbol := range s.Symbols {
		if _, err := strconv.ParseUint(symbol, 10, 32); err != nil && stype == feed.STypeInstrumentID {
			return nil, usage("--symbols %s: with --stype-in instrument_id a symbol is a number of 32 bits; leave out --stype-in for names", symbol)
		}
	}
	if s.UntilReplayed && s.Start == nil {
		return nil, usage("--until-replayed ends where the past ends, but nothing of the past is asked for; add --start 0 or another time")
	}
	var list []feed.Subscription
	seen := map[feed.Schema]bool{}
	for _, name := range s.Schema {
		schema, err := feed.ParseSchema(name)
		if err != nil {
			return nil, withExit(exitUsage, fmt.Errorf("--schema: %w", err))
		}
		if seen[schema] {
			continue
		}
		seen[schema] = true
		list = append(list, feed.Subscription{Schema: schema, SType: stype, Symbols: s.Symbols, Start: (*uint64)(s.Start)})
	}
	return list, nil
}

// receiver is one session of `tapewire subscribe`.
type receiver struct {
	cmd       *subscribeCmd
	screen    console
	out       recordOutput
	replaying int // schemas whose past has not come whole
	records   uint64
	missing   int // times that the gateway told of missing records

	unresolved int // times that the gateway did not know symbols
}

// total says how much came, where that is not seen otherwise.
func (r *receiver) total() {
	switch {
	case r.cmd.Output != "":
		fmt.Fprintf(r.screen.err, "%s in %s\n", counted(r.records, "record"), r.cmd.Output)
	case r.cmd.UntilReplayed:
		fmt.Fprintln(r.screen.err, counted(r.records, "record"))
	}
}

// run ends at a limit, at the end of the past, at a signal or at an error.
func (r *receiver) run(ctx context.Context, sub *feed.Subscriber, subscriptions []feed.Subscription) error {
	for _, s := range subscriptions {
		if err := sub.Subscribe(s); err != nil {
			return r.ended(ctx, err)
		}
	}
	if _, err := sub.Start(); err != nil {
		return r.ended(ctx, err)
	}
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

// ended words why a session is over; that the user ended it is no error.
func (r *receiver) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return clientError(r.cmd.address(), err)
}

// take handles one record and reports whether it was the last one wanted.
func (r *receiver) take(rec feed.Record) (done bool, err error) {
	if rec.RType().IsControl() {
		if err := r.out.Control(rec); err != nil {
			return false, err
		}
		return r.control(rec), nil
	}
	if err := r.out.Data(rec); err != nil {
		return false, err
	}
	r.records++
	return r.records == r.cmd.Limit, nil
}

// control tells the user what the gateway says and keeps count of what matters.
func (r *receiver) control(rec feed.Record) (done bool) {
	if m, ok := feed.View[feed.ErrorMsg](rec); ok {
		fmt.Fprintf(r.screen.err, "gateway: error %d: %s\n", m.Code, lsg.Printable(m.Text()))
		switch m.Code {
		case feed.ErrorSkippedRecords:
			r.missing++
		case feed.ErrorSymbolResolutionFailed:
			r.unresolved++
		}
		return false
	}
	m, ok := feed.View[feed.SystemMsg](rec)
	if !ok || m.Code == feed.SystemHeartbeat {
		return false
	}
	text := m.Text()
	fmt.Fprintln(r.screen.err, "gateway:", lsg.Printable(sentence(text)))
	switch {
	case m.Code == feed.SystemReplayCompleted:
		r.replaying--
		return r.cmd.UntilReplayed && r.replaying == 0
	case m.Code == feed.SystemUnset && lsg.IsGap(text):
		if gap, err := lsg.ParseGap(text); err != nil || gap.Cause != lsg.CauseSkipped { // a skip came as an error already
			r.missing++
		}
	}
	return false
}

// sentence is a note of the gateway for a person: one that waits for a first record says so in its last field.
func sentence(text string) string {
	if !strings.HasPrefix(text, "waiting|") {
		return text
	}
	if _, words, ok := strings.Cut(text, "|text="); ok {
		return words
	}
	return text
}
