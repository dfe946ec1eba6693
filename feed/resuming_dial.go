package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// dial opens a session up to the point where records can be sent.
func (r *ResumingProducer) dial(ctx context.Context, cfg ProducerConfig) (*Producer, error) {
	p, err := DialProducer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.noteMissing(p.Accepted()-p.Missing(), p.Accepted()) // whatever becomes of this session, the gap has been made
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { p.abort(context.Cause(ctx)) })
	defer stop()
	if err = r.declare(ctx, p); err == nil {
		err = p.Start(r.cfg.Metadata)
	}
	if err != nil {
		discard(p, err)
		return nil, err
	}
	return p, nil
}

// discard ends a session at once and waits for its goroutines.
func discard(p *Producer, cause error) {
	p.abort(cause)
	_ = p.Close(context.Background()) // returns at once, with the cause
}

// declare declares the instruments. One that is refused is left out from then on; it must not keep the others from being published. An ID that
// differs from an earlier session's would put records under another symbol, so it is final.
func (r *ResumingProducer) declare(ctx context.Context, p *Producer) error {
	r.mu.Lock()
	instruments := r.cfg.Instruments
	r.mu.Unlock()
	for _, in := range instruments {
		err := r.declareOne(ctx, p, in)
		var refused *InstrumentError
		if errors.As(err, &refused) {
			r.forget(in)
			if r.cfg.Refused != nil {
				r.cfg.Refused(refused)
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *ResumingProducer) declareOne(ctx context.Context, p *Producer, in Instrument) error {
	if _, err := in.Text(); err != nil {
		return refusedHere(in, err)
	}
	timeout := fmt.Errorf("%w: no answer to instrument %s", ErrLost, in.Symbol)
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(r.cfg.DialTimeout, DefaultDialTimeout), timeout)
	defer cancel()
	id, err := p.Instrument(ctx, in)
	if err != nil {
		return err
	}
	return r.learn(in, id)
}

// refusedHere is the refusal of an instrument that the gateway need not be asked about.
func refusedHere(in Instrument, err error) error {
	code := lsg.CodeBadInstrument
	if errors.Is(err, lsg.ErrSymbol) {
		code = lsg.CodeBadSymbol
	}
	return &InstrumentError{Symbol: in.Symbol, Code: code, Text: err.Error()}
}

func (r *ResumingProducer) learn(in Instrument, id uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.ids[in.Symbol]; ok && old.in == in && old.id != id {
		return fmt.Errorf("%w: instrument %s had ID %d and has %d now; was the journal replaced?", ErrChanged, in.Symbol, old.id, id)
	}
	r.ids[in.Symbol] = learned{id, in}
	return nil
}

// keep holds a connection until the producer is closed or trying again is of no use.
func (r *ResumingProducer) keep(p *Producer) {
	defer close(r.done)
	pause := r.cfg.pause
	for {
		err := r.watch(p)
		if r.over(p) {
			r.giveUp(ErrClosed)
			return
		}
		if p.Acked() > p.Accepted() {
			pause = r.cfg.pause // but it goes on doubling when sessions begin and get nowhere
		}
		for p = nil; p == nil; pause = min(2*pause, RedialLongest) {
			if !IsFinal(err) && r.cfg.Lost != nil {
				r.cfg.Lost(err, pause)
			}
			if IsFinal(err) || !r.sleep(pause) {
				r.giveUp(cmp.Or(context.Cause(r.ctx), err))
				return
			}
			p, err = r.resume()
		}
	}
}

// watch waits for the end of a session and returns its cause.
func (r *ResumingProducer) watch(p *Producer) error {
	stop := context.AfterFunc(r.ctx, func() { p.abort(context.Cause(r.ctx)) })
	defer stop()
	<-p.Done()
	err := p.Err()
	discard(p, err)
	return err
}

// sleep returns false when the producer was closed or aborted.
func (r *ResumingProducer) sleep(pause time.Duration) bool {
	timer := time.NewTimer(pause/2 + rand.N(pause/2)) // spread, so that all adapters of a desk do not come at once
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// over tells whether the end of p is that of a closed producer, with nothing left to send.
func (r *ResumingProducer) over(p *Producer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost(p)
	return r.closing && r.acked >= r.held.next
}

// giveUp records why nothing more will be sent.
func (r *ResumingProducer) giveUp(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	r.notify()
}

// resume opens a session and sends again what the gateway lacks.
func (r *ResumingProducer) resume() (*Producer, error) {
	r.mu.Lock()
	cfg := r.cfg.ProducerConfig
	cfg.Resume = new(r.held.first)
	r.mu.Unlock()
	p, err := r.dial(r.ctx, cfg)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(r.ctx, func() { p.abort(context.Cause(r.ctx)) })
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch from := p.Accepted(); {
	case from > r.held.next:
		err = fmt.Errorf("%w: it has %d records of stream %s, this producer published %d; give each program a Name and a Stream of its own",
			ErrChanged, from, cfg.Stream, r.held.next)
	case from < r.held.first:
		err = fmt.Errorf("%w: records were let go meanwhile, the gateway must hear of it", ErrLost)
	default:
		if _, err = p.Write(r.held.mappingsBefore(from)); err == nil {
			_, err = p.Write(r.held.since(from))
		}
	}
	if err != nil {
		discard(p, err)
		return nil, err
	}
	r.p = p
	r.notify()
	return p, nil
}

// publish keeps whole records and sends them when there is a connection. The caller holds mu.
func (r *ResumingProducer) publish(b []byte) error {
	if r.err != nil {
		return r.err
	}
	if r.closing {
		return ErrClosed
	}
	n, err := countRecords(b)
	if err != nil {
		return err
	}
	if err := r.makeRoom(len(b)); err != nil {
		return err
	}
	r.held.add(b, n)
	if r.p != nil {
		if _, err := r.p.Write(b); err != nil {
			r.lost(r.p)
		}
	}
	return nil
}

// makeRoom keeps what is held within MaxHeld: by waiting for acks, or without a connection by letting go of the oldest, or with Wait by waiting for one.
// The caller holds mu.
func (r *ResumingProducer) makeRoom(n int) error {
	if n > r.cfg.MaxHeld {
		return fmt.Errorf("%w: %d bytes to publish, MaxHeld is %d", ErrTooLarge, n, r.cfg.MaxHeld)
	}
	for r.held.size()+n > r.cfg.MaxHeld {
		held := r.held.next - r.held.first
		r.noteAcked()
		r.held.drop(r.acked)
		switch {
		case r.held.next-r.held.first < held:
		case r.p == nil && r.cfg.Wait:
			if err := r.awaitConnection(); err != nil {
				return err
			}
		case r.p == nil || held == 0:
			r.dropped += r.held.dropOldest()
		case r.p.WaitAcked(r.ctx, r.held.first+(held+1)/2) != nil:
			if r.ctx.Err() != nil {
				return context.Cause(r.ctx)
			}
			r.lost(r.p)
		}
	}
	return nil
}

// awaitConnection waits until there is another connection. The caller holds mu, which is free meanwhile.
func (r *ResumingProducer) awaitConnection() error {
	changed := r.changed
	r.mu.Unlock()
	select {
	case <-changed:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	switch {
	case r.err != nil:
		return r.err
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case r.closing:
		return ErrClosed
	}
	return nil
}

// noteAcked carries what the present session acked over to the producer's own count. The caller holds mu.
func (r *ResumingProducer) noteAcked() {
	if r.p != nil {
		r.acked = max(r.acked, r.p.Acked())
	}
}

// noteMissing counts records [from, to) as missing. A gateway tells of them again until more is published. The caller holds mu.
func (r *ResumingProducer) noteMissing(from, to uint64) {
	if from >= to {
		return
	}
	r.missing += to - from
	if a, b := max(from, r.counted[0]), min(to, r.counted[1]); a < b {
		r.missing -= b - a
	}
	r.counted = [2]uint64{from, to}
}

// lost forgets a session that failed and makes sure that it is over, upon which keep dials the next one. The caller holds mu.
func (r *ResumingProducer) lost(p *Producer) {
	p.abort(ErrLost)
	r.acked = max(r.acked, p.Acked())
	if r.p == p {
		r.p = nil
	}
}

// notify wakes those who wait for a connection. The caller holds mu.
func (r *ResumingProducer) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// withConnection calls f with a live session, again with the next one when that is lost, until f succeeds, ctx ends or the producer gives up.
func (r *ResumingProducer) withConnection(ctx context.Context, f func(*Producer) error) error {
	for {
		r.mu.Lock()
		p, changed, err := r.p, r.changed, r.err
		r.mu.Unlock()
		if p != nil {
			if err = f(p); err == nil || ctx.Err() != nil {
				return err
			}
			r.mu.Lock()
			r.lost(p)
			r.mu.Unlock()
			continue
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
