// Command soak lets tapewire run for long under everything that a desk does to it, and checks every record that anybody receives.
//
// A real gateway is killed and ended and started again while producers, processes of their own, are killed too, and subscribers come,
// stall, leave, are cut off and resume, by symbols, from the beginning, from a time, live, and all the while the oldest records expire.
// Each stream must be on the tapes once and in order; what each session receives must be its tapes, record by record, but for what it
// is told was skipped or has expired, in exact numbers; and when all have left, the gateway must hold what it held before they came.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// settings are what a run is repeated with.
type settings struct {
	tapewire string // the binary
	dir      string // where everything is kept; removed after a run without failure
	minutes  float64
	amount   int // of subscribers
	rate     int // records a second, all streams together
	seed     uint64
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "publish" {
		os.Exit(publish(os.Args[2:]))
	}
	var s settings
	flag.StringVar(&s.tapewire, "tapewire", "bin/tapewire", "the binary to run")
	flag.StringVar(&s.dir, "dir", "bin", "where the tapes are kept meanwhile; about 80 MB a minute")
	flag.Float64Var(&s.minutes, "minutes", 10, "how long")
	flag.IntVar(&s.amount, "subscribers", 200, "how many subscribers")
	flag.IntVar(&s.rate, "rate", 20_000, "records a second, all producers together")
	flag.Uint64Var(&s.seed, "seed", 0, "repeat the decisions of an earlier run; 0: others each time")
	flag.Parse()
	if err := soak(s); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	repeat := fmt.Sprintf("make soak SOAK_SEED=%d SOAK_MINUTES=%v SOAK_SUBSCRIBERS=%d SOAK_RATE=%d", s.seed, s.minutes, s.amount, s.rate)
	fmt.Println("repeat with:", repeat)
	var err error
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp(s.dir, "soak-"); err != nil {
		return err
	}
	r := &run{settings: s}
	if err := r.do(ctx); err != nil {
		return fmt.Errorf("%w\nseed %d, %v after the start; everything is kept in %s\nrepeat with: %s",
			err, s.seed, time.Since(r.tally.began).Round(time.Second), s.dir, repeat)
	}
	fmt.Println(r.tally.summary(s.seed))
	return os.RemoveAll(s.dir)
}
