package gateway

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// Every send path must put the same bytes on the wire.
func TestEachSendPathDeliversTheTapeByteForByte(t *testing.T) {
	var records [][]byte
	for i := range 20_000 {
		records = append(records, trade(uint32(i%7), i))
	}
	want := bytes.Join(records, nil)
	for _, path := range []SendPath{SendAuto, SendWrite, SendSendfile, SendSplice, SendCopy} {
		t.Run(string(path), func(t *testing.T) {
			s := serveTest(t, func(c *Config) { c.SendPath = path })
			publish(t, s, "all", metadataOf(feed.SchemaTrades), records...)
			sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
			var got []byte
			take(t, sub, func(r feed.Record) bool {
				if r.RType() == feed.RTypeMbp0 {
					got = append(got, r...)
				}
				return strings.Contains(systemText(r), "Finished trades replay")
			})
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrived, %d were published, or they differ", len(got), len(want))
			}
		})
	}
}

// A subscriber that starts at 0 under full load crosses into live without a
// record missing, doubled or out of order.
func TestReplayCrossesIntoLiveUnderFullLoad(t *testing.T) {
	s := serveTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "flat-out", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(metadataOf(feed.SchemaTrades)); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	produced := make(chan int, 1)
	go func() {
		i := 0
		for ; !stop.Load(); i++ {
			if err := p.Publish(feed.Record(trade(1, i))); err != nil {
				t.Errorf("publish: %v", err)
				break
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Errorf("close the producer: %v", err)
		}
		produced <- i
	}()
	eventually(t, "a past to replay", func() bool { return p.Acked() > 50_000 })
	for round := range 3 {
		sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
		next, finishedAt := 0, -1
		take(t, sub, func(r feed.Record) bool {
			switch {
			case r.RType() == feed.RTypeMbp0:
				if sequence(r) != next {
					t.Fatalf("round %d: record %d where %d was due", round, sequence(r), next)
				}
				next++
			case strings.Contains(systemText(r), "Finished trades replay"):
				finishedAt = next
			}
			return finishedAt >= 0 && next > finishedAt+50_000
		})
		if finishedAt < 50_000 {
			t.Errorf("round %d: the replay finished after %d records", round, finishedAt)
		}
	}
	stop.Store(true)
	t.Logf("%d records were published", <-produced)
}

// Several schemas of the past come merged by time: a bot cannot use trades that
// are hours ahead of quotes.
func TestReplayOfSeveralSchemasIsMergedByTime(t *testing.T) {
	s := serveTest(t)
	var trades, quotes [][]byte
	for i := range 3000 {
		if i%3 == 0 {
			trades = append(trades, trade(1, i))
		} else {
			quotes = append(quotes, quote(1, i))
		}
	}
	publish(t, s, "trades", metadataOf(feed.SchemaTrades), trades...)
	publish(t, s, "quotes", metadataOf(feed.SchemaMbp1), quotes...)
	sub := sdkSubscribe(t, s,
		feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)},
		feed.Subscription{Schema: feed.SchemaMbp1, Start: new(uint64)})
	next, finished := 0, map[string]bool{}
	take(t, sub, func(r feed.Record) bool {
		switch {
		case !r.RType().IsControl():
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
		case strings.Contains(systemText(r), "Finished"):
			finished[systemText(r)] = true
		}
		return len(finished) == 2
	})
	if next != 3000 {
		t.Errorf("%d records came before both replays were finished, want 3000", next)
	}
}

func TestStartTimeBeginsAtTheFirstRecordNotBeforeIt(t *testing.T) {
	s := serveTest(t)
	var records [][]byte
	for i := range 5000 {
		records = append(records, trade(1, i))
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), records...)
	for _, first := range []int{0, 1, 2499, 4999} {
		start := eventTime(first) - 1
		sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: &start})
		got := -1
		take(t, sub, func(r feed.Record) bool {
			if r.RType() == feed.RTypeMbp0 && got < 0 {
				got = sequence(r)
			}
			return strings.Contains(systemText(r), "Finished")
		})
		if got != first {
			t.Errorf("start just before record %d begins with %d", first, got)
		}
	}
}

// Bots may start before adapters: an unknown symbol is told, not as an error, which
// official clients take for the end of a session; and when somebody publishes it, its
// mapping comes before its data.
func TestUnknownSymbolIsToldAndFollowsWhenItAppears(t *testing.T) {
	s := serveTest(t)
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"LATER"}})
	take(t, sub, func(r feed.Record) bool {
		if r.RType() == feed.RTypeError {
			t.Fatalf("an error came: %v", r)
		}
		return strings.HasPrefix(systemText(r), "255 waiting|") && strings.Contains(systemText(r), "|symbol=LATER|")
	})
	p := dialRaw(t, s)
	p.produce("1")
	p.send("instrument=OTHER\ninstrument=LATER\nstart_session\n")
	ids := map[string]uint32{}
	for range 2 {
		line := p.line()
		symbol := strings.TrimPrefix(line[:strings.IndexByte(line, '|')], "instrument=")
		ids[symbol] = uint32(line[len(line)-1] - '0')
	}
	p.send(string(metadataBytes(t, metadataOf(feed.SchemaTrades))) + string(trade(ids["OTHER"], 0)) + string(trade(ids["LATER"], 1)))
	mapped := false
	take(t, sub, func(r feed.Record) bool {
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			mapped = m.OutSymbol() == "LATER" && m.InstrumentID == ids["LATER"]
			return false
		}
		if r.RType() != feed.RTypeMbp0 {
			return false
		}
		if !mapped || sequence(r) != 1 {
			t.Errorf("record %d came, mapping told: %v; want record 1 after its mapping", sequence(r), mapped)
		}
		return true
	})
}

// Filters: by symbol, by id, and the union of several subscriptions.
func TestFilteredSessionReceivesItsInstrumentsOnly(t *testing.T) {
	s := serveTest(t)
	meta := metadataOf(feed.SchemaTrades)
	for id, symbol := range map[string]string{"1": "AAA", "2": "BBB", "3": "CCC", "4": "DDD"} {
		meta.Symbols = append(meta.Symbols, symbol)
		meta.Mappings = append(meta.Mappings, feed.SymbolMapping{RawSymbol: symbol, Intervals: []feed.MappingInterval{{StartDate: 20230101, EndDate: 20240101, Symbol: id}}})
	}
	var records [][]byte
	for i := range 8000 {
		records = append(records, trade(uint32(i%4+1), i))
	}
	publish(t, s, "1", meta, records...)
	sub := sdkSubscribe(t, s,
		feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"BBB"}, Start: new(uint64)},
		feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeInstrumentID, Symbols: []string{"4"}, Start: new(uint64)})
	count := map[uint32]int{}
	symbols := map[uint32]string{}
	take(t, sub, func(r feed.Record) bool {
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			symbols[m.InstrumentID] = m.OutSymbol()
		}
		if r.RType() == feed.RTypeMbp0 {
			count[r.InstrumentID()]++
		}
		return strings.Contains(systemText(r), "Finished")
	})
	if len(count) != 2 || count[2] != 2000 || count[4] != 2000 {
		t.Errorf("records by instrument: %v, want 2000 each of 2 and 4", count)
	}
	if symbols[2] != "BBB" || symbols[4] != "DDD" {
		t.Errorf("mappings: %v", symbols)
	}
}

// What is unsubscribed stops, and what is left goes on: of a list, and of
// everything.
func TestUnsubscribeStopsWhatItNamesAndNothingElse(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|stype_in=instrument_id|symbols=1,2|is_last=1|id=1\n" +
		"schema=mbp-1|symbols=ALL_SYMBOLS|id=2\n" +
		"unsubscribe|schema=trades|stype_in=instrument_id|symbols=2|is_last=1\n" +
		"unsubscribe|schema=mbp-1|stype_in=instrument_id|symbols=3|is_last=1\n" +
		"start_session\n")
	eventually(t, "the session has begun", func() bool { v := s.Sessions(); return len(v) == 1 && v[0].SentBytes >= 128+6*320 })
	publish(t, s, "1", metadataOf(feed.SchemaNone), trade(1, 0), trade(2, 1), quote(3, 2), quote(4, 3), trade(1, 4))
	eventually(t, "everything is out", func() bool {
		v := s.Sessions()[0]
		return v.Cursors[0].LagRecords == 0 && v.Cursors[1].LagRecords == 0 && v.SentBytes >= 128+6*320+2*48+80
	})
	s.CloseSession(s.Sessions()[0].ID)
	_, records := c.records()
	var got []int
	acks := 0
	for _, r := range records {
		if !r.RType().IsControl() {
			got = append(got, sequence(r))
		} else if m, ok := feed.View[feed.SystemMsg](r); ok && m.Code == feed.SystemUnsubscribeAck {
			acks++
		}
	}
	if len(got) != 3 || got[0] != 0 || got[1] != 3 || got[2] != 4 {
		t.Errorf("records %v came, want 0, 3 and 4", got)
	}
	if acks != 2 {
		t.Errorf("%d unsubscriptions were acknowledged, want 2", acks)
	}
}

// With ts_out every record grows by the send time, control records included.
func TestTsOutIsOnEveryRecord(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trade(1, 0), trade(1, 1))
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset+"|ts_out=1")
	c.send("schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	eventually(t, "the replay is over", func() bool {
		v := s.Sessions()
		return len(v) == 1 && len(v[0].Cursors) == 1 && !v[0].Cursors[0].Replaying && v[0].Cursors[0].LagRecords == 0 && v[0].SentBytes > 128+4*56
	})
	s.CloseSession(s.Sessions()[0].ID)
	m, records := c.records()
	if !m.TsOut {
		t.Error("the metadata does not say ts_out")
	}
	data := 0
	for _, r := range records {
		want := r.RType().RecordSize() + feed.TsOutSize
		if len(r) != want {
			t.Errorf("a %v record has %d bytes, want %d", r.RType(), len(r), want)
		}
		if r.RType() == feed.RTypeMbp0 {
			data++
		}
	}
	if data != 2 {
		t.Errorf("%d trades, want 2", data)
	}
}

// A gap upstream is told where it happened, live and replayed.
func TestGapIsToldAtItsPlaceLiveAndReplayed(t *testing.T) {
	s := serveTest(t)
	live := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(metadataOf(feed.SchemaTrades)); err != nil {
		t.Fatal(err)
	}
	_ = p.Publish(trade(1, 0), trade(1, 1))
	if err := p.Gap(feed.Gap{Schema: "trades", FromTs: 5, ToTs: 9, Cause: "upstream"}); err != nil {
		t.Fatal(err)
	}
	_ = p.Publish(trade(1, 2))
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	replay := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	for name, sub := range map[string]*feed.Subscriber{"live": live, "replay": replay} {
		var order []string
		take(t, sub, func(r feed.Record) bool {
			switch text := systemText(r); {
			case r.RType() == feed.RTypeMbp0:
				order = append(order, string(rune('0'+sequence(r))))
			case strings.HasPrefix(text, "255 gap|"):
				if !strings.Contains(text, "schema=trades|from_ts=5|to_ts=9|cause=upstream") {
					t.Errorf("%s: the gap is told as %q", name, text)
				}
				order = append(order, "gap")
			}
			return len(order) == 4
		})
		if got := strings.Join(order, " "); got != "0 1 gap 2" {
			t.Errorf("%s: the order is %q", name, got)
		}
	}
}

// Recovery, expiry and those who go on by position act on the server's own entries, which they know by their causes.
func TestAProducerCannotReportACauseOfTheServers(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	c.send("start_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades))))
	said := []string{"expired", "cut", "quarantined", "damaged", "skipped", "corrected", "Cut", "upstream", "maintenance"}
	for _, cause := range said {
		c.send(inBand("gap|schema=trades|records=7|cause=" + cause))
	}
	c.send(inBand(lsg.EndSession))
	c.await("ack=0")
	var entered []string
	for _, g := range s.journal.Lookup(testDataset).Gaps() {
		entered = append(entered, g.Cause)
	}
	slices.Sort(entered)
	if got := slices.Compact(entered); !slices.Equal(got, []string{"maintenance", "upstream"}) {
		t.Errorf("entered as %q", got)
	}
}

// A restart must be noticed by clients that reconnect only after an error.
func TestOperatorCloseSaysSoAndTheListenerStaysUp(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trade(1, 0))
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	eventually(t, "the session is listed", func() bool { return len(s.Sessions()) == 1 && s.Sessions()[0].Started })
	if !s.CloseSession(s.Sessions()[0].ID) {
		t.Fatal("no such session")
	}
	_, records := c.records()
	last, ok := feed.View[feed.ErrorMsg](records[len(records)-1])
	if !ok || last.Code != feed.ErrorInternal {
		t.Errorf("the last record is %v, want error 6", records[len(records)-1].RType())
	}
	if got := dialRaw(t, s).auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
		t.Errorf("a reconnect is told %q", got)
	}
}
