package gateway

import (
	"bytes"
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A producer whose key has records_per_second is held to it by back-pressure: what
// it sent is committed, and what it sends next waits. Nothing is dropped. It is
// looked at once for each read buffer, so it costs nothing for a record.
const (
	// paceBurst is what may come at once after a silence, in time at the key's rate.
	paceBurst = time.Second
	// paceLeast is the shortest wait: shorter ones add up until they are worth it.
	paceLeast = time.Millisecond
	// paceTurns is how many times a second it is looked at, when that much was
	// collected: a rate is not kept by a burst and a long silence.
	paceTurns = 10
	// paceRecord is the size of a record for that, in bytes: one of the smallest.
	paceRecord = 48
)

// portion is how many of n bytes are taken before the rate is looked at again.
func (p *producer) portion(n int) int {
	if p.use == nil {
		return n
	}
	rate := p.use.rate.Load()
	if rate == 0 || rate > int64(n) {
		return n // less than a turn, whatever the records
	}
	return min(n, max(int(rate)/paceTurns*paceRecord, feed.MaxRecordSize+8))
}

// overRate is how long the producer has to rest for what was committed since the
// last time.
func (p *producer) overRate() time.Duration {
	if p.use == nil {
		return 0
	}
	accepted := p.writer.Accepted()
	records := accepted - p.metered
	p.metered = accepted
	rate := p.use.rate.Load()
	if rate == 0 || records == 0 {
		return 0
	}
	wait := p.use.records.spend(time.Duration(records*uint64(time.Second)/uint64(rate)), paceBurst)
	if wait < paceLeast {
		return 0
	}
	return wait
}

// pace parks a producer on the event loop that is ahead of its rate, or has sent
// more than its portion: left is what was not taken.
func (p *producer) pace(left []byte) {
	if wait := p.overRate(); wait > 0 || len(left) > 0 {
		p.backlog = bytes.Clone(left)
		p.park(func(ctx context.Context) error { return p.rest(ctx, wait) })
	}
}

// consumePaced takes all of b, at the rate of the key, on a goroutine of its own.
func (p *producer) consumePaced(b []byte) error {
	for {
		n := p.portion(len(b))
		if err := p.consumeAll(b[:n]); err != nil {
			return err
		}
		p.wake() // for the acks
		if err := p.rest(p.srv.ctx, p.overRate()); err != nil || n == len(b) {
			return err
		}
		b = b[n:]
	}
}

// restCheck is how often a resting producer is looked after: it may have gone.
const restCheck = time.Second

// rest waits. The producer is told why when it could notice.
func (p *producer) rest(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	p.srv.metrics.paced.Inc()
	p.paused.Store(true)
	defer func() {
		p.heard.now()
		p.paused.Store(false)
	}()
	if wait >= pauseCheck {
		if !p.pacedBefore.Swap(true) {
			p.srv.log.Warn("producer is held to records_per_second of its key", zap.Uint64("session", p.session), zap.String("dataset", p.req.Dataset),
				zap.String("producer", p.req.Producer), zap.String("key", keyName(p.key)), zap.Int64("records_per_second", p.use.rate.Load()))
		}
		p.line(lsg.Pause{Reason: limitRecords}.Append(nil))
		defer func() { p.line(lsg.AppendResume(nil)) }()
	}
	end := time.Now().Add(wait)
	for {
		left := time.Until(end)
		if left <= 0 || p.finished.Load() || p.dismissed.Load() {
			return nil
		}
		select {
		case <-time.After(min(left, restCheck)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
