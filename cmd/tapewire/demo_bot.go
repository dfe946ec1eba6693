package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// bot is a subscriber of the demo: it digests what it receives, schema by schema, and measures how old it is.
type bot struct {
	name     string
	market   market
	priced   feed.Schema // whose records give the prices to show
	stamps   *stamps
	sub      *feed.Subscriber
	ended    chan struct{}
	complete chan struct{} // closed when every tape has reached its goal

	mu       sync.Mutex
	lacking  int // tapes that have not reached their goal
	tapes    map[feed.Schema]*botTape
	received uint64
	caughtUp time.Duration
	past     uint64 // records that came before it had caught up
	latency  *hdrhistogram.Histogram
	symbols  map[uint32]string
	prices   map[string]feed.Price
	decimals decimals
}

// botTape is what a bot has of one tape.
type botTape struct {
	count  uint64
	digest hash.Hash
	goal   uint64 // when count reaches it, sum is taken; 0: no goal
	sum    []byte
}

// maxLatency bounds what the histogram can hold; a longer time counts as this one.
const maxLatency = time.Minute

func newBot(name string, m market, stamps *stamps) *bot {
	priced := m.schemas()[0]
	if slices.Contains(m.schemas(), feed.SchemaTrades) {
		priced = feed.SchemaTrades
	}
	b := &bot{
		name: name, market: m, priced: priced, stamps: stamps, ended: make(chan struct{}), complete: make(chan struct{}), tapes: map[feed.Schema]*botTape{},
		latency: hdrhistogram.New(1, int64(maxLatency), 3), symbols: map[uint32]string{}, prices: map[string]feed.Price{}, decimals: decimals{},
	}
	for _, schema := range m.schemas() {
		b.tapes[schema] = &botTape{digest: sha256.New()}
	}
	return b
}

// start subscribes to all schemas of the market and receives until stop. A failure later ends the demo.
func (b *bot) start(ctx context.Context, addr string, from *uint64, cancel context.CancelCauseFunc) error {
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: addr, Dataset: b.market.metadata().Dataset, Client: "tapewire demo", SlowReader: lsg.SlowWarn})
	if err != nil {
		return err
	}
	for _, schema := range b.market.schemas() {
		err = errors.Join(err, sub.Subscribe(feed.Subscription{Schema: schema, Start: from}))
	}
	if err == nil {
		_, err = sub.Start()
	}
	if err != nil {
		return errors.Join(err, sub.Close())
	}
	b.sub = sub
	declared := b.market.metadata().Schema
	replaying, began := len(b.tapes), time.Now()
	go func() {
		defer close(b.ended)
		for rec, err := range sub.Records(ctx) {
			switch {
			case err != nil:
				cancel(fmt.Errorf("%s: %w", b.name, err)) // of no effect when the demo ends already
				return
			case rec.RType().IsControl():
				if b.control(rec) {
					if replaying--; replaying == 0 {
						b.arrived(time.Since(began))
					}
				}
			default:
				b.data(rec, declared)
			}
		}
	}()
	return nil
}

// stop ends the bot.
func (b *bot) stop() {
	b.sub.Close()
	<-b.ended
}

// control learns symbols and reports the end of a replay.
func (b *bot) control(rec feed.Record) (replayed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, ok := feed.View[feed.SymbolMappingMsg](rec); ok {
		b.symbols[m.InstrumentID] = m.OutSymbol()
	}
	m, ok := feed.View[feed.SystemMsg](rec)
	return ok && m.Code == feed.SystemReplayCompleted
}

// arrived notes that the past has come.
func (b *bot) arrived(took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caughtUp, b.past = took, b.received
}

// data takes a tick.
func (b *bot) data(rec feed.Record, declared feed.Schema) {
	now := b.stamps.now()
	schema, _ := feed.SchemaOf(rec.RType(), declared)
	b.mu.Lock()
	defer b.mu.Unlock()
	tape := b.tapes[schema]
	if sent, ok := b.stamps.sent(schema, tape.count); ok {
		b.latency.RecordValue(min(max(1, now-sent), int64(maxLatency)))
	}
	b.received++
	tape.digest.Write(rec)
	tape.count++
	b.reach(tape)
	if price, ok := priceOf(rec); ok && schema == b.priced {
		if symbol, ok := b.symbols[rec.InstrumentID()]; ok {
			b.prices[symbol] = price
		}
	}
}

// setGoals makes the bot take each tape's digest when it has so many records of it. It cannot have more yet. The caller holds mu.
func (b *bot) setGoals(goals map[feed.Schema]uint64) {
	b.lacking = len(goals)
	for schema, n := range goals {
		b.tapes[schema].goal = n
		b.reach(b.tapes[schema])
	}
}

// reach takes the digest when the goal is reached. The caller holds mu.
func (b *bot) reach(t *botTape) {
	if t.goal == 0 || t.count != t.goal {
		return
	}
	t.sum = t.digest.Sum(nil)
	if b.lacking--; b.lacking == 0 {
		close(b.complete)
	}
}

// priceOf is the price to show for a record: that of a trade, a close, or what lies between bid and ask.
func priceOf(rec feed.Record) (feed.Price, bool) {
	if m, ok := feed.View[feed.TradeMsg](rec); ok {
		return m.Price, true
	}
	if m, ok := feed.View[feed.OhlcvMsg](rec); ok {
		return m.Close, true
	}
	if m, ok := feed.View[feed.MboMsg](rec); ok {
		return m.Price, m.Action == feed.ActionTrade
	}
	if m, ok := feed.View[feed.Mbp1Msg](rec); ok && m.Level.BidPx != feed.UndefPrice && m.Level.AskPx != feed.UndefPrice {
		return m.Level.BidPx + (m.Level.AskPx-m.Level.BidPx)/2, true
	}
	return 0, false
}

// stamps remembers when the newest records of each schema were published, by their number, for bots in the same process: one clock, no bytes added.
type stamps struct {
	began time.Time
	tapes [feed.NumSchemas]stampRing
}

// stampRing holds the newest times; a record that comes back later than so many others is not measured.
type stampRing struct {
	next  atomic.Uint64
	times []atomic.Int64
}

const stampRingSize = 1 << 16 // records

func newStamps() *stamps {
	s := &stamps{began: time.Now()}
	for i := range s.tapes {
		s.tapes[i].times = make([]atomic.Int64, stampRingSize)
	}
	return s
}

// now is in ns since the start, by the monotonic clock.
func (s *stamps) now() int64 { return int64(time.Since(s.began)) }

// publish notes that the next record of a schema is handed to the producer now.
func (s *stamps) publish(schema feed.Schema) {
	r := &s.tapes[schema]
	n := r.next.Load()
	r.times[n%stampRingSize].Store(s.now())
	r.next.Store(n + 1)
}

// sent is when record n of a schema was published, if that is still known.
func (s *stamps) sent(schema feed.Schema, n uint64) (int64, bool) {
	r := &s.tapes[schema]
	at := r.times[n%stampRingSize].Load()
	return at, r.next.Load() < n+stampRingSize
}
