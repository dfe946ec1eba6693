package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

type subscribeCmd struct {
	gatewayFlag
	outputFlags
	Dataset       string     `help:"The dataset; it need not exist yet." placeholder:"D" required:""`
	Schema        []string   `help:"The schema, or several." placeholder:"S" required:""`
	Symbols       names      `help:"Only these; everything when not given." placeholder:"A,B"`
	StypeIn       string     `help:"How the symbols are written: raw_symbol or instrument_id (default ${default})." placeholder:"T" default:"raw_symbol"`
	Start         *startTime `help:"Where to begin, by the records' own times: 0 for everything kept, a date (2026-01-02), 2026-01-02T03:04:05Z, ns since 1970, 09:30 for today (UTC), or -5m for five minutes ago. Live only when not given." placeholder:"T"`
	End           *startTime `help:"The first time that is not wanted any more, written like --start: a date is its first moment, so --end 2026-01-06 has all of the 5th." placeholder:"T"`
	UntilReplayed bool       `help:"End when the past, which --start asks for, has come. Of several schemas, each goes on live until the last one's past is here."`
	Limit         uint64     `help:"End after so many records; 0 is no limit." placeholder:"N"`
	Resume        bool       `help:"Go on with the file of -o where it ends, or begin it; also wait for a gateway that does not run yet."`
	NoReconnect   bool       `name:"no-reconnect" help:"End with code 3 when the connection is lost, instead of going on by itself."`
}

// Help teaches by example.
func (subscribeCmd) Help() string {
	return `Examples:

  tapewire subscribe --dataset EQUS.LEAN --schema trades
  tapewire subscribe --dataset EQUS.LEAN --schema trades --symbols SPY,IBM --start -5m
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 2013-10-07 --end 2013-10-08 -o monday.dbn
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 0 --until-replayed -o spy.csv
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 0 --resume -o all.dbn
  tapewire subscribe --dataset EQUS.LEAN --schema trades --start 0 --format dbn | dbn - --json

Records go to standard output or the file; what the gateway has to say goes to standard error. Times that are
printed, and those of --start and --end, are ts_recv for bbo, cbbo and definition and ts_event for other schemas.

DBN on standard output is a stream, as a captured live session is: its header has no names and no schema, and each
record's name stands before it, told anew for each day. It is for programs that follow it: tapewire publish -,
dbn - --json (--csv with --schema trades), Python's DBNStore.from_bytes(...).to_df(schema="trades"). One of tbbo has
no names: without a header that says tbbo its records would be mbp-1. A file of -o has schema and names in its header;
an id that changes its name within a day has none there for that day, which is told.

A lost connection is dialled again, and it goes on with the next record: none twice, none missing. With -o that
holds over the death of this program too: FILE.position says where FILE ends (and FILE.symbols what its symbols
are), --resume goes on there, and what came after the last position is received again. Give the same flags; --start then only
counts for a file that is new. What a recovery cut or what has expired meanwhile is told.

Ctrl-C and SIGTERM end it in order: files are whole, the code is 0. It is 5 when the gateway told of missing records,
and when the request came to its end (--until-replayed, --end, --limit) and something that was asked for had never been
published by then (tapewire --help says what that is), inside of the span or not. So it is of a symbol that several
share but for case. All of it is named, again by --resume of a file that lacks it. What the gateway refuses, another
--stype-in, never comes: the code is 4, at once when it refused every subscription, and the file of -o is as it was;
else when the others have ended. The key comes from TAPEWIRE_KEY or DATABENTO_API_KEY.`
}

// Run subscribes and copies what comes to the output until there is an end.
func (s *subscribeCmd) Run(ctx context.Context, c console) error {
	subscriptions, err := s.subscriptions()
	if err != nil {
		return err
	}
	secure, err := s.tlsConfig()
	if err != nil {
		return err
	}
	sink, err := s.sink(c, s.metadata(subscriptions), s.Resume)
	if err != nil {
		return err
	}
	rec, err := s.recording(sink, subscriptions)
	if err != nil {
		return err
	}
	defer rec.Close()
	if s.UntilReplayed && rec.saved.Start == nil {
		return usage("%s was begun without --start, so no past of it ends; leave out --until-replayed", s.Output)
	}
	r := receiver{cmd: s, screen: c, sink: sink, rec: rec, over: rec.over(), records: rec.saved.Records, unheard: rec.saved.Unheard}
	if s.Limit > 0 && r.records >= s.Limit || rec.open() == 0 { // an earlier run has it all
		r.total()
		return r.verdict(false)
	}
	r.unheard.again(r.over)
	if s.StypeIn == feed.STypeInstrumentID.String() {
		r.unheard.ask(s.Symbols)
	}
	cfg := feed.ResumingSubscriberConfig{
		SubscriberConfig: feed.SubscriberConfig{Addr: s.address(), Key: clientKey(), Dataset: s.Dataset, Client: "tapewire subscribe", TLS: secure},
		Subscriptions:    subscriptions, Progress: rec.saved.Progress, Once: s.NoReconnect, Patient: s.Resume, Lost: r.lost, Again: r.again,
	}
	if s.Output != "" {
		cfg.SlowReader = lsg.SlowWarn // a file is to have every record, however slow the disk
	}
	return r.receive(ctx, cfg)
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
	if err := s.Symbols.check(); err != nil {
		return nil, err
	}
	for _, symbol := range s.Symbols {
		if _, err := strconv.ParseUint(symbol, 10, 32); err != nil && stype == feed.STypeInstrumentID && !s.Symbols.all() {
			return nil, usage("--symbols %s: with --stype-in instrument_id a symbol is a number of 32 bits; leave out --stype-in for names", symbol)
		}
	}
	switch {
	case s.UntilReplayed && s.Start == nil:
		return nil, usage("--until-replayed ends where the past ends, but nothing of the past is asked for; add --start 0 or another time")
	case s.Resume && s.NoReconnect:
		return nil, usage("--resume goes on by itself and --no-reconnect does not; give one of them")
	}
	if err := checkSpan(s.Start, s.End); err != nil {
		return nil, err
	}
	var list []feed.Subscription
	names := map[feed.RType]string{}
	for _, name := range s.Schema {
		schema, err := feed.ParseSchema(name)
		if err != nil {
			return nil, withExit(exitUsage, fmt.Errorf("--schema: %w", err))
		}
		switch other := names[schema.RType()]; other {
		case name:
			continue
		case "":
			names[schema.RType()] = name
		default:
			return nil, usage("--schema %s,%s: nothing in their records tells these two apart; subscribe to each by itself", other, name)
		}
		list = append(list, feed.Subscription{Schema: schema, SType: stype, Symbols: s.Symbols, Start: (*uint64)(s.Start), End: (*uint64)(s.End)})
	}
	return list, nil
}

// metadata heads the records that subscriptions bring.
func (s *subscribeCmd) metadata(subs []feed.Subscription) feed.Metadata {
	schema := feed.SchemaNone
	if len(subs) == 1 {
		schema = subs[0].Schema
	}
	return feed.Metadata{
		Version: feed.Version, Dataset: s.Dataset, Schema: schema, End: feed.UndefTimestamp, Limit: s.Limit,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}
}
