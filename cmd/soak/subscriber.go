package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// subscriber comes, stays a while, stalls, leaves, is cut off and comes again, by its own dice.
type subscriber struct {
	n   int
	run *run
	rng *rand.Rand

	last *place // where the session before can be continued; nil: nowhere
	old  *place // where an earlier one could be: what follows there may have expired
}

// place is where a session of a plan can be continued.
type place struct {
	plan *plan
	at   map[feed.Schema]lsg.Position
}

const (
	drainPatience = 2 * time.Minute
	redial        = 20 * time.Millisecond
	longestPause  = 2 * time.Second // between two sessions
	oldFor        = 4               // sessions, on average, until another place is the old one
)

// serve opens session after session until drain is closed; the last one goes on until it has everything.
func (u *subscriber) serve(ctx context.Context, drain <-chan struct{}) error {
	for u.pause(ctx, drain, time.Duration(u.rng.Int64N(int64(longestPause)))) {
		p := dicePlan(u.rng, u.last, u.old)
		u.last = nil
		if err := u.session(ctx, drain, &p); err != nil {
			return fmt.Errorf("subscriber %d, %v: %w", u.n, &p, err)
		}
	}
	return nil
}

// pause waits; it returns false when no further session is to begin.
func (u *subscriber) pause(ctx context.Context, drain <-chan struct{}, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-drain:
	case <-ctx.Done():
	}
	return false
}

// session is one session, dialled again while the gateway is down.
func (u *subscriber) session(ctx context.Context, drain <-chan struct{}, p *plan) error {
	for u.pause(ctx, drain, redial) {
		life := u.run.gateway.life.Load()
		if !u.run.gateway.serves() {
			continue
		}
		s, err := u.run.open(ctx, p)
		if err == nil {
			u.run.tally.sessions.Add(1)
			if p.from == fromPosition {
				u.run.tally.resumed.Add(1)
			}
			err = u.stay(ctx, drain, s)
			u.leave(s)
			if errors.Is(err, errLost) && u.run.gateway.life.Load() != life {
				u.run.tally.lost.Add(1)
				return nil
			}
			return err
		}
		s.close()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errOwn), u.run.gateway.life.Load() == life:
			return err
		}
	}
	return nil
}

// errLost: the session was ended by the gateway, or by its end.
var errLost = errors.New("the session ended")

// stay receives until it is time to leave.
func (u *subscriber) stay(ctx context.Context, drain <-chan struct{}, s *session) error {
	began := time.Now()
	var draining time.Time
	for ctx.Err() == nil {
		if err := s.receive(ctx); err != nil {
			if errors.Is(err, errWrong) {
				return err
			}
			return fmt.Errorf("%w: %w", errLost, err)
		}
		p, age := s.plan, time.Since(began)
		select {
		case <-drain:
			if draining.IsZero() {
				draining = time.Now()
			}
			if over, err := s.drained(time.Since(draining)); over || err != nil {
				return err
			}
			continue
		default:
		}
		switch {
		case age >= p.stay, p.most > 0 && s.taken >= p.most:
			return nil
		case p.stallFor > 0 && age >= p.stallAt:
			u.run.tally.stalls.Add(1)
			s.choke.stop()
			u.pause(ctx, drain, p.stallFor)
			s.choke.flow()
			p.stallFor = 0
		}
	}
	return nil
}

// drained reports whether the session has all that is on its tapes, or all it wanted.
func (s *session) drained(waited time.Duration) (bool, error) {
	if s.plan.most > 0 && s.taken >= s.plan.most {
		return true, nil
	}
	for _, t := range s.tracks {
		silent, err := t.silent()
		if err != nil {
			return false, fmt.Errorf("%w: %w", errWrong, err)
		}
		if !silent && waited > drainPatience {
			return false, fmt.Errorf("%w: %v: nothing is published any more, and after %v number %d of the tape, which ends at %d, has not come",
				errWrong, t.schema, drainPatience, t.quiet, t.tape.tail())
		}
		if !silent {
			return false, nil
		}
	}
	return true, nil
}

// leave closes a session and keeps where it can be continued.
func (u *subscriber) leave(s *session) {
	s.close()
	left := map[feed.Schema]lsg.Position{}
	for schema, t := range s.tracks {
		u.run.tally.compared.Add(t.compared)
		if t.resumes {
			left[schema] = t.resume
		}
	}
	if len(left) < len(s.tracks) {
		return
	}
	u.last = &place{s.plan, left}
	if u.old == nil || u.rng.IntN(oldFor) == 0 {
		u.old = u.last
	}
}
