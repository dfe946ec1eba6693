package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// plan is what a subscriber does in one session. It follows from the dice alone, but for a resume, which follows from the session before.
type plan struct {
	dataset  int
	schemas  []feed.Schema
	symbols  []int // nil: all
	byID     bool
	from     beginning
	back     uint64                       // fromTime: how many records before the tail that time is
	resume   map[feed.Schema]lsg.Position // fromPosition
	tsOut    bool
	position bool
	slow     string // slow_reader_behavior

	stay     time.Duration // then it leaves
	most     uint64        // so many records, and it leaves; 0: any number
	stallAt  time.Duration // when it stops reading; 0: never
	stallFor time.Duration
}

type beginning string

const (
	live         beginning = "live"
	fromStart    beginning = "start=0"
	fromTime     beginning = "start=TIME"
	fromPosition beginning = "resume="
)

const (
	longestStay  = 40 * time.Second
	longestStall = 20 * time.Second
	longestBack  = 400_000 // records
	// mostReplayed bounds what a replay from the beginning or an old place takes: a few hundred that take all that is kept would
	// be all that this machine does.
	mostReplayed = 300_000
)

// dicePlan makes up a session. last and old are where the session before and an earlier one can be continued; nil: nowhere.
func dicePlan(rng *rand.Rand, last, old *place) plan {
	p := plan{
		dataset: rng.IntN(len(datasets)), tsOut: rng.IntN(4) == 0, position: rng.IntN(2) == 0,
		slow: []string{"", lsg.SlowSkip, lsg.SlowWarn}[rng.IntN(3)],
		stay: time.Second + time.Duration(rng.Int64N(int64(longestStay))),
	}
	switch rng.IntN(3) {
	case 0:
		p.schemas = schemas[:1]
	case 1:
		p.schemas = schemas[1:]
	default:
		p.schemas = schemas[:]
	}
	if n := rng.IntN(8); n < 4 {
		p.symbols, p.byID = diceSymbols(rng, n), rng.IntN(3) == 0
	}
	switch rng.IntN(8) {
	case 0:
		p.from, p.most = fromStart, 1+rng.Uint64N(mostReplayed)
	case 1, 2:
		p.from, p.back = fromTime, 1+rng.Uint64N(longestBack)
	default:
		p.from = live
	}
	if rng.IntN(3) == 0 {
		p.stallAt = time.Duration(rng.Int64N(int64(p.stay)))
		p.stallFor = time.Duration(rng.Int64N(int64(longestStall)))
	}
	switch {
	case old != nil && rng.IntN(8) == 0:
		p.resumeAt(old)
		p.most = 1 + rng.Uint64N(mostReplayed)
	case last != nil && rng.IntN(4) > 0:
		p.resumeAt(last)
		p.most = 0
	}
	return p
}

func (p *plan) resumeAt(at *place) {
	p.dataset, p.schemas, p.symbols, p.byID = at.plan.dataset, at.plan.schemas, at.plan.symbols, at.plan.byID
	p.from, p.position, p.resume = fromPosition, true, at.at
}

// diceSymbols is the rare one alone, most of them, or a few.
func diceSymbols(rng *rand.Rand, n int) []int {
	switch n {
	case 0:
		return []int{rare}
	case 1:
		return rng.Perm(symbols)[:symbols/2+rng.IntN(symbols/2)]
	}
	return rng.Perm(symbols)[:1+rng.IntN(4)]
}

// subscriptions are what the session sends. starts has the times where fromTime begins.
func (p *plan) subscriptions(b *book, starts map[feed.Schema]uint64) []feed.Subscription {
	var all []feed.Subscription
	for _, schema := range p.schemas {
		sub := feed.Subscription{Schema: schema, SType: feed.STypeRawSymbol}
		if p.byID {
			sub.SType = feed.STypeInstrumentID
		}
		for _, symbol := range p.symbols {
			if p.byID {
				sub.Symbols = append(sub.Symbols, strconv.FormatUint(uint64(b.id(symbol)), 10))
			} else {
				sub.Symbols = append(sub.Symbols, symbolName(symbol))
			}
		}
		switch p.from {
		case fromStart:
			sub.Start = new(uint64)
		case fromTime:
			sub.Start = new(starts[schema])
		case fromPosition:
			at := p.resume[schema]
			sub.Resume = &at
		}
		all = append(all, sub)
	}
	return all
}

// skips is whether the session may be moved forward on the tape of a schema when it reads too slowly.
func (p *plan) skips(schema feed.Schema) bool {
	return schema.SkipsWhenSlow() && p.slow != lsg.SlowWarn
}

func (p *plan) String() string {
	symbols := "all symbols"
	if p.symbols != nil {
		names := slices.Clone(p.symbols)
		slices.Sort(names)
		symbols = fmt.Sprintf("symbols %v (by id: %v)", names, p.byID)
	}
	return fmt.Sprintf("%s %v, %s, %s%v, ts_out=%v position=%v slow_reader_behavior=%q", datasets[p.dataset], p.schemas, symbols, p.from, p.resume, p.tsOut, p.position, p.slow)
}
