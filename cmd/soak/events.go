package main

import (
	"context"
	"time"
)

// What is done to the processes, at moments that the seed gives.
const (
	quietLeast = time.Second // between two events
	quietMost  = 20 * time.Second
	quietShare = 12              // of the run, when that is less
	downMost   = 2 * time.Second // before what was ended is started again
)

// How long records are kept: much shorter than a replay or a longer stall needs. Segments must become that old in a run of a minute too.
const (
	ageLeast = 15 * time.Second
	ageMost  = 60 * time.Second // in a run that is longer than shortRun
	shortRun = 2 * time.Minute
)

// quiet waits for the next event. It returns false when there will be none.
func (r *run) quiet(ctx context.Context) bool {
	most := min(quietMost, r.total()/quietShare)
	select {
	case <-time.After(quietLeast + time.Duration(r.rng.Int64N(int64(most)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// disturb kills and ends the gateway, and kills producers, each in its turn.
func (r *run) disturb(ctx context.Context) error {
	events := []func() error{r.killGateway, r.killGateway, r.restartGateway, r.killProducer, r.killProducer}
	for next := 0; r.quiet(ctx); next++ {
		if next %= len(events); next == 0 {
			r.rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
		if err := events[next](); err != nil {
			return err
		}
	}
	return nil
}

// disturbProducers leaves the gateway alone.
func (r *run) disturbProducers(ctx context.Context) error {
	for r.quiet(ctx) {
		if err := r.killProducer(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) killGateway() error {
	r.gateway.kill()
	r.tally.kills.Add(1)
	return r.startGateway()
}

func (r *run) restartGateway() error {
	if err := r.gateway.stop(); err != nil {
		return err
	}
	r.tally.restarts.Add(1)
	return r.startGateway()
}

func (r *run) startGateway() error {
	r.sleepDown()
	if err := r.gateway.complaints(); err != nil {
		return err
	}
	return r.gateway.start(r.diceGateway())
}

// sleepDown lets something be down, now and then for hardly a moment.
func (r *run) sleepDown() {
	if r.rng.IntN(3) > 0 {
		r.sleep(time.Duration(r.rng.Int64N(int64(downMost))))
	}
}

// diceGateway is how the gateway runs in its next life.
func (r *run) diceGateway() []string {
	pick := func(of ...string) string { return of[r.rng.IntN(len(of))] }
	return []string{
		"--loops", pick("1", "1", "2"),
		"--send-path", pick("auto", "auto", "write", "sendfile", "splice", "copy"),
		"--sync", pick("1s", "100ms", "1MiB"),
		"--retain", r.diceAge().String(),
	}
}

// diceAge is how long the gateway keeps records in its next life. The least so far counts: what has expired stays so.
func (r *run) diceAge() time.Duration {
	age := ageLeast
	if r.total() > shortRun {
		age += time.Duration(r.rng.Int64N(int64((ageMost-ageLeast)/time.Second))) * time.Second
	}
	if least := r.age.Load(); least == 0 || int64(age) < least {
		r.age.Store(int64(age))
	}
	return age
}

func (r *run) killProducer() error {
	p := r.producers[r.rng.IntN(len(r.producers))]
	p.kill()
	r.tally.producerKills.Add(1)
	r.sleepDown()
	return p.start()
}
