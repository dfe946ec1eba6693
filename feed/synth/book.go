package synth

import "github.com/tapewire/tapewire/feed"

// level is one side's best price.
type level struct {
	ticks int64 // price in ticks
	size  uint32
	count uint32 // orders
}

// book is an instrument's best bid and ask.
type book struct {
	Instrument
	bid, ask level
	maxTicks int64 // the highest price, so that every one fits a feed.Price
	momentum int32 // -momentumMax .. momentumMax: which way the next moves lean
}

// momentumMax is how far momentum goes; a side is chosen with 1/2 plus or minus momentum/(4*momentumMax).
const momentumMax = 1000

func newBook(i Instrument, d *dice) book {
	b := book{Instrument: i, maxTicks: min(maxTicks, int64((feed.UndefPrice-1)/i.Tick))}
	b.bid.ticks = int64(i.Price / i.Tick)
	b.ask.ticks = b.bid.ticks + 1
	b.refill(&b.bid, d)
	b.refill(&b.ask, d)
	return b
}

// refill puts new orders at a price that has none.
func (b *book) refill(l *level, d *dice) {
	l.size = b.orderSize(d) + b.orderSize(d)
	l.count = 1 + uint32(d.below(uint64(min(l.size, 6))))
}

// orderSize is from 1 to eight times the typical size, most of them small.
func (b *book) orderSize(d *dice) uint32 {
	return 1 + uint32(min(d.exponential(uint64(b.Size)), 8*uint64(b.Size)-1))
}

// pair is what the records show.
func (b *book) pair() feed.BidAskPair {
	return feed.BidAskPair{
		BidPx: feed.Price(b.bid.ticks) * b.Tick, AskPx: feed.Price(b.ask.ticks) * b.Tick,
		BidSz: b.bid.size, AskSz: b.ask.size, BidCt: b.bid.count, AskCt: b.ask.count,
	}
}

// side chooses a side, leaning towards the bid when prices have been rising.
func (b *book) side(d *dice) feed.Side {
	if d.below(4*momentumMax) < uint64(2*momentumMax+b.momentum) {
		return feed.SideBid
	}
	return feed.SideAsk
}

// level is the best level of a side.
func (b *book) level(s feed.Side) *level {
	if s == feed.SideBid {
		return &b.bid
	}
	return &b.ask
}

// lean moves the momentum a step towards a side, and all of it a little towards none.
func (b *book) lean(s feed.Side) {
	const step = 60
	if s == feed.SideBid {
		b.momentum += step
	} else {
		b.momentum -= step
	}
	b.momentum = max(-momentumMax, min(momentumMax, b.momentum-b.momentum/16))
}

// take removes size from a side, by a trade or a cancellation; where nothing is left the price moves away by a tick. At
// the end of the range it is filled up instead.
func (b *book) take(s feed.Side, size uint32, d *dice) {
	l := b.level(s)
	if size < l.size {
		l.size -= size
		l.count = max(1, min(l.count-1, l.size))
		return
	}
	switch {
	case s == feed.SideBid && b.bid.ticks > 1:
		b.bid.ticks--
	case s == feed.SideAsk && b.ask.ticks < b.maxTicks:
		b.ask.ticks++
	}
	b.refill(l, d)
}

// quote changes the book without a trade and tells what was done: the action, the side, the price and the order's size.
func (b *book) quote(d *dice) (action feed.Action, side feed.Side, price feed.Price, size uint32) {
	side = b.side(d)
	l := b.level(side)
	spread := b.ask.ticks - b.bid.ticks
	switch roll := d.below(100); {
	case spread > 1 && roll < 60:
		// Someone betters the price: the wider the spread, the sooner it closes.
		if side == feed.SideBid {
			l.ticks++
		} else {
			l.ticks--
		}
		l.size, l.count = b.orderSize(d), 1
		action, size = feed.ActionAdd, l.size
	case roll < 55 && l.size < 16*b.Size:
		size = b.orderSize(d)
		l.size += size
		l.count++
		action = feed.ActionAdd
	default:
		side = opposite(side) // orders are withdrawn from where prices come towards
		l = b.level(side)
		action, size = feed.ActionCancel, min(l.size, b.orderSize(d))
		price = feed.Price(l.ticks) * b.Tick
		b.take(side, size, d)
		return action, side, price, size
	}
	return action, side, feed.Price(l.ticks) * b.Tick, size
}

func opposite(s feed.Side) feed.Side {
	if s == feed.SideBid {
		return feed.SideAsk
	}
	return feed.SideBid
}
