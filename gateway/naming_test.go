package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// scribe writes names and records of several days to a journal, at random.
type scribe struct {
	t     *testing.T
	s     *Server
	seed  uint64
	rnd   *rand.Rand
	d     *journal.Dataset
	w     *journal.Writer
	count [feed.NumSchemas]int
	ids   int
	days  int // records and names lie on days 0 to days-1 after firstDay
}

const firstDay = journal.Day(19_675) // 2023-11-14, as eventTime's

func newScribe(t *testing.T, s *Server, seed uint64, ids, days int) *scribe {
	t.Helper()
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "scribe", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &scribe{t: t, s: s, seed: seed, rnd: rand.New(rand.NewPCG(seed, 3)), d: d, w: w, ids: ids, days: days}
}

func (x *scribe) symbol() string { return fmt.Sprintf("S%d", x.rnd.IntN(x.ids)) }
func (x *scribe) id() uint32     { return uint32(1 + x.rnd.IntN(x.ids)) }

// name enters something about who an id is.
func (x *scribe) name() {
	x.t.Helper()
	day := firstDay + journal.Day(x.rnd.IntN(x.days))
	var err error
	switch x.rnd.IntN(6) {
	case 0:
		if err = x.w.Map(x.id(), x.symbol()); x.rnd.IntN(3) == 0 {
			err = x.w.Unname(x.id())
		}
	case 1:
		_, err = x.w.MapDated([]journal.DatedMapping{{ID: x.id(), Symbol: x.symbol(), From: day, Kind: journal.KindDefinition}})
	case 2:
		_, err = x.w.MapDated([]journal.DatedMapping{{ID: x.id(), From: day, Kind: journal.KindDeletion}})
	case 3:
		_, err = x.w.MapDated([]journal.DatedMapping{{ID: x.id(), Symbol: "ALIAS", From: day, To: day + 2, Kind: journal.KindAlias}})
	default:
		_, err = x.w.MapDated([]journal.DatedMapping{{ID: x.id(), Symbol: x.symbol(), From: day, To: day + 1 + journal.Day(x.rnd.IntN(2)), Kind: journal.KindDated}})
	}
	if err != nil && !errors.Is(err, journal.ErrIDConflict) {
		x.t.Fatalf("seed %d: %v", x.seed, err)
	}
}

// records appends n records of a schema: of one day, or of any.
func (x *scribe) records(schema feed.Schema, n int) {
	x.t.Helper()
	var b []byte
	day, mixed := x.rnd.IntN(x.days), x.rnd.IntN(3) == 0
	for range n {
		if mixed {
			day = x.rnd.IntN(x.days)
		}
		i := x.count[schema]
		x.count[schema]++
		r := trade(x.id(), i)
		if schema == feed.SchemaMbp1 {
			r = quote(x.id(), i)
		}
		ts := uint64(firstDay)*86_400e9 + uint64(day)*86_400e9 + uint64(i)
		binary.LittleEndian.PutUint64(r[8:], ts)
		binary.LittleEndian.PutUint64(r[32:], ts)
		b = append(b, r...)
	}
	x.append(schema, b)
}

func (x *scribe) append(schema feed.Schema, b []byte) {
	x.t.Helper()
	size := schema.RecordSize()
	for len(b) > 0 {
		k, err := x.w.Append([]journal.Run{{Schema: schema, Bytes: b}})
		b = b[k*size:]
		if waits(err) {
			err = x.w.Wait(x.t.Context())
		}
		if err != nil {
			x.t.Fatalf("seed %d: %v", x.seed, err)
		}
	}
}

// scribble does some of both.
func (x *scribe) scribble(steps int) {
	for range steps {
		if x.rnd.IntN(2) == 0 {
			x.name()
		} else {
			x.records([]feed.Schema{feed.SchemaTrades, feed.SchemaMbp1}[x.rnd.IntN(2)], 1+x.rnd.IntN(1+x.rnd.IntN(4000)))
		}
	}
}

func schemaOf(r feed.Record) feed.Schema {
	if r.RType() == feed.RTypeMbp1 {
		return feed.SchemaMbp1
	}
	return feed.SchemaTrades
}

func (x *scribe) nameOf(r feed.Record) string {
	name, _ := x.d.Symbols().NameAt(r.InstrumentID(), schemaOf(r), uint64(sequence(r)), journal.DayOf(r.IndexTime()))
	return name
}

// reads checks a session up to the records that are there now: each comes under the
// name that it has at its place and on its day, and those that were asked for by
// symbol are those that bore it.
func (x *scribe) reads(c *rawClient, what string, wants func(name string) bool, next map[feed.Schema]int) {
	x.t.Helper()
	tapes := map[feed.Schema][]feed.Record{}
	left := 0
	for schema, from := range next {
		b := tapeBytes(x.t, x.d.Tape(schema))
		for i := from; i < len(b)/schema.RecordSize(); i++ {
			if r := feed.Record(b[i*schema.RecordSize() : (i+1)*schema.RecordSize()]); wants(x.nameOf(r)) {
				tapes[schema] = append(tapes[schema], r)
				left++
			}
		}
		next[schema] = len(b) / schema.RecordSize()
	}
	names := c.names
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for buf := make([]byte, feed.MaxRecordSize); left > 0; {
		if _, err := c.r.Peek(1); err != nil {
			x.t.Fatalf("seed %d: %s: %d records never came: %v; %+v", x.seed, what, left, err, x.s.Sessions())
		}
		r := c.next(buf)
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			names[m.InstrumentID] = m.OutSymbol()
			continue
		}
		if r.RType().IsControl() {
			continue
		}
		schema := schemaOf(r)
		if len(tapes[schema]) == 0 || !slices.Equal(tapes[schema][0], r) {
			due := "none"
			if len(tapes[schema]) > 0 {
				due = fmt.Sprintf("%d of id %d, %s", sequence(tapes[schema][0]), tapes[schema][0].InstrumentID(), x.nameOf(tapes[schema][0]))
			}
			x.t.Fatalf("seed %d: %s: record %d of %s and id %d, %q, came where %s was due", x.seed, what, sequence(r), schema, r.InstrumentID(), x.nameOf(r), due)
		}
		if got, want := names[r.InstrumentID()], x.nameOf(r); got != want {
			x.t.Fatalf("seed %d: %s: record %d of %s, id %d, day %d is %q, the client was told %q", x.seed, what, sequence(r), schema, r.InstrumentID(), journal.DayOf(r.IndexTime())-firstDay, want, got)
		}
		tapes[schema] = tapes[schema][1:]
		left--
	}
}

// Whatever names come and go, on whatever days and in whatever order, in the past
// and live, of one schema or two: each record reaches each client under the name that
// it had at its place on the tape and on its day, or under none; and who asks for a
// symbol gets the records of whoever bore it then.
func TestEachRecordComesUnderTheNameItHadThen(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rounds := uint64(8)
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		namesHold(t, seed+round)
	}
}

func namesHold(t *testing.T, seed uint64) {
	s := serveTest(t)
	x := newScribe(t, s, seed, 3+int(seed%7), 1+int(seed/7%4))
	x.records(feed.SchemaTrades, 1)
	x.records(feed.SchemaMbp1, 1)
	x.scribble(20)
	all := func(string) bool { return true }
	one := func(name string) bool { return name == "S1" }
	two := func(name string) bool { return name == "S1" || name == "S2" }
	type reader struct {
		what, lines string
		wants       func(string) bool
		schemas     []feed.Schema
		live        bool
	}
	both := []feed.Schema{feed.SchemaTrades, feed.SchemaMbp1}
	readers := []reader{
		{"all trades", "schema=trades|symbols=ALL_SYMBOLS|start=0\n", all, both[:1], false},
		{"all trades and quotes", "schema=trades|symbols=ALL_SYMBOLS|start=0\nschema=mbp-1|symbols=ALL_SYMBOLS|start=0\n", all, both, false},
		{"one symbol", "schema=trades|symbols=S1|start=0\n", one, both[:1], false},
		{"two symbols of both", "schema=trades|symbols=S1,S2|start=0\nschema=mbp-1|symbols=s1,S2|start=0\n", two, both, false},
		{"live trades", "schema=trades|symbols=ALL_SYMBOLS\n", all, both[:1], true},
		{"one symbol live", "schema=trades|symbols=S1\n", one, both[:1], true},
		{"past trades, live quotes", "schema=trades|symbols=ALL_SYMBOLS|start=0\nschema=mbp-1|symbols=ALL_SYMBOLS\n", all, both, false},
	}
	for _, r := range readers {
		r := r
		next := map[feed.Schema]int{}
		for _, schema := range r.schemas {
			if next[schema] = 0; r.live || schema == feed.SchemaMbp1 && r.what == "past trades, live quotes" {
				next[schema] = x.count[schema]
			}
		}
		c := dialRaw(t, s)
		c.names = map[uint32]string{}
		c.auth(testKey, "dataset="+testDataset)
		c.send(r.lines + "start_session\n")
		c.pass(128)
		buf := make([]byte, feed.MaxRecordSize)
		for acks := 0; r.live && acks < len(r.schemas); { // what follows is live for sure
			m := c.next(buf)
			if mapped, ok := feed.View[feed.SymbolMappingMsg](m); ok {
				c.names[mapped.InstrumentID] = mapped.OutSymbol()
			}
			if text := systemText(m); len(text) > 2 && text[:2] == "1 " {
				acks++
			}
		}
		x.reads(c, r.what, r.wants, next)
		for range 3 {
			x.scribble(6)
			x.reads(c, r.what+", and what came", r.wants, next)
		}
		c.conn.Close()
	}
}

// Who subscribes live is told the names of the newest record's day, also when the
// block that it lies in began on another one.
func TestALiveSessionIsToldTheNamesOfTheNewestDay(t *testing.T) {
	s := serveTest(t)
	x := newScribe(t, s, 1, 1, 2)
	for day, symbol := range []string{"OLDER", "NEWER"} {
		from := firstDay + journal.Day(day)
		if _, err := x.w.MapDated([]journal.DatedMapping{{ID: 1, Symbol: symbol, From: from, To: from + 1, Kind: journal.KindDated}}); err != nil {
			t.Fatal(err)
		}
		r := trade(1, day)
		for _, at := range []int{8, 32} {
			binary.LittleEndian.PutUint64(r[at:], uint64(from)*86_400e9+1)
		}
		x.append(feed.SchemaTrades, r)
	}
	told := ""
	take(t, sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades}), func(r feed.Record) bool {
		m, ok := feed.View[feed.SymbolMappingMsg](r)
		if ok {
			told = m.OutSymbol()
		}
		return ok
	})
	if told != "NEWER" {
		t.Errorf("id 1 is told as %q, which it was on the day before", told)
	}
}
