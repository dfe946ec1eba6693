package row

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// The trading example: the opening of a real day, to many bots, with and without
// zero copy.
func marketOpen(ctx context.Context, b *Bench, row *result.Row) error {
	const bots, speed = 32, 60
	records := b.scaled(10_000, 40_000)
	row.Setup = fmt.Sprintf("The first %d trades after the opening of SPY, AIG, BAC and IBM on 8 October 2013 go to %d bots, %d times as fast as they came. Latency counts from when a tick was due at the producer: until the first bot has it, over all bots, and until the last has it.", records, bots, speed)
	file := filepath.Join(b.Ticks, "dbn", "lean", "equs-trades-20131008.dbn.zst")
	run := fanOut{system: system.Tapewire, subs: bots, records: records, ticks: file, speed: speed, latency: true, rate: 1}
	curves := map[string]*load.Percentiles{}
	var variants []variant
	for _, path := range []string{"auto", "copy"} {
		f := run
		f.flags = []string{"--send-path=" + path}
		variants = append(variants, variant{path, func() (map[string]float64, error) {
			if _, _, err := load.Ticks(file, 1); err != nil {
				return nil, fmt.Errorf("%w: %w", system.ErrUnavailable, err)
			}
			o, err := b.fan(f)
			if err != nil {
				return nil, err
			}
			curves[path] = o.drained.Last
			m := f.latencies(o)
			m["first_subscriber_p50_ns"], m["first_subscriber_p99_ns"] = float64(o.drained.Head.P50), float64(o.drained.Head.P99)
			m[result.Memory] = float64(o.cost.Anon)
			delete(m, "producer_late_p99_ns")
			return m, nil
		}})
	}
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	row.Charts = append(row.Charts, percentileChart("Market open: the last of 32 bots has a tick", curves, variants))
	row.Claims = []result.Claim{
		{Metric: result.LastP50, Of: "auto", Against: "copy"},
		{Metric: result.LastP99, Of: "auto", Against: "copy"},
		{Metric: result.CPUPerRecord, Of: "auto", Against: "copy"},
	}
	return nil
}
