package gateway

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// A session that is read record by record, up to something that is told.
type account struct {
	data   []feed.Record
	told   []string // system and error texts, with their code
	names  map[uint32]string
	called []string // the name of each data record, as the client has it
}

func accountOf(t testing.TB, sub *feed.Subscriber, stop func(h *account, r feed.Record) bool) *account {
	t.Helper()
	h := &account{names: map[uint32]string{}}
	take(t, sub, func(r feed.Record) bool { return h.add(r) && stop(h, r) })
	return h
}

// add takes in a record. It reports true, for the caller's convenience.
func (h *account) add(r feed.Record) bool {
	if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
		h.names[m.InstrumentID] = m.OutSymbol()
	}
	if e, ok := feed.View[feed.ErrorMsg](r); ok {
		h.told = append(h.told, fmt.Sprintf("error %d %s", e.Code, e.Text()))
	}
	if text := systemText(r); text != "" {
		h.told = append(h.told, text)
	}
	if !r.RType().IsControl() {
		h.data = append(h.data, slices.Clone(r))
		h.called = append(h.called, h.names[r.InstrumentID()])
	}
	return true
}

func (h *account) sequences(id uint32) (list []int) {
	for _, r := range h.data {
		if r.InstrumentID() == id {
			list = append(list, sequence(r))
		}
	}
	return list
}

func (h *account) count(prefix string) (n int) {
	for _, text := range h.told {
		if strings.HasPrefix(text, prefix) {
			n++
		}
	}
	return n
}

func finished(h *account, r feed.Record) bool { return strings.HasPrefix(systemText(r), "3 Finished") }

func byID(start *uint64, ids ...string) feed.Subscription {
	return feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeInstrumentID, Symbols: ids, Start: start}
}

func at(i int) *uint64 { ts := eventTime(i); return &ts }

func counting(from, to, step int) (list []int) {
	for i := from; i < to; i += step {
		list = append(list, i)
	}
	return list
}

// turns makes n trades of instruments 1 to k in turn: of id those with i%k == id-1.
func turns(k, from, to int) (list [][]byte) {
	for i := from; i < to; i++ {
		list = append(list, trade(uint32(i%k+1), i))
	}
	return list
}

// A start belongs to its subscription alone: others of the session and schema begin
// at their own, and what is live only has no past.
func TestEachSubscriptionBeginsAtItsOwnStart(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "past", metadataOf(feed.SchemaTrades), turns(3, 0, 3000)...)
	sub := sdkSubscribe(t, s, byID(new(uint64), "1"), byID(at(1500), "2"), byID(nil, "3"))
	h := accountOf(t, sub, finished)
	if got := h.sequences(1); !slices.Equal(got, counting(0, 3000, 3)) {
		t.Errorf("instrument 1 from the beginning: %d records", len(got))
	}
	if got := h.sequences(2); !slices.Equal(got, counting(1501, 3000, 3)) {
		t.Errorf("instrument 2 from record 1500: %d records, the first %v", len(got), got[:min(3, len(got))])
	}
	if got := h.sequences(3); len(got) > 0 {
		t.Errorf("instrument 3 is live only and got %d records of the past", len(got))
	}
	publish(t, s, "live", metadataOf(feed.SchemaTrades), turns(3, 3000, 3300)...)
	h = accountOf(t, sub, func(h *account, _ feed.Record) bool { return len(h.data) == 300 })
	for id := range uint32(3) {
		if got := h.sequences(id + 1); !slices.Equal(got, counting(3000+int(id), 3300, 3)) {
			t.Errorf("instrument %d live: %d records", id+1, len(got))
		}
	}
}

// What is subscribed live in mid-replay comes at once, and only what is new: neither
// the past that another subscription asked for, nor after its replay.
func TestLiveInMidReplayComesAtOnceAndWithoutThePast(t *testing.T) {
	s := serveTest(t)
	const past = 300_000
	publish(t, s, "past", metadataOf(feed.SchemaTrades), turns(2, 0, past)...)
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|stype_in=instrument_id|symbols=1|start=0\nstart_session\n")
	c.pass(128)
	buf := make([]byte, feed.MaxRecordSize)
	h := &account{names: map[uint32]string{}}
	for len(h.data) < 10 {
		h.add(c.next(buf))
	}
	c.send("schema=trades|stype_in=instrument_id|symbols=2|id=5\n")
	for h.count("1 Subscription request 5 ") == 0 {
		h.add(c.next(buf))
	}
	publish(t, s, "live", metadataOf(feed.SchemaTrades), turns(2, past, past+100)...)
	liveBeforeEnd, replayed := 0, false
	for left := past/2 + 100 - len(h.data); left > 0 || !replayed; {
		r := c.next(buf)
		h.add(r)
		replayed = replayed || strings.HasPrefix(systemText(r), "3 Finished")
		if r.RType().IsControl() {
			continue
		}
		left--
		if r.InstrumentID() == 2 && !replayed {
			liveBeforeEnd++
		}
	}
	if got := h.sequences(2); !slices.Equal(got, counting(past+1, past+100, 2)) {
		t.Errorf("instrument 2: %d records, the first %v; want the 50 live ones", len(got), got[:min(3, len(got))])
	}
	if got := h.sequences(1); !slices.Equal(got, counting(0, past+100, 2)) {
		t.Errorf("instrument 1: %d records, want %d in order", len(got), past/2+50)
	}
	if liveBeforeEnd == 0 {
		t.Error("the live records waited for another instrument's replay")
	}
}

// A start that comes after the session has begun is served: its instruments' live
// records wait for it, nothing comes twice, and the end of the replay is told once.
func TestAStartOfALateSubscriptionIsServed(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "past", metadataOf(feed.SchemaTrades), turns(2, 0, 2000)...)
	sub := sdkSubscribe(t, s, byID(nil, "1", "2"))
	accountOf(t, sub, func(h *account, _ feed.Record) bool { return h.count("1 Subscription") == 1 })
	publish(t, s, "a", metadataOf(feed.SchemaTrades), turns(2, 2000, 2100)...)
	accountOf(t, sub, func(h *account, _ feed.Record) bool { return len(h.data) == 100 })
	for _, x := range []feed.Subscription{byID(at(1000), "1"), byID(at(500), "1")} {
		if err := sub.Subscribe(x); err != nil {
			t.Fatal(err)
		}
	}
	h := accountOf(t, sub, func(h *account, _ feed.Record) bool { return len(h.data) == 750 && h.count("3 Finished") > 0 })
	publish(t, s, "b", metadataOf(feed.SchemaTrades), turns(2, 2100, 2200)...)
	more := accountOf(t, sub, func(h *account, _ feed.Record) bool { return len(h.data) == 100 })
	h.data, h.told = append(h.data, more.data...), append(h.told, more.told...)
	got := h.sequences(1)
	slices.Sort(got)
	if !slices.Equal(got, append(counting(500, 2000, 2), counting(2100, 2200, 2)...)) {
		t.Errorf("instrument 1 got %d records: what lies from its earliest start to what it had already, and then what is live, was due once each", len(got))
	}
	if got := h.sequences(2); !slices.Equal(got, counting(2101, 2200, 2)) {
		t.Errorf("instrument 2, which asked for no past: %d records", len(got))
	}
	if n := h.count("error"); n > 0 {
		t.Errorf("errors: %q", h.told)
	}
}

// A replay delivers what lies in [start, end) by the replay's clock, in whatever
// order it is on the tape, and says that it is complete.
func TestAReplayDeliversExactlyWhatLiesInItsWindow(t *testing.T) {
	s := serveTest(t)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	const n = 40_000
	var records [][]byte
	var times []int
	for i := range n {
		ts := i
		if rnd.IntN(50) == 0 { // days out of order, and stamps of another year
			ts = rnd.IntN(10 * n)
		}
		r := trade(1, i)
		binary.LittleEndian.PutUint64(r[8:], eventTime(ts))
		times = append(times, ts)
		records = append(records, r)
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), records...)
	for range 6 {
		from, to := rnd.IntN(n), rnd.IntN(2*n)
		if to <= from {
			to = from + 1
		}
		var want []int
		for i, ts := range times {
			if ts >= from && ts < to {
				want = append(want, i)
			}
		}
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send(fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|id=3|start=%d|end=%d\nstart_session\n", eventTime(from), eventTime(to)))
		c.pass(128)
		buf := make([]byte, feed.MaxRecordSize)
		h := &account{names: map[uint32]string{}}
		for h.count("255 end|") == 0 {
			h.add(c.next(buf))
		}
		if got := h.sequences(1); !slices.Equal(got, want) {
			t.Errorf("seed %d: from %d to %d: %d records, want %d", seed, from, to, len(got), len(want))
		}
		if h.count("3 Finished trades replay") != 1 || h.count(fmt.Sprintf("255 end|schema=trades|id=3|ts=%d", eventTime(to))) != 1 {
			t.Errorf("seed %d: told %q", seed, h.told)
		}
		c.conn.Close()
	}
}

// Nothing comes after the end, also when it was still to come.
func TestNothingFollowsTheEndOfASubscription(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "0", metadataOf(feed.SchemaTrades), trade(1, 0))
	end := uint64(time.Now().Add(500 * time.Millisecond).UnixNano())
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send(fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|id=1|end=%d\nschema=trades|stype_in=instrument_id|symbols=2|id=2\nstart_session\n", end))
	c.pass(128)
	buf := make([]byte, feed.MaxRecordSize)
	h := &account{names: map[uint32]string{}}
	for h.count("1 Subscription") < 2 {
		h.add(c.next(buf))
	}
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trade(1, 1), trade(2, 2))
	for h.count("255 end|") == 0 {
		h.add(c.next(buf))
	}
	publish(t, s, "b", metadataOf(feed.SchemaTrades), trade(1, 3), trade(2, 4))
	for len(h.sequences(2)) < 2 {
		h.add(c.next(buf))
	}
	if fmt.Sprint(h.sequences(1), h.sequences(2)) != "[1] [2 4]" {
		t.Errorf("records %v and %v", h.sequences(1), h.sequences(2))
	}
}

// A replay with an end takes its instruments from the live subscription for as long as
// it lasts; after its end they come as before, and what was committed meanwhile too.
func TestAReplayWithAnEndGivesItsInstrumentsBack(t *testing.T) {
	const past, end = 100_000, 99_000
	for _, live := range []string{"symbols=ALL_SYMBOLS", "stype_in=instrument_id|symbols=1"} {
		t.Run(live, func(t *testing.T) {
			s := serveTest(t)
			publish(t, s, "past", metadataOf(feed.SchemaTrades), turns(1, 0, past)...)
			c := dialSmall(t, s)
			c.auth(testKey, "dataset="+testDataset)
			c.send(fmt.Sprintf("schema=trades|%s|id=1\nschema=trades|stype_in=instrument_id|symbols=1|id=2|start=0|end=%d\nstart_session\n", live, eventTime(end)))
			c.pass(128)
			buf := make([]byte, feed.MaxRecordSize)
			h := &account{names: map[uint32]string{}}
			for len(h.data) < 10 {
				h.add(c.next(buf))
			}
			publish(t, s, "meanwhile", metadataOf(feed.SchemaTrades), turns(1, past, past+100)...)
			for h.count("255 end|schema=trades|id=2|") == 0 {
				h.add(c.next(buf))
			}
			publish(t, s, "after", metadataOf(feed.SchemaTrades), turns(1, past+100, past+200)...)
			for sequence(h.data[len(h.data)-1]) != past+199 {
				h.add(c.next(buf))
			}
			if got := h.sequences(1); !slices.Equal(got, append(counting(0, end, 1), counting(past, past+200, 1)...)) {
				t.Errorf("%d records came, want the %d before the end and 200 live ones, each once", len(got), end)
			}
		})
	}
}

// What is not served is refused by itself: the others of the session go on, and no
// client subscribes again for ever because its session ended.
func TestARefusedSubscriptionLeavesTheOthers(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "0", metadataOf(feed.SchemaTrades), trade(1, 0))
	for _, line := range []string{
		"schema=trades|stype_in=nonsense|symbols=A", "schema=trades|stype_in=isin|symbols=US0378331005",
		"schema=mbo|symbols=A|snapshot=1", "schema=trades|stype_in=instrument_id|symbols=AAPL",
	} {
		for _, order := range []string{line + "|id=1\nschema=trades|symbols=ALL_SYMBOLS|id=2|start=0\nstart_session\n", "schema=trades|symbols=ALL_SYMBOLS|id=2|start=0\nstart_session\n" + line + "|id=1\n"} {
			c := dialRaw(t, s)
			c.auth(testKey, "dataset="+testDataset)
			c.send(order)
			c.pass(128)
			buf := make([]byte, feed.MaxRecordSize)
			h := &account{names: map[uint32]string{}}
			for h.count("error 4 Failed to resolve symbols of subscription request 1: ") == 0 || h.count("3 Finished") == 0 {
				h.add(c.next(buf))
			}
			if len(h.data) != 1 || h.count("error") != 1 {
				t.Errorf("%s: %d records, told %q", line, len(h.data), h.told)
			}
			c.conn.Close()
		}
	}
}

// What was committed while a replay ran is replay until the tail was reached once:
// who reads faster than the feed loses nothing, though it is far behind.
func TestCatchingUpIsNoSlowReading(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.SlowBytes = 256 << 10; c.Limits.SlowTime = time.Millisecond })
	const past, live = 100_000, 100_000
	publish(t, s, "past", metadataOf(feed.SchemaMbp1), quotes(0, past)...)
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=mbp-1|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	c.pass(128)
	eventually(t, "the session is blocked in its replay", func() bool { v := s.Sessions(); return len(v) == 1 && v[0].Blocked && v[0].SentBytes > 1<<10 })
	publish(t, s, "live", metadataOf(feed.SchemaMbp1), quotes(past, past+live)...)
	buf := make([]byte, feed.MaxRecordSize)
	for next := 0; next < past+live; {
		r := c.next(buf)
		if e, ok := feed.View[feed.ErrorMsg](r); ok {
			t.Fatalf("told %q", e.Text())
		}
		if r.RType() == feed.RTypeMbp1 {
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
		}
	}
}

func quotes(from, to int) (list [][]byte) {
	for i := from; i < to; i++ {
		list = append(list, quote(1, i))
	}
	return list
}

// Bars and sampled quotes: the end of each interval is told once, before the first
// record of a later one, and by the clock when none comes.
func TestTheEndOfAnIntervalIsTold(t *testing.T) {
	s := serveTest(t)
	const minute = uint64(time.Minute)
	first := eventTime(0) / minute * minute
	bar := func(id uint32, n uint64) []byte {
		b := make([]byte, feed.SchemaOhlcv1m.RecordSize())
		header(b, feed.RTypeOhlcv1m, id, 0)
		binary.LittleEndian.PutUint64(b[8:], first+n*minute)
		return b
	}
	publish(t, s, "1", metadataOf(feed.SchemaOhlcv1m), bar(1, 0), bar(2, 0), bar(1, 1), bar(2, 3))
	for name, symbols := range map[string]feed.Subscription{
		"all":                        {Schema: feed.SchemaOhlcv1m, Start: new(uint64)},
		"one that has no bar at all": {Schema: feed.SchemaOhlcv1m, SType: feed.STypeInstrumentID, Symbols: []string{"9"}, Start: new(uint64)},
	} {
		var ends []uint64
		take(t, sdkSubscribe(t, s, symbols), func(r feed.Record) bool {
			if m, ok := feed.View[feed.SystemMsg](r); ok && m.Code == feed.SystemEndOfInterval {
				if m.Text() != "End of interval for ohlcv-1m" {
					t.Errorf("told %q", m.Text())
				}
				ends = append(ends, (r.TsEvent()-first)/minute)
			}
			return len(ends) == 3
		})
		if fmt.Sprint(ends) != "[1 2 4]" {
			t.Errorf("%s: ends of intervals %v, want 1, 2 and 4", name, ends)
		}
	}
}

// However subscriptions are mixed, early and late, with starts and without: each
// record that one of them means comes once, those of an instrument in order, and no
// other comes.
func TestRandomSubscriptionsGetWhatTheyMeanOnceEach(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		randomSubscriptions(t, seed+uint64(round))
	}
}

// modelWant is a subscription as the test understands it.
type modelWant struct {
	ids   map[uint32]bool // nil: all
	start int             // by record number, which is its time; -1: live
	floor int             // records there were when it was acknowledged, at least
}

func randomSubscriptions(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	s := serveTest(t)
	const ids = 5
	total := 0
	more := func(n int) {
		var records [][]byte
		for range n {
			records = append(records, trade(uint32(1+rnd.IntN(ids)), total))
			total++
		}
		publish(t, s, fmt.Sprint(total), metadataOf(feed.SchemaTrades), records...)
	}
	more(1 + rnd.IntN(5000))
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	var wants []modelWant
	subscribe := func(withPast bool) {
		w := modelWant{start: -1, floor: total}
		symbols := "ALL_SYMBOLS"
		if rnd.IntN(4) > 0 {
			w.ids = map[uint32]bool{}
			var list []uint32
			for range 1 + rnd.IntN(3) {
				id := uint32(1 + rnd.IntN(ids))
				if !w.ids[id] {
					w.ids[id], list = true, append(list, id)
				}
			}
			symbols = join(list)
		}
		line := fmt.Sprintf("schema=trades|stype_in=instrument_id|symbols=%s|id=%d", symbols, len(wants))
		if withPast {
			w.start = rnd.IntN(total + 1)
			line += fmt.Sprintf("|start=%d", eventTime(w.start))
		}
		wants = append(wants, w)
		c.send(line + "\n")
	}
	for range 1 + rnd.IntN(3) {
		subscribe(rnd.IntN(2) == 0)
	}
	c.send("start_session\n")
	c.pass(128)
	h := &account{names: map[uint32]string{}}
	buf := make([]byte, feed.MaxRecordSize)
	acked := func() {
		for h.count("1 Subscription") < len(wants) {
			h.add(c.next(buf))
		}
	}
	acked()
	for range rnd.IntN(4) {
		if rnd.IntN(2) == 0 {
			more(1 + rnd.IntN(2000))
		}
		subscribe(rnd.IntN(2) == 0)
		acked()
	}
	more(1 + rnd.IntN(1000))
	subscribe(false) // everything from here on, so that the end is seen
	wants[len(wants)-1].ids = nil
	c.send(fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|id=%d\n", len(wants)))
	wants = append(wants, modelWant{start: -1, floor: total})
	acked()
	d := s.journal.Lookup(testDataset)
	more(10)
	tape := tapeBytes(t, d.Tape(feed.SchemaTrades))
	want := map[int]bool{}
	for i := range total {
		id := feed.Record(tape[i*48:]).InstrumentID()
		for k, w := range wants {
			if k == len(wants)-2 {
				continue // its ids are those of the one behind it
			}
			if w.ids != nil && !w.ids[id] {
				continue
			}
			if w.start >= 0 && i >= w.start || w.start < 0 && i >= w.floor {
				want[i] = true
			}
		}
	}
	got := map[int]bool{}
	last, back := map[uint32]int{}, map[uint32]int{}
	check := func(r feed.Record) {
		i, id := sequence(r), r.InstrumentID()
		switch {
		case got[i]:
			t.Fatalf("seed %d: record %d came twice", seed, i)
		case !want[i]:
			t.Fatalf("seed %d: record %d of instrument %d came, which nobody asked for: %+v", seed, i, id, wants)
		}
		if i < last[id] {
			back[id]++
		}
		got[i], last[id] = true, i
	}
	for _, r := range h.data {
		check(r)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for len(got) < len(want) {
		if _, err := c.r.Peek(1); err != nil {
			for i := range total {
				if want[i] && !got[i] {
					t.Fatalf("seed %d: record %d of instrument %d never came: %+v, the tape has %d, told %q, %+v", seed, i, feed.Record(tape[i*48:]).InstrumentID(), wants, total, h.told, s.Sessions())
				}
			}
		}
		r := c.next(buf)
		if e, ok := feed.View[feed.ErrorMsg](r); ok {
			t.Fatalf("seed %d: told %q", seed, e.Text())
		}
		if !r.RType().IsControl() {
			check(slices.Clone(r))
		}
	}
	for id, n := range back { // an instrument goes back only for a start that was asked for
		most := 0
		for _, w := range wants {
			if w.start >= 0 && (w.ids == nil || w.ids[id]) {
				most++
			}
		}
		if n > most {
			t.Errorf("seed %d: instrument %d went back %d times, which %d subscriptions asked for: %+v", seed, id, n, most, wants)
		}
	}
	c.conn.Close()
}

// A client that says nothing more once it has asked, and closes its side, gets what it
// asked for up to the end that it asked for.
func TestAHalfClosedSubscriberGetsWhatItAskedFor(t *testing.T) {
	s := serveTest(t)
	const past = 100_000
	publish(t, s, "past", metadataOf(feed.SchemaTrades), trades(1, past)...)
	soon := uint64(time.Now().Add(300 * time.Millisecond).UnixNano())
	for name, x := range map[string]struct {
		lines string
		want  int
		last  string
	}{
		"a replay":                {"schema=trades|symbols=ALL_SYMBOLS|start=0\n", past, "3 Finished trades replay"},
		"from a time":             {fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|start=%d\n", eventTime(past/2)), past / 2, "3 Finished trades replay"},
		"up to an end":            {fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|start=0|end=%d\n", eventTime(1000)), 1000, fmt.Sprintf("255 end|schema=trades|id=0|ts=%d", eventTime(1000))},
		"up to one that is ahead": {fmt.Sprintf("schema=trades|symbols=ALL_SYMBOLS|end=%d\n", soon), 0, fmt.Sprintf("255 end|schema=trades|id=0|ts=%d", soon)},
		"nothing that ends":       {"schema=trades|symbols=ALL_SYMBOLS\n", 0, ""},
	} {
		c := dialSmall(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send(x.lines + "start_session\n")
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, last := 0, ""
		_, records := c.records()
		for _, r := range records {
			if r.RType() == feed.RTypeMbp0 {
				got++
			}
			if text := systemText(r); text != "" {
				last = text
			}
		}
		if got != x.want || x.last != "" && last != x.last {
			t.Errorf("%s: %d records, want %d, and at last %q", name, got, x.want, last)
		}
	}
	eventually(t, "all are gone", func() bool { return s.sockets.Load() == 0 })
}
