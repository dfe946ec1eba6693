package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/gateway"
	"github.com/tapewire/tapewire/journal"
)

type demoCmd struct {
	File     string        `arg:"" optional:"" help:"Play this DBN file, plain or .zst, instead of the made-up market."`
	Duration time.Duration `help:"End by itself after so long, with code 0 if the check was passed by then. Without it the demo goes on until Ctrl-C." placeholder:"20s" env:"DURATION"`
	Rate     float64       `help:"Records a second, on average (default ${default})." placeholder:"N" default:"2000"`
	Seed     uint64        `help:"Of the made-up market; the same seed makes the same prices." placeholder:"N" default:"1"`
}

// Help teaches by example.
func (demoCmd) Help() string {
	return `Examples:

  tapewire demo
  tapewire demo any.dbn.zst
  tapewire demo --rate 50000 --duration 20s

A gateway on a free port of this machine, one producer, a bot that listens live, and one that comes later and
starts from the beginning. After 15 seconds what both bots received is compared with the tape, byte for byte.
It writes into a scratch directory, which is removed at the end.`
}

// When things happen, counted from the start. A short --duration brings them forward.
const (
	lateBotAfter  = 4 * time.Second
	checkAfter    = 15 * time.Second
	checkPatience = 20 * time.Second // for the bots to have what the tape had when the check began
	demoMaxBytes  = 4 << 30          // of ticks: a forgotten demo must not fill the disk
)

// Run shows everything until it is told to end.
func (d *demoCmd) Run(ctx context.Context, c console) error {
	if d.Rate < 1 || d.Rate > 1e6 {
		return usage("--rate %v is out of range; give 1 to 1000000 records a second", d.Rate)
	}
	ctx, stop := hangupEnds(ctx)
	defer stop()
	source, err := d.market(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tapewire-demo-")
	if err != nil {
		return err
	}
	err = d.serve(ctx, c, source, dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err == nil {
		fmt.Fprintln(c.out, "stopped; scratch directory removed")
	}
	return err
}

// market opens what will be played.
func (d *demoCmd) market(ctx context.Context) (market, error) {
	if d.File == "" {
		return newMadeUpMarket(d.Seed, d.Rate)
	}
	return openFileMarket(ctx, d.File, d.Rate)
}

// serve runs the gateway around the demo.
func (d *demoCmd) serve(ctx context.Context, c console, source market, dir string) error {
	log := newLogger(c.err, zap.WarnLevel)
	// The scratch directory may lie on any filesystem: nothing in it has to outlive the demo.
	j, err := journal.Open(dir, journal.Options{Logger: log, AnyFilesystem: true})
	if err != nil {
		return err
	}
	server, err := gateway.New(j, gateway.Config{Listen: "127.0.0.1:0", Limits: gateway.DefaultLimits(), Logger: log})
	if err == nil {
		if err = server.Start(); err == nil {
			s := &show{cmd: d, source: source, addr: server.Addr().String(), journal: j, screen: newScreen(c.out)}
			err = s.run(ctx)
			patience, cancel := context.WithTimeout(context.Background(), shutdownPatience)
			err = errors.Join(err, server.Shutdown(patience))
			cancel()
		}
	}
	return errors.Join(err, j.Close())
}

// show is the demo on a running gateway.
type show struct {
	cmd     *demoCmd
	source  market
	addr    string
	journal *journal.Journal
	screen  *screen
	player  *player
	live    *bot
	late    *bot // nil until it comes
	began   time.Time
}

// run starts the live bot before the first tick, so that it must have all of them, and then follows the clock.
func (s *show) run(user context.Context) error {
	ctx, cancel := context.WithCancelCause(user)
	defer cancel(nil)
	stamps := newStamps()
	s.live = newBot("live bot", s.source, stamps)
	if err := s.live.start(ctx, s.addr, nil, cancel); err != nil {
		return err
	}
	defer s.live.stop()
	var err error
	if s.player, err = startPlayer(ctx, s.addr, s.source, stamps, cancel); err != nil {
		return err
	}
	defer s.player.stop()
	defer func() {
		if s.late != nil {
			s.late.stop()
		}
	}()
	s.began = time.Now()
	s.screen.note(fmt.Sprintf("%s\n%s on %s\nlatency is p50 / p99 from the producer's publish call to the live bot, by one clock", s.source.title(s.cmd.Rate), s.source.metadata().Dataset, s.addr))
	err = s.follow(ctx, stamps, cancel)
	s.screen.draw(s.table())
	if err != nil {
		return err
	}
	if user.Err() == nil {
		return context.Cause(ctx) // nil, or why a part of the demo failed
	}
	return nil
}

// follow does what the clock says until the end: the late bot, the check, the table.
func (s *show) follow(ctx context.Context, stamps *stamps, cancel context.CancelCauseFunc) error {
	lateAt, checkAt := lateBotAfter, checkAfter
	end := make(<-chan time.Time)
	if d := s.cmd.Duration; d > 0 {
		lateAt, checkAt = min(lateAt, d/4), min(checkAt, d*3/4)
		end = time.After(d)
	}
	late, check := time.After(lateAt), time.After(checkAt)
	redraw := time.NewTicker(s.screen.interval)
	defer redraw.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-late:
			s.late = newBot("late bot", s.source, stamps)
			if err := s.late.start(ctx, s.addr, new(uint64), cancel); err != nil {
				return err
			}
		case <-check:
			result, err := s.check(ctx)
			if err != nil || result == "" {
				return err
			}
			s.screen.note(result)
			s.screen.note(s.invitation())
		case <-redraw.C:
			s.screen.draw(s.table())
		}
	}
}

// invitation is how the reader's own bot joins.
func (s *show) invitation() string {
	_, port, _ := net.SplitHostPort(s.addr) // the server's own address
	meta := s.source.metadata()
	return fmt.Sprintf(`
The market goes on until Ctrl-C. Your own bot, with the official client (pip install databento):

  import databento

  live = databento.Live(
      key=%q, gateway="127.0.0.1", port=%s,
  )
  live.subscribe(dataset=%q, schema=%q, symbols="ALL_SYMBOLS", start=0)
  live.add_callback(print)
  live.start()
  live.block_for_close()

or: %s subscribe --gateway %s --dataset %s --schema %s --start 0
`, feed.OpenModeKey, port, meta.Dataset, s.source.schemas()[0], programName(), s.addr, meta.Dataset, s.source.schemas()[0])
}
