package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

const testSeed = 42

func testMarket(t testing.TB, opts Options) *Market {
	t.Helper()
	m, err := NewMarket(testSeed, opts, Instruments()...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Numbers that were published, and failures that were reported by seed, must be had again.
func TestASeedGivesTheSameRecordsForEver(t *testing.T) {
	const want = "526a529c452658e0cacd9701dabe5168ffd4a4fe6769a09f7c260713c32ec91f"
	records := func(seed uint64) []byte {
		m, err := NewMarket(seed, Options{Start: 1_700_000_000_000_000_000, PublisherID: 7}, Instruments()...)
		if err != nil {
			t.Fatal(err)
		}
		return m.AppendRecords(m.AppendRecords(nil, feed.SchemaMbp1, 10_000), feed.SchemaTrades, 1000)
	}
	sum := sha256.Sum256(records(testSeed))
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if bytes.Equal(records(testSeed), records(testSeed+1)) {
		t.Error("another seed gives the same records")
	}
}

// A demonstration of trades beside the market, or of times that run back, would be laughed at.
func TestTradesAndQuotesAgree(t *testing.T) {
	const n = 300_000
	m := testMarket(t, Options{Start: 1000})
	instruments := Instruments()
	last := make(map[uint32]feed.BidAskPair)
	trades, sides := 0, map[feed.Side]int{}
	var event, recv uint64
	for i := range n {
		quote, trade := m.Next()
		l := quote.Level
		tick := instruments[quote.InstrumentID-1].Tick
		if l.BidPx >= l.AskPx || l.BidPx <= 0 || l.BidPx%tick != 0 || l.AskPx%tick != 0 || l.BidSz == 0 || l.AskSz == 0 || l.BidCt == 0 || l.AskCt == 0 ||
			l.BidCt > l.BidSz || l.AskCt > l.AskSz {
			t.Fatalf("record %d: book %+v with a tick of %v", i, l, tick)
		}
		if quote.TsEvent < event || quote.TsRecv < recv || quote.TsRecv < quote.TsEvent+wireDelay || quote.Sequence != uint32(i+1) || quote.TsInDelta <= 0 {
			t.Fatalf("record %d: %+v after %d, %d", i, quote, event, recv)
		}
		event, recv = quote.TsEvent, quote.TsRecv
		if r := feed.Bytes(quote); r.RType() != feed.RTypeMbp1 || r.Size() != len(r) {
			t.Fatalf("record %d: %v of %d bytes", i, r.RType(), r.Size())
		}
		if (quote.Action == feed.ActionTrade) != (trade != nil) {
			t.Fatalf("record %d: action %v, trade %v", i, quote.Action, trade)
		}
		if trade == nil {
			last[quote.InstrumentID] = l
			continue
		}
		trades++
		sides[trade.Side]++
		shown := last[quote.InstrumentID]
		if shown != (feed.BidAskPair{}) && shown != l {
			t.Fatalf("record %d: a trade shows %+v, the book was %+v", i, l, shown)
		}
		price, size := l.AskPx, l.AskSz
		if trade.Side == feed.SideAsk {
			price, size = l.BidPx, l.BidSz
		}
		if trade.Price != price || trade.Size == 0 || trade.Size > size || trade.TsEvent != quote.TsEvent || trade.Sequence != quote.Sequence ||
			trade.TsRecv != quote.TsRecv || trade.InstrumentID != quote.InstrumentID {
			t.Fatalf("record %d: trade %+v from %+v", i, trade, l)
		}
	}
	if trades < n/10 || trades > n/3 || sides[feed.SideBid] < trades/3 || sides[feed.SideAsk] < trades/3 {
		t.Errorf("%d trades in %d records, by side %v", trades, n, sides)
	}
	for id, l := range last {
		start := instruments[id-1].Price
		if l.BidPx < start/2 || l.AskPx > 2*start {
			t.Errorf("%s went from %v to %v", instruments[id-1].Symbol, start, l.BidPx)
		}
		t.Logf("%s: %v to %v / %v", instruments[id-1].Symbol, start, l.BidPx, l.AskPx)
	}
}

func TestTheRateIsTheOneAskedFor(t *testing.T) {
	for _, rate := range []uint64{1, 1000, 1_000_000} {
		m := testMarket(t, Options{Rate: rate})
		events := 0
		for range 100_000 {
			if quote, _ := m.Next(); quote.Flags&feed.FlagLast != 0 {
				events++
			}
		}
		got := float64(events) / (float64(m.now) / float64(time.Second))
		if got < 0.9*float64(rate) || got > 1.1*float64(rate) {
			t.Errorf("%.1f events a second, want %d", got, rate)
		}
	}
}

func TestReceiptTimesAreLeftToTheServerWhenAsked(t *testing.T) {
	m := testMarket(t, Options{UndefinedRecv: true})
	for range 1000 {
		quote, trade := m.Next()
		if quote.TsRecv != feed.UndefTimestamp || trade != nil && trade.TsRecv != feed.UndefTimestamp {
			t.Fatalf("%+v %+v", quote, trade)
		}
	}
}

// The walk must not leave the range of prices, however small or large they are.
func TestExtremePricesStayInRange(t *testing.T) {
	m, err := NewMarket(testSeed, Options{}, Instrument{ID: 1, Price: 10, Tick: 1, Size: 1, Weight: 1},
		Instrument{ID: 2, Price: feed.UndefPrice / 2, Tick: feed.UndefPrice / 40, Size: 1 << 20, Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200_000 {
		if quote, _ := m.Next(); quote.Level.BidPx < 1 || quote.Level.AskPx <= quote.Level.BidPx || quote.Level.AskPx == feed.UndefPrice {
			t.Fatalf("record %d: %+v", i, quote.Level)
		}
	}
}

func TestImpossibleInstrumentsAreRefused(t *testing.T) {
	good := Instruments()[0]
	for name, change := range map[string]func(*Instrument){
		"no tick":           func(i *Instrument) { i.Tick = 0 },
		"a negative tick":   func(i *Instrument) { i.Tick = -1 },
		"nine ticks":        func(i *Instrument) { i.Price = 9 * i.Tick },
		"no price":          func(i *Instrument) { i.Price = feed.UndefPrice },
		"too many ticks":    func(i *Instrument) { i.Price, i.Tick = feed.UndefPrice/2, 1 },
		"no size":           func(i *Instrument) { i.Size = 0 },
		"an unlikely size":  func(i *Instrument) { i.Size = 1 << 21 },
		"it is never moved": func(i *Instrument) { i.Weight = 0 },
	} {
		i := good
		change(&i)
		if _, err := NewMarket(1, Options{}, i); !errors.Is(err, ErrInstrument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewMarket(1, Options{}); !errors.Is(err, ErrInstrument) {
		t.Errorf("no instruments: %v", err)
	}
	if _, err := NewMarket(1, Options{Rate: maxRate + 1}, good); !errors.Is(err, ErrInstrument) {
		t.Errorf("too fast: %v", err)
	}
}

func TestRecordsAreMadeWithoutAllocating(t *testing.T) {
	m := testMarket(t, Options{})
	var sum uint64
	if n := testing.AllocsPerRun(10_000, func() { quote, _ := m.Next(); sum += quote.TsEvent }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkNext(b *testing.B) {
	m := testMarket(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		m.Next()
	}
}
