package synth

import (
	"errors"
	"fmt"

	"github.com/tapewire/tapewire/feed"
)

// ErrInstrument says that an instrument cannot be simulated.
var ErrInstrument = errors.New("synth: bad instrument")

// maxTicks bounds a price in ticks, so that a walk of any length stays within what fits.
const maxTicks = 1 << 40

// Instrument is something that is traded. ID and Symbol go through as they are.
type Instrument struct {
	ID     uint32
	Symbol string
	Price  feed.Price // where it starts, at least ten ticks
	Tick   feed.Price // prices are multiples of it
	Size   uint32     // what is typically quoted at a price, 1 or more
	Weight uint16     // how often it moves, relative to the others, 1 or more
}

// Instruments are five made-up ones of the kinds that people trade, with ids from 1.
func Instruments() []Instrument {
	price := func(text string) feed.Price {
		p, err := feed.ParsePrice(text)
		if err != nil {
			panic(err) // the constants below are wrong
		}
		return p
	}
	return []Instrument{
		{ID: 1, Symbol: "DEMO-BTC", Price: price("64250.10"), Tick: price("0.1"), Size: 40, Weight: 10},
		{ID: 2, Symbol: "DEMO-ETH", Price: price("3120.55"), Tick: price("0.01"), Size: 120, Weight: 6},
		{ID: 3, Symbol: "DEMO-INDEX", Price: price("5527.25"), Tick: price("0.25"), Size: 30, Weight: 8},
		{ID: 4, Symbol: "DEMO-STOCK", Price: price("167.42"), Tick: price("0.01"), Size: 400, Weight: 4},
		{ID: 5, Symbol: "DEMO-EUR", Price: price("1.08735"), Tick: price("0.00005"), Size: 25, Weight: 2},
	}
}

func (i Instrument) check() error {
	switch {
	case i.Tick <= 0 || i.Price > feed.UndefPrice/2 || i.Price < 10*i.Tick || i.Price/i.Tick > maxTicks/2:
		return fmt.Errorf("%w %q: a price of %v in ticks of %v; want 10 to %d ticks and at most %v", ErrInstrument, i.Symbol, i.Price, i.Tick, maxTicks/2, feed.UndefPrice/2)
	case i.Size == 0 || i.Size > 1<<20 || i.Weight == 0:
		return fmt.Errorf("%w %q: size %d and weight %d; want a size of 1 to %d and a weight of at least 1", ErrInstrument, i.Symbol, i.Size, i.Weight, 1<<20)
	}
	return nil
}
