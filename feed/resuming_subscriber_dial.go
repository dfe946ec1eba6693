package feed

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"
)

// dial begins a session.
func (r *ResumingSubscriber) dial(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })()
	sub, err := DialSubscriber(ctx, r.cfg.SubscriberConfig)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	stop := context.AfterFunc(ctx, func() { sub.Close() })
	r.never = map[string]struct{}{}
	for _, c := range r.courses {
		if c.Ended {
			continue
		}
		if err = sub.Subscribe(c.begin()); err != nil {
			break
		}
		c.id = sub.lastID
	}
	if err == nil {
		_, err = sub.Start()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !stop() {
		err = context.Cause(ctx)
	} else if err == nil {
		err = context.Cause(r.ctx)
	}
	if err != nil {
		sub.Close()
		return err
	}
	r.sub, r.moved = sub, false
	for id, name := range r.names.names {
		r.stale[id] = name
	}
	r.names = SymbolMap{}
	return nil
}

// redial dials until there is a session.
func (r *ResumingSubscriber) redial(ctx context.Context) error {
	for {
		err := r.dial(ctx)
		if err == nil {
			if r.cfg.Again != nil {
				r.cfg.Again()
			}
			return nil
		}
		if !r.again(ctx, err) {
			return cmp.Or(context.Cause(ctx), context.Cause(r.ctx), err)
		}
	}
}

// again pauses before the next session; false: it would be of no use, the subscriber was closed, or ctx has ended.
func (r *ResumingSubscriber) again(ctx context.Context, err error) bool {
	if !r.useful(ctx, err) {
		return false
	}
	pause := r.pause/2 + rand.N(r.pause/2) // spread, so that all bots of a desk do not come at once
	if r.pause = min(2*r.pause, RedialLongest); r.cfg.Lost != nil {
		r.cfg.Lost(err, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	return false
}

// useful tells whether another session may get further than the one that ended with err.
func (r *ResumingSubscriber) useful(ctx context.Context, err error) bool {
	return ctx.Err() == nil && r.ctx.Err() == nil && !IsFinal(err)
}

func (r *ResumingSubscriber) session() *Subscriber {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sub
}

// drop lets go of a session that has ended.
func (r *ResumingSubscriber) drop(sub *Subscriber) {
	sub.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sub == sub {
		r.sub = nil
	}
}
