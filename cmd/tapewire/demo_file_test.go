package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// The rate is an average of what is played, also of records that all have one time, and of a night that is cut short.
func TestFileIsPlayedAtTheRate(t *testing.T) {
	const rate, laps = 1000, 3
	for name, at := range map[string]func(i int) uint64{
		"one time": func(int) uint64 { return testStart },
		"steady":   func(i int) uint64 { return testStart + uint64(i)*1000 },
		"a night":  func(i int) uint64 { return testStart + uint64(i)*1000 + uint64(i/50)*8*3600e9 },
		"bursts":   func(i int) uint64 { return testStart + uint64(i/20)*1e9 },
	} {
		t.Run(name, func(t *testing.T) {
			const count = 100
			var b bytes.Buffer
			enc, err := feed.NewEncoder(&b, feed.Metadata{Version: 3, Dataset: "TEST.ONE", Schema: feed.SchemaTrades, End: feed.UndefTimestamp})
			must(t, err)
			for i := range count {
				must(t, enc.Write(tradeOf(1, at(i))))
			}
			path := filepath.Join(t.TempDir(), "a.dbn")
			must(t, os.WriteFile(path, b.Bytes(), 0o666))
			m, err := openFileMarket(t.Context(), path, rate)
			must(t, err)
			var due time.Duration
			for range laps*count + 1 {
				_, due, err = m.next()
				must(t, err)
			}
			if want := laps * count * time.Second / rate; due < want*9/10 || due > want*11/10 {
				t.Errorf("%d records take %v, want about %v", laps*count, due, want)
			}
		})
	}
}

// hurried is a market that is always behind its pace.
type hurried struct{ market }

func (h hurried) next() (feed.Record, time.Duration, error) {
	rec, _, err := h.market.next()
	return rec, 0, err
}

func TestMarketThatNeverWaitsCanBeStopped(t *testing.T) {
	addr := startGateway(t)
	source, err := newMadeUpMarket(1, 1000)
	must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	p, err := startPlayer(ctx, addr, hurried{source}, newStamps(), cancel)
	must(t, err)
	for p.published.Load() < 1000 {
		time.Sleep(time.Millisecond) // polls a counter
	}
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}
