package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// run is one soak: a gateway, its producers, its subscribers, and what is known of the tapes.
//
// It has two parts. In the first the gateway is killed and ended as well as its producers; in the second it lives on, so that what
// it holds can be compared with what it held before the subscribers came. Each part ends with the producers paused and every
// session at the end of its tapes.
type run struct {
	settings
	rng     *rand.Rand // of the events; each subscriber has dice of its own
	ctx     context.Context
	cancel  context.CancelCauseFunc
	tally   tally
	gateway *gateway
	where   where
	age     atomic.Int64 // ns, the least that a gateway was told to keep records; 0: none was started yet

	producers   []*producer
	subscribers []*subscriber
	books       [len(datasets)]*book
	followers   []*follower
	following   sync.WaitGroup
	unfollow    context.CancelFunc
}

const (
	firstPart      = 0.6 // of the time
	warmPatience   = time.Minute
	settlePatience = 90 * time.Second // the runtime gives memory back in its own time
	progressEvery  = 10 * time.Second
	await          = 20 * time.Millisecond
)

// do runs everything and returns the first thing that was wrong.
func (r *run) do(ctx context.Context) error {
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	if err := r.prepare(); err != nil {
		return err
	}
	defer r.gateway.log.Close()
	defer r.end()
	err := r.parts()
	if cause := context.Cause(r.ctx); cause != nil {
		return cause // it came first, and what followed may be its consequence
	}
	return err
}

// fail ends the run.
func (r *run) fail(err error) { r.cancel(err) }

func (r *run) prepare() error {
	r.tally.began = time.Now()
	r.rng = rand.New(rand.NewPCG(r.seed, 0))
	ports := rand.New(rand.NewPCG(r.seed, ^uint64(0))) // dice of their own: how many are taken must not change what follows
	addr, err := freeAddr(ports)
	if err != nil {
		return err
	}
	admin, err := freeAddr(ports)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(r.dir, "gateway.log"))
	if err != nil {
		return err
	}
	r.where = where{data: filepath.Join(r.dir, "data"), mirror: filepath.Join(r.dir, "mirror")}
	r.gateway = &gateway{bin: r.tapewire, data: r.where.data, addr: addr, admin: admin, log: log, fail: r.fail}
	for i := range datasets {
		r.books[i] = newBook()
		for _, schema := range schemas {
			r.followers = append(r.followers, newFollower(i, schema, r.books[i], &r.age))
		}
	}
	for stream := range streams {
		r.producers = append(r.producers, newProducer(stream, addr, r.rate/streams, r.fail))
	}
	for n := range r.amount {
		r.subscribers = append(r.subscribers, &subscriber{n: n, run: r, rng: rand.New(rand.NewPCG(r.seed, uint64(n)+1))})
	}
	return nil
}

// end kills what still runs.
func (r *run) end() {
	for _, p := range r.producers {
		p.kill()
	}
	r.gateway.kill()
	r.cancel(nil)
	r.following.Wait()
}

func (r *run) parts() error {
	if err := r.gateway.start(r.diceGateway()); err != nil {
		return err
	}
	for _, p := range r.producers {
		if err := p.start(); err != nil {
			return err
		}
	}
	r.follow()
	if err := r.warm(); err != nil {
		return err
	}
	stop := r.report()
	defer stop()
	first := time.Duration(float64(r.total()) * firstPart)
	if err := r.part(first, r.disturb); err != nil {
		return fmt.Errorf("first part: %w", err)
	}
	before, err := r.alone()
	if err != nil {
		return err
	}
	fmt.Printf("with producers alone: %v\n", before)
	if err := r.part(r.total()-first, r.disturbProducers); err != nil {
		return fmt.Errorf("second part: %w", err)
	}
	if err := r.settle(before); err != nil {
		return err
	}
	return r.finish()
}

func (r *run) total() time.Duration { return time.Duration(r.minutes * float64(time.Minute)) }

// follow reads the tapes from now on, and keeps what they lose.
func (r *run) follow() {
	ctx, cancel := context.WithCancel(r.ctx)
	r.unfollow = cancel
	r.following.Go(func() {
		m := mirror{r.where}
		if err := m.run(ctx); err != nil {
			r.fail(fmt.Errorf("mirror: %w", err))
		}
	})
	for _, f := range r.followers {
		r.following.Go(func() {
			if err := f.run(ctx, r.where); err != nil {
				r.fail(err)
			}
		})
	}
}

func (r *run) follower(dataset int, schema feed.Schema) *follower {
	for _, f := range r.followers {
		if f.dataset == dataset && f.schema == schema {
			return f
		}
	}
	return nil // never: there is one for each tape
}

// until waits for a condition.
func (r *run) until(patience time.Duration, what string, ok func() bool) error {
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for: %s", patience, what)
		}
		if !r.sleep(await) {
			return context.Cause(r.ctx)
		}
	}
	return nil
}

// sleep returns false when the run is over.
func (r *run) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// warm waits until there is something to subscribe to.
func (r *run) warm() error {
	return r.until(warmPatience, "the first records of all streams", func() bool {
		for _, f := range r.followers {
			if f.tail() < 1000 {
				return false
			}
		}
		return r.books[0].complete() && r.books[1].complete()
	})
}

// part lets the subscribers come and disturbs them for a while; then nothing more is published, and all that are there must get all.
func (r *run) part(length time.Duration, disturb func(context.Context) error) error {
	drain := make(chan struct{})
	var wg sync.WaitGroup
	for _, u := range r.subscribers {
		wg.Go(func() {
			if err := u.serve(r.ctx, drain); err != nil {
				r.fail(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(r.ctx, length)
	defer cancel()
	err := disturb(ctx)
	if err == nil && r.ctx.Err() == nil {
		err = r.pause()
	}
	if err != nil {
		r.fail(err)
	}
	close(drain)
	wg.Wait()
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	for _, p := range r.producers {
		if err := p.tell("go"); err != nil {
			return err
		}
	}
	return nil
}

// pause lets nothing more be published, and waits until the followers have seen all that was.
func (r *run) pause() error {
	for _, p := range r.producers {
		sent, err := p.pause()
		if err != nil {
			return err
		}
		if err := r.until(warmPatience, fmt.Sprintf("%d records of stream %d on the tapes", sent, p.stream), func() bool { return r.count(p.stream) == sent }); err != nil {
			return err
		}
	}
	return nil
}

// count is how many records of a stream are on the tapes, without a hole.
func (r *run) count(stream int) uint64 {
	count := ^uint64(0)
	for _, schema := range schemas {
		f := r.follower(datasetOf(stream), schema)
		f.mu.Lock()
		count = min(count, f.due[stream]) // what was checked is all records of the schema before this one
		f.mu.Unlock()
	}
	return count
}
