package main

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// pace turns the pauses of a file's times into those of a demo. Long ones are cut, since a night without trades should not stop the show, and the
// rest is scaled so that a lap takes as long as the rate says.
type pace struct {
	cut   float64       // ns of market time; a longer pause counts as this one
	scale float64       // wall time for market time
	even  time.Duration // the pause before every record of a file whose times say nothing
	turn  time.Duration // between the last record and the first one
}

// quietPauses is the longest pause, in average ones.
const quietPauses = 5

// gapCounts are the pauses of a file, ns of market time, to two digits.
type gapCounts struct{ *hdrhistogram.Histogram }

func newGapCounts() *gapCounts {
	return &gapCounts{hdrhistogram.New(1, math.MaxInt64/2, 2)}
}

func (g *gapCounts) add(ns uint64) {
	g.RecordValue(int64(min(ns, math.MaxInt64/2))) // within its range
}

// span is the sum of all pauses when none is longer than cut.
func (g *gapCounts) span(cut float64) (sum float64) {
	for _, bar := range g.Distribution() {
		sum += min(float64(bar.From)+float64(bar.To-bar.From)/2, cut) * float64(bar.Count)
	}
	return sum
}

// newPace finds a cut that is quietPauses average pauses after cutting: each round cuts a little more, until that changes nothing.
func newPace(gaps *gapCounts, records uint64, rate float64) pace {
	turn := float64(time.Second) / rate
	p := pace{turn: time.Duration(turn)}
	pauses := float64(gaps.TotalCount())
	if pauses == 0 {
		p.even = p.turn
		return p
	}
	const rounds, settled = 50, 0.99
	p.cut = float64(gaps.Max())
	for range rounds {
		cut := min(p.cut, quietPauses*gaps.span(p.cut)/pauses)
		done := cut > settled*p.cut
		if p.cut = cut; done {
			break
		}
	}
	p.scale = float64(records-1) * turn / gaps.span(p.cut)
	return p
}

// pause is how long to wait for a pause of so many ns of market time; 0 for records of one moment.
func (p pace) pause(ns uint64) time.Duration {
	return p.even + time.Duration(min(float64(ns), p.cut)*p.scale)
}
