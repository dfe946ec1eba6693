package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// player publishes a market at its pace.
type player struct {
	producer  *feed.Producer
	published atomic.Uint64
	bytes     uint64
	closed    atomic.Bool // the market closed because it reached demoMaxBytes
	ended     chan struct{}
	cancel    context.CancelFunc
}

// startPlayer opens the producer's session and plays until stop. A failure later ends the demo.
func startPlayer(ctx context.Context, addr string, m market, stamps *stamps, fail context.CancelCauseFunc) (*player, error) {
	meta := m.metadata()
	producer, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: addr, Dataset: meta.Dataset, Name: "demo", Client: "tapewire demo"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &player{producer: producer, ended: make(chan struct{}), cancel: cancel}
	if err := producer.Start(meta); err != nil {
		cancel()
		producer.Close(ctx) // it ends at once: ctx has ended
		return nil, err
	}
	go func() {
		defer close(p.ended)
		if err := p.play(ctx, m, stamps); err != nil && ctx.Err() == nil {
			fail(fmt.Errorf("producer: %w", err))
		}
	}()
	return p, nil
}

// playerPatience is how long the last acks may take: the end of a demo is not to be waited for.
const playerPatience = 200 * time.Millisecond

// stop ends the market; what was published is acked, if that does not take long.
func (p *player) stop() {
	p.cancel()
	patience, cancel := context.WithTimeout(context.Background(), playerPatience)
	defer cancel()
	cut := context.AfterFunc(patience, func() { p.producer.Close(patience) }) // ends a call that blocks
	<-p.ended
	cut()
	p.producer.Close(patience)
}

func (p *player) play(ctx context.Context, m market, stamps *stamps) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	declared := m.metadata().Schema
	for p.bytes < demoMaxBytes {
		if ctx.Err() != nil { // a market that is behind its pace never waits
			return nil
		}
		rec, due, err := m.next()
		if err != nil {
			return err
		}
		if wait := due - time.Since(began); wait > 0 {
			if err := p.producer.Flush(); err != nil {
				return err
			}
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		}
		if schema, ok := feed.SchemaOf(rec.RType(), declared); ok {
			stamps.publish(schema)
			p.published.Add(1)
		}
		if err := p.producer.Publish(rec); err != nil {
			return err
		}
		p.bytes += uint64(len(rec))
	}
	p.closed.Store(true)
	return p.producer.Flush()
}
