package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/synth"
)

// market is what the demo plays.
type market interface {
	metadata() feed.Metadata
	schemas() []feed.Schema    // those it has records of, at least one
	title(rate float64) string // what is played, in one line
	// next gives a record, good until the next call, and when it is due, counted from the first one. A market has no end.
	next() (feed.Record, time.Duration, error)
}

// madeUpDataset is where the made-up market trades.
const madeUpDataset = "DEMO.MARKET"

// madeUpPublisher is the venue's number, far from those that are assigned to real venues, so that no tool shows a wrong name.
const madeUpPublisher = 65000

// recordsPerEvent is what a synthetic market makes of an event: a quote, and for about one in seven a trade and the quote after it.
const recordsPerEvent = 1.3

// madeUpMarket is a synthetic market that happens now. It leaves ts_recv to the gateway, as an adapter would.
type madeUpMarket struct {
	synth *synth.Market
	start uint64
	trade *feed.TradeMsg // comes next, after its quote
	meta  feed.Metadata
}

func newMadeUpMarket(seed uint64, rate float64) (*madeUpMarket, error) {
	now := time.Now().UTC()
	m := &madeUpMarket{start: uint64(now.UnixNano()), meta: feed.Metadata{
		Version: feed.Version, Dataset: madeUpDataset, Schema: feed.SchemaNone, Start: uint64(now.UnixNano()), End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}}
	instruments := synth.Instruments()
	for _, in := range instruments {
		m.meta.Symbols = append(m.meta.Symbols, in.Symbol)
		m.meta.Mappings = append(m.meta.Mappings, feed.SymbolMapping{RawSymbol: in.Symbol, Intervals: []feed.MappingInterval{{
			StartDate: utcDay(m.start), EndDate: utcDay(uint64(now.AddDate(1, 0, 0).UnixNano())), Symbol: strconv.FormatUint(uint64(in.ID), 10),
		}}})
	}
	var err error
	m.synth, err = synth.NewMarket(seed, synth.Options{Start: m.start, Rate: max(1, uint64(rate/recordsPerEvent)), PublisherID: madeUpPublisher, UndefinedRecv: true}, instruments...)
	return m, err
}

func (m *madeUpMarket) metadata() feed.Metadata { return m.meta }
func (m *madeUpMarket) schemas() []feed.Schema {
	return []feed.Schema{feed.SchemaTrades, feed.SchemaMbp1}
}

func (m *madeUpMarket) title(rate float64) string {
	return fmt.Sprintf("playing a made-up market, about %s records/s", grouped(uint64(rate)))
}

// next gives each event's quote and then its trade.
func (m *madeUpMarket) next() (feed.Record, time.Duration, error) {
	if trade := m.trade; trade != nil {
		m.trade = nil
		return feed.Bytes(trade), time.Duration(trade.TsEvent - m.start), nil
	}
	quote, trade := m.synth.Next()
	m.trade = trade
	return feed.Bytes(quote), time.Duration(quote.TsEvent - m.start), nil
}
