package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

type tapCmd struct {
	dataFlag
	outputFlags
	Dataset string     `help:"The dataset; it need not exist yet." placeholder:"D" required:""`
	Schema  string     `help:"The schema, one." placeholder:"S" required:""`
	Symbols names      `help:"Only these; everything when not given." placeholder:"A,B"`
	Start   *startTime `help:"Where to begin, as with subscribe: 0 for everything kept, a time, or -5m. What comes next when not given." placeholder:"T"`
	End     *startTime `help:"The first time that is not wanted any more, as with subscribe: it ends when all before it has come." placeholder:"T"`
	Limit   uint64     `help:"End after so many records; 0 is no limit." placeholder:"N"`
	Spin    bool       `help:"Look for records all the time instead of sleeping up to a ms between looks: for a core of its own."`
}

// Help teaches by example.
func (tapCmd) Help() string {
	return `Examples:

  tapewire tap --dataset EQUS.LEAN --schema trades
  tapewire tap --data /var/lib/tapewire --dataset EQUS.LEAN --schema trades --symbols SPY --start 0 -o spy.dbn
  tapewire tap --dataset EQUS.LEAN --schema trades --start 2013-10-07 --end 2013-10-08 -o monday.csv

Reads the tape in place, through read-only mappings of the gateway's files: there is no connection, and the
gateway does not notice. For programs on the gateway's machine that cannot wait for a socket; in Go it is
journal.OpenTap. It needs the right to read the data directory. What is damaged or has expired is told on
standard error and passed over; the exit code is 5 then, and when a recovery cut what was being read. Symbols are
found as a gateway finds them: as they are written, else by the only one that differs in case alone. What nobody has
published is told, and the code is 5 when it is not there at the end (--end, --limit) either, inside of the span or not;
4 when each of --symbols is shared by several but for case. Ctrl-C and SIGTERM end it in order, with code 0. DBN on standard output is a stream
as that of tapewire subscribe.`
}

// tapPoll is how often it is looked whether a dataset has come to exist.
const tapPoll = 50 * time.Millisecond

// Run follows the tape until a limit, a signal or an error.
func (t *tapCmd) Run(ctx context.Context, c console) error {
	if err := errors.Join(checkDataset(t.Dataset), t.check()); err != nil {
		return err
	}
	if strings.Contains(t.Schema, ",") {
		return usage("--schema: a tap reads one schema, and %s names several: start one tap for each, or take them in one stream with %s subscribe", t.Schema, programName())
	}
	schema, err := feed.ParseSchema(t.Schema)
	if err != nil {
		return withExit(exitUsage, fmt.Errorf("--schema: %w", err))
	}
	if err := checkSpan(t.Start, t.End); err != nil {
		return err
	}
	if err := t.Symbols.check(); err != nil {
		return err
	}
	as := subscribeCmd{Dataset: t.Dataset, Limit: t.Limit}
	sink, err := t.sink(c, as.metadata([]feed.Subscription{{Schema: schema}}), false)
	if err != nil {
		return err
	}
	tap, err := t.open(ctx, c, schema)
	if err != nil || tap == nil {
		return err
	}
	defer tap.Close()
	filter := newTapFilter(t.Symbols)
	if err := filter.begin(tap, c.err); err != nil {
		return err
	}
	out, err := sink.open(new(recording))
	if err != nil {
		return err
	}
	r := tapReader{cmd: t, tap: tap, out: out, err: c.err, filter: filter, told: map[uint32]string{}, span: tapSpan{schema: schema, start: t.Start, end: t.End, goal: tap.Tail()}}
	if tap.Tail() == 0 {
		fmt.Fprintf(c.err, "waiting: there are no %s records in %s yet\n", schema, t.Dataset)
		filter.unheard.wait(lsg.Waiting{Schema: schema.String()})
	}
	err = errors.Join(r.expired(), r.run(ctx), out.Close())
	if t.Output != "" {
		fmt.Fprintf(c.err, "%s in %s\n", counted(r.records, "record"), t.Output)
	}
	if errors.Is(err, journal.ErrReplaced) {
		err = withExit(exitMissing, err)
	}
	if err == nil && r.missing {
		err = withExit(exitMissing, errors.New("records are missing; the gaps are told above"))
	}
	if err == nil && ctx.Err() == nil {
		err = filter.verdict(ctx, tap, t, c.err)
	}
	return err
}

// open opens the tap where --start says. It waits for a dataset that is not there yet; nil without an error when the user ended that.
func (t *tapCmd) open(ctx context.Context, c console, schema feed.Schema) (*journal.Tap, error) {
	for told := false; ; told = true {
		tap, err := journal.OpenTap(t.Data, t.Dataset, schema)
		switch {
		case err == nil && t.Start == nil:
			return tap, nil
		case err == nil:
			if err := tap.SeekTime(feed.ClockReplay, uint64(*t.Start)); err != nil {
				return nil, errors.Join(err, tap.Close())
			}
			return tap, nil
		case errors.Is(err, journal.ErrNotRunning):
			return nil, withExit(exitConnect, fmt.Errorf("%w; run tapewire serve --data %s", err, t.Data))
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%w\nrun this as the gateway's user, or let yours read the data directory", err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case !told:
			fmt.Fprintf(c.err, "waiting: there is no dataset %s in %s yet\n", t.Dataset, t.Data)
		}
		if t.End != nil && uint64(max(0, time.Now().UnixNano())) >= uint64(*t.End) {
			return nil, withExit(exitMissing, fmt.Errorf("nobody has published to %s what was asked for: there is no such dataset in %s; look at the spelling", t.Dataset, t.Data))
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(tapPoll):
		}
	}
}

// tapReader is one run of `tapewire tap`.
type tapReader struct {
	cmd     *tapCmd
	tap     *journal.Tap
	out     recordOutput
	err     io.Writer
	filter  *tapFilter
	told    map[uint32]string // symbols as the output knows them
	span    tapSpan
	records uint64
	missing bool // a gap was told
}

// gap tells of records that are missing, in the words that a session gets.
func (r *tapReader) gap(g lsg.Gap) error {
	g.Schema, r.missing = r.cmd.Schema, true
	text, err := g.Text()
	if err == nil {
		fmt.Fprintln(r.err, lsg.Printable(text))
	}
	return err
}

// expired tells what a start by time misses because it is kept no more.
func (r *tapReader) expired() error {
	if r.cmd.Start == nil || *r.cmd.Start == 0 {
		return nil // everything is everything that is kept
	}
	g, ok, err := r.tap.ExpiredIn(uint64(*r.cmd.Start), feed.UndefTimestamp)
	if err != nil || !ok {
		return err
	}
	return r.gap(lsg.Gap{Cause: g.Cause, FromTs: g.FromTs, ToTs: g.ToTs})
}

func (r *tapReader) run(ctx context.Context) error {
	for empty := 0; !r.span.over(r.tap.Seq(), r.tap.Tail(), time.Now()); {
		b, err := r.tap.Next()
		if hole := (*journal.MissingError)(nil); errors.As(err, &hole) {
			g := lsg.Gap{Cause: hole.Cause, Records: hole.To - hole.From, At: lsg.Position{Epoch: r.tap.Epoch(), Seq: hole.To}, HasAt: true}
			if err := r.gap(g); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if len(b) > 0 {
			if done, err := r.take(ctx, b); done || err != nil {
				return err
			}
			continue
		}
		const look = 1 << 10 // empty calls between looks at ctx
		if empty++; r.cmd.Spin && empty%look > 0 {
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if !r.cmd.Spin {
			if err := r.wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait sleeps until there is something to read, or no more can come.
func (r *tapReader) wait(ctx context.Context) error {
	ctx, cancel := r.span.wait(ctx)
	defer cancel()
	if err := r.tap.Wait(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// take hands a run of records to the output, each symbol before its first record.
func (r *tapReader) take(ctx context.Context, b []byte) (done bool, err error) {
	if err := r.tap.Refresh(); err != nil {
		return false, err
	}
	r.filter.look(r.tap, r.err)
	const look = 1 << 12 // records between looks at ctx: a run may be a whole segment
	first := r.tap.Seq() - uint64(len(b)/r.tap.RecordSize())
	for i, size := 0, r.tap.RecordSize(); len(b) > 0; i, b = i+1, b[size:] {
		if i%look == 0 && ctx.Err() != nil {
			return true, nil
		}
		rec := feed.Record(b[:size])
		r.filter.unheard.hear(rec)
		if !r.span.has(rec, first+uint64(i)) {
			continue
		}
		id := rec.InstrumentID()
		name, _ := r.tap.SymbolAt(first+uint64(i), rec)
		if !r.filter.wants(id, name) {
			continue
		}
		if r.told[id] != name { // "" is no name: one that it had ends
			r.told[id] = name
			if err := r.out.Control(mappingOf(id, name, rec.TsEvent())); err != nil {
				return false, err
			}
		}
		if err := r.out.Data(rec); err != nil {
			return false, err
		}
		if r.records++; r.records == r.cmd.Limit {
			return true, nil
		}
	}
	return false, nil
}

// mappingOf is what a gateway would have sent.
func mappingOf(id uint32, name string, ts uint64) feed.Record {
	return feed.AppendSymbolMapping(nil, feed.SymbolMappingFields{
		InstrumentID: id, TsEvent: ts, StypeIn: feed.STypeRawSymbol, InSymbol: name, StypeOut: feed.STypeRawSymbol, OutSymbol: name,
		StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp,
	})
}
