package synth

import (
	"fmt"
	"math/rand/v2"

	"github.com/tapewire/tapewire/feed"
)

// Options of a Market. The zero value works.
type Options struct {
	Start         uint64 // ns: no event is before it
	Rate          uint64 // events a second, on average; 0: 1000; at most 100 million
	PublisherID   uint16
	UndefinedRecv bool // leave ts_recv undefined, for a server that stamps it
}

const (
	defaultRate = 1000
	maxRate     = 100_000_000

	// maxInstruments keeps the sum of their weights below 2^32.
	maxInstruments = 1 << 16

	nsPerSecond = 1_000_000_000
	wireDelay   = 150_000 // ns from the venue's event to its receipt, at least
	wireJitter  = 30_000  // ns on top, on average
	sendDelay   = 20_000  // ns of these before the venue sent

	// Events come in clusters: after each, with this chance in 100, the next is of the same instrument and soon.
	clusterChance = 50
	clusterSpeed  = 20 // times sooner than on average

	tradeChance        = 12 // in 100
	tradeChanceCluster = 45 // in 100, after a trade
)

// Market makes records one at a time. It is not safe for concurrent use.
type Market struct {
	dice     dice
	opts     Options
	books    []book
	weights  uint64
	now      uint64 // ts_event
	recv     uint64 // the last ts_recv
	sequence uint32

	at        int  // the book of the last event
	wasTrade  bool // the last event was a trade
	unsettled bool // the trade has not been taken out of the book yet
	resting   feed.Side
	trade     feed.TradeMsg
	quote     feed.Mbp1Msg
}

// NewMarket opens a market in the instruments. ErrInstrument: there are none, or one cannot be simulated, or the rate is
// too high.
func NewMarket(seed uint64, opts Options, instruments ...Instrument) (*Market, error) {
	if opts.Rate == 0 {
		opts.Rate = defaultRate
	}
	if n := len(instruments); n == 0 || n > maxInstruments || opts.Rate > maxRate {
		return nil, fmt.Errorf("%w: %d instruments at %d events a second; want 1 to %d, and at most %d", ErrInstrument, n, opts.Rate, maxInstruments, maxRate)
	}
	m := &Market{dice: dice{rand.NewPCG(seed, 0)}, opts: opts, now: opts.Start}
	for _, i := range instruments {
		if err := i.check(); err != nil {
			return nil, err
		}
		m.books = append(m.books, newBook(i, &m.dice))
		m.weights += uint64(i.Weight)
	}
	feed.Init(&m.trade, feed.RTypeMbp0)
	feed.Init(&m.quote, feed.RTypeMbp1)
	m.trade.Flags = feed.FlagLast // alone in its schema, it is the event's last record
	return m, nil
}

// Next makes the next mbp-1 record, and with a trade the trades record of the same event; otherwise trade is nil. Both are
// good until the next call. A trade's record shows the book before it; the record after it shows the book without what was
// traded, at the same ts_event.
func (m *Market) Next() (quote *feed.Mbp1Msg, trade *feed.TradeMsg) {
	if m.unsettled {
		m.settle()
		return &m.quote, nil
	}
	m.advance()
	b := &m.books[m.at]
	chance := uint64(tradeChance)
	if m.wasTrade {
		chance = tradeChanceCluster
	}
	if m.wasTrade = m.dice.below(100) < chance; m.wasTrade {
		m.deal(b)
		return &m.quote, &m.trade
	}
	m.quote.Action, m.quote.Side, m.quote.Price, m.quote.Size = b.quote(&m.dice)
	m.finish(b, feed.FlagLast)
	return &m.quote, nil
}

// AppendRecords appends the next n records of one schema, which is trades or mbp-1, as bytes; those of the other are left
// out. It panics on any other schema.
func (m *Market) AppendRecords(dst []byte, schema feed.Schema, n int) []byte {
	for n > 0 {
		quote, trade := m.Next()
		switch {
		case schema == feed.SchemaMbp1:
			dst = append(dst, feed.Bytes(quote)...)
			n--
		case schema != feed.SchemaTrades:
			panic(fmt.Sprintf("synth: a market has no %v", schema))
		case trade != nil:
			dst = append(dst, feed.Bytes(trade)...)
			n--
		}
	}
	return dst
}

// advance moves on to the time and the instrument of the next event.
func (m *Market) advance() {
	mean := nsPerSecond / m.opts.Rate
	if m.sequence > 0 && m.dice.below(100) < clusterChance {
		m.now += m.dice.exponential(mean / clusterSpeed)
		return
	}
	// What the clustered events are early, the others are late.
	m.now += m.dice.exponential(mean * (100*clusterSpeed - clusterChance) / (clusterSpeed * (100 - clusterChance)))
	m.wasTrade = false
	pick := m.dice.below(m.weights)
	for i := range m.books {
		weight := uint64(m.books[i].Weight)
		if pick < weight {
			m.at = i
			return
		}
		pick -= weight
	}
}

// deal makes a trade: someone takes from the other side's best price.
func (m *Market) deal(b *book) {
	aggressor := b.side(&m.dice)
	b.lean(aggressor)
	m.resting = opposite(aggressor)
	l := b.level(m.resting)
	size := b.orderSize(&m.dice)
	if m.dice.below(100) < 30 {
		size = l.size // the whole level, after which the price moves
	}
	m.quote.Action, m.quote.Side, m.quote.Price, m.quote.Size = feed.ActionTrade, aggressor, feed.Price(l.ticks)*b.Tick, min(size, l.size)
	m.finish(b, 0)
	m.unsettled = true

	m.trade.PublisherID, m.trade.InstrumentID, m.trade.TsEvent = m.quote.PublisherID, m.quote.InstrumentID, m.quote.TsEvent
	m.trade.Action, m.trade.Side, m.trade.Price, m.trade.Size = m.quote.Action, m.quote.Side, m.quote.Price, m.quote.Size
	m.trade.TsRecv, m.trade.TsInDelta, m.trade.Sequence = m.quote.TsRecv, m.quote.TsInDelta, m.quote.Sequence
}

// settle takes the last trade out of the book.
func (m *Market) settle() {
	b := &m.books[m.at]
	b.take(m.resting, m.quote.Size, &m.dice)
	m.quote.Action, m.quote.Side = feed.ActionCancel, m.resting
	m.unsettled = false
	m.finish(b, feed.FlagLast)
}

// finish fills what every record has.
func (m *Market) finish(b *book, flags feed.Flags) {
	m.sequence++
	m.quote.PublisherID, m.quote.InstrumentID, m.quote.TsEvent = m.opts.PublisherID, b.ID, m.now
	m.quote.Flags, m.quote.Sequence, m.quote.Level = flags, m.sequence, b.pair()
	delay := wireDelay + m.dice.exponential(wireJitter)
	m.recv = max(m.recv, m.now+delay)
	m.quote.TsRecv, m.quote.TsInDelta = m.recv, int32(min(m.recv-m.now-sendDelay, nsPerSecond))
	if m.opts.UndefinedRecv {
		m.quote.TsRecv, m.quote.TsInDelta = feed.UndefTimestamp, 0
	}
}
