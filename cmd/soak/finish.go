package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/tapewire/tapewire/journal"
)

// alone starts the gateway once more and says what it holds when only the producers are connected.
func (r *run) alone() (usage, error) {
	if err := r.restartGateway(); err != nil {
		return usage{}, err
	}
	var u usage
	var err error
	tails := r.tails()
	waitErr := r.until(warmPatience, "all producers at work again", func() bool {
		u, err = r.gateway.usage()
		if err != nil || u.producers < streams {
			return err != nil
		}
		for i, tail := range r.tails() {
			if tail < tails[i]+1000 {
				return false
			}
		}
		return true
	})
	if err == nil {
		err = waitErr
	}
	return u, err
}

func (r *run) tails() []uint64 {
	var tails []uint64
	for _, f := range r.followers {
		tails = append(tails, f.tail())
	}
	return tails
}

// settle waits until the gateway holds what it held before the subscribers came.
func (r *run) settle(before usage) error {
	var u usage
	var err error
	leaked := fmt.Errorf("not looked yet")
	waitErr := r.until(settlePatience, "the gateway to hold what it held", func() bool {
		if u, err = r.gateway.usage(); err == nil && u.producers == streams && u.sessions == 0 {
			leaked = u.leaked(before)
		}
		return err != nil || leaked == nil
	})
	switch {
	case err != nil:
		return err
	case waitErr != nil && leaked != nil:
		return fmt.Errorf("%v after the last subscriber has left: %w (%v)", settlePatience, leaked, u)
	}
	fmt.Printf("with producers alone again: %v\n", u)
	return waitErr
}

// finish ends everything in order and looks at what is left on the disk.
func (r *run) finish() error {
	var sent [streams]uint64
	for _, p := range r.producers {
		var err error
		if sent[p.stream], err = p.end(); err != nil {
			return err
		}
	}
	if err := r.gateway.stop(); err != nil {
		return err
	}
	stopped := time.Now()
	if err := r.gateway.complaints(); err != nil {
		return err
	}
	r.unfollow()
	r.following.Wait()
	r.countPublished()
	for stream, n := range sent {
		if count := r.count(stream); count != n {
			return fmt.Errorf("stream %d: %d records were published and acked, the tapes hold %d", stream, n, count)
		}
	}
	for _, f := range r.followers {
		if err := f.reread(r.where); err != nil {
			return err
		}
	}
	if err := r.inspect(sent, stopped); err != nil {
		return err
	}
	if r.tally.expired.Load() == 0 && r.total() >= time.Minute {
		return errors.New("nothing has expired")
	}
	out, err := exec.Command(r.tapewire, "journal", "verify", "--data", r.gateway.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tapewire journal verify: %w\n%s", err, out)
	}
	fmt.Printf("%s\n", bytes.TrimSpace(out))
	if received, compared := r.tally.received.Load(), r.tally.compared.Load(); received != compared {
		return fmt.Errorf("%d records were received and %d compared", received, compared)
	}
	return nil
}

// inspect checks what the journal says of itself: the ledger has one entry for each tape that has lost records to their age, and no other.
func (r *run) inspect(sent [streams]uint64, stopped time.Time) error {
	list, err := journal.Inspect(r.gateway.data)
	if err != nil {
		return err
	}
	for _, d := range list {
		gaps := 0
		for _, t := range d.Tapes {
			if t.First == 0 {
				continue
			}
			gaps++
			r.tally.expired.Add(t.First)
			if err := r.follower(slices.Index(datasets[:], d.Name), t.Schema).lost(t.First, stopped); err != nil {
				return fmt.Errorf("tape %s/%v: %w", d.Name, t.Schema, err)
			}
		}
		if d.Problem != "" || d.Gaps != gaps {
			return fmt.Errorf("the journal says of %s: %d gaps, %d tapes that have lost records %s", d.Name, d.Gaps, gaps, d.Problem)
		}
		for _, s := range d.Streams {
			for stream, n := range sent {
				if s.Producer == producerName(stream) && s.Records != n {
					return fmt.Errorf("the journal counts %d records of stream %d, %d were published", s.Records, stream, n)
				}
			}
		}
	}
	return nil
}

// report prints a line now and then, until stop.
func (r *run) report() (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	tick := time.NewTicker(progressEvery)
	wg.Go(func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.look()
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// look notes what the gateway holds and prints how far the run is.
func (r *run) look() {
	life, now := r.gateway.life.Load(), "gateway down"
	u, err := r.gateway.usage()
	switch {
	case err == nil:
		r.tally.note(u)
		now = fmt.Sprintf("%d subscribers, %v", u.sessions, u)
	case life%2 == 1 && life == r.gateway.life.Load():
		r.fail(err)
	}
	r.countPublished()
	fmt.Println(r.tally.progress(now))
}

func (r *run) countPublished() {
	published := uint64(0)
	for _, tail := range r.tails() {
		published += tail
	}
	r.tally.published.Store(published)
}
