package row

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tapewire/tapewire/bench/harness"
	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// The time between two records that are appended: for their latency, and for what
// the tap asks of the kernel.
const (
	appendEvery = 20 * time.Microsecond
	countEvery  = 2 * time.Microsecond
)

// Row 12: another process follows a tape without a socket.
func localTap(ctx context.Context, b *Bench, row *result.Row) error {
	records := b.scaled(50_000, 200_000)
	row.Setup = fmt.Sprintf("One process appends a record every %v and stamps it just before; another follows the tape through its mapping and spins. The time includes the append. The tap's system calls are counted with a record every %v: the Go runtime makes a few hundred a second of its own, whatever the records do. The second line is the whole way, from a producer's socket through a gateway to a tap.", appendEvery, countEvery)
	variants := []variant{
		{"append to tap", func() (map[string]float64, error) { return b.tapAppend(records, appendEvery, false) }},
		{"socket to tap", func() (map[string]float64, error) { return b.tapGateway(records / 10) }},
	}
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	if m, err := b.tapAppend(records*5, countEvery, true); err != nil {
		row.Notes = append(row.Notes, fmt.Sprintf("System calls of the tap were not counted: %v.", err))
	} else {
		v, err := row.Variant("append to tap")
		if err != nil {
			return err
		}
		v.Add(result.Syscalls, m[result.Syscalls])
		row.Claims = append(row.Claims, result.Claim{Metric: result.Syscalls, Of: "append to tap", Goal: 0.01})
	}
	row.Claims = append(row.Claims, result.Claim{Metric: result.P50, Of: "append to tap", Goal: 1000})
	return nil
}

// tapAppend has a child append to a journal and another one tap it.
func (b *Bench) tapAppend(records int, every time.Duration, count bool) (map[string]float64, error) {
	dir, remove, err := b.dir()
	if err != nil {
		return nil, err
	}
	defer remove()
	tapes := filepath.Join(dir, "tapes")
	writer, err := harness.Child("append", "--dir="+tapes, fmt.Sprint("--records=", records), fmt.Sprint("--every=", every))
	if err != nil {
		return nil, err
	}
	defer writer.Stop()
	var word string
	if err := writer.Read(&word); err != nil {
		return nil, err
	}
	return b.tap(tapes, records, count, writer.Go)
}

// tapGateway publishes to a gateway and taps its files.
func (b *Bench) tapGateway(records int) (map[string]float64, error) {
	dir, remove, err := b.dir()
	if err != nil {
		return nil, err
	}
	defer remove()
	f := fanOut{system: system.Tapewire, records: records, rate: 2_000, batch: 1}
	server, err := b.start(&f, dir)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	producer, err := harness.Child(f.produceArgs(server.Addr)...)
	if err != nil {
		return nil, err
	}
	defer producer.Stop()
	var word string
	if err := producer.Read(&word); err != nil {
		return nil, err
	}
	return b.tap(filepath.Join(dir, "tapes"), records, false, producer.Go)
}

// tap follows a tape that begins to grow with start.
func (b *Bench) tap(dir string, records int, count bool, start func() error) (map[string]float64, error) {
	tap, err := harness.Child("tap", "--dir="+dir, fmt.Sprint("--records=", records))
	if err != nil {
		return nil, err
	}
	defer tap.Stop()
	var word string
	if err := tap.Read(&word); err != nil {
		return nil, err
	}
	var counter *harness.SyscallCounter
	if count {
		if counter, err = harness.CountSyscalls(tap.PID(), filepath.Join(b.Scratch, "perf.txt")); err != nil {
			return nil, fmt.Errorf("%w: %w", system.ErrUnavailable, err)
		}
	}
	if err := start(); err != nil {
		return nil, err
	}
	var p load.Percentiles
	if err := tap.Read(&p); err != nil {
		return nil, err
	}
	m := map[string]float64{result.P50: float64(p.P50), result.P99: float64(p.P99), result.P999: float64(p.P999)}
	if counter != nil {
		n, err := counter.Stop()
		if err != nil {
			return nil, err
		}
		m[result.Syscalls] = float64(n) / float64(records)
	}
	return m, nil
}
