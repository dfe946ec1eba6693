package row

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Row 13: how long a gateway takes to listen after it was killed, by the size of
// what it has on disk.
func opening(ctx context.Context, b *Bench, row *result.Row) error {
	sizes := []int{2}
	if b.Set == All {
		sizes = append(sizes, 20)
	}
	row.Setup = "A gateway that holds a tape is killed with kill -9 and started again. The time runs from its start until it listens. Cold: the page cache was dropped first."
	for _, gb := range sizes {
		dir, remove, err := b.dir()
		if err != nil {
			return err
		}
		defer remove()
		tapes := filepath.Join(dir, "tapes")
		fmt.Fprintf(b.Log, "  filling %d GB\n", gb)
		server, err := b.programs.StartTapewire(tapes)
		if err != nil {
			return err
		}
		_, err = b.ingest(server, system.Tapewire, gb*1_000_000_000/system.RecordSize)
		server.Kill()
		if err != nil {
			return err
		}
		start := func(cold bool) func() (map[string]float64, error) {
			return func() (map[string]float64, error) {
				if cold {
					if err := dropCaches(); err != nil {
						return nil, fmt.Errorf("%w: drop the page cache: %w", system.ErrUnavailable, err)
					}
				}
				from := time.Now()
				server, err := b.programs.StartTapewire(tapes)
				if err != nil {
					return nil, err
				}
				took := time.Since(from)
				server.Kill()
				return map[string]float64{"open_ns": float64(took)}, nil
			}
		}
		name := func(s string) string { return fmt.Sprintf("%d GB, %s", gb, s) }
		if err := b.measure(ctx, row, variant{name("warm"), start(false)}, variant{name("cold"), start(true)}); err != nil {
			return err
		}
		for _, s := range []string{"warm", "cold"} {
			row.Claims = append(row.Claims, result.Claim{Metric: "open_ns", Of: name(s), Goal: float64(time.Second)})
		}
		remove()
	}
	return nil
}

func dropCaches() error {
	f, err := os.OpenFile("/proc/sys/vm/drop_caches", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("3\n")
	return errors.Join(err, f.Close())
}
