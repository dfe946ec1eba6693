package row

import (
	"context"
	"fmt"

	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Rows 4 and 5: one record at a time, from when it was due at the producer to
// when a subscriber has read it.
func oneAtATime(ctx context.Context, b *Bench, row *result.Row) error {
	const rate = 2_000
	records := b.scaled(3_000, 10_000)
	row.Setup = fmt.Sprintf("%d records a second, each sent when it is due. Latency counts from when a record was due; the first %d records do not count. The number behind a name is how many subscribers there are.", rate, rate/2)
	run := func(f fanOut) fanOut {
		f.records, f.rate, f.latency, f.skip = records, rate, true, rate/2
		return f
	}
	for _, subs := range []int{1, 16} {
		name := func(s string) string { return fmt.Sprintf("%s, %d", s, subs) }
		curves := map[string]*load.Percentiles{}
		variants := []variant{
			b.latency(name("relay"), run(fanOut{system: system.RelayName, subs: subs}), curves),
			b.latency(name("tapewire"), run(fanOut{system: system.Tapewire, subs: subs}), curves),
			b.latency(name("nats"), run(fanOut{system: system.NATS, subs: subs}), curves),
		}
		if subs == 1 {
			variants = append(variants,
				b.latency(name("relay spinning"), run(fanOut{system: system.RelayName, spin: true, subs: subs}), curves),
				b.latency(name("tapewire --spin"), run(fanOut{system: system.Tapewire, flags: []string{"--spin"}, subs: subs}), curves))
		}
		if err := b.measure(ctx, row, variants...); err != nil {
			return err
		}
		row.Charts = append(row.Charts, percentileChart("Publish to last receive, "+subscribers(subs), curves, variants))
		if subs == 1 {
			row.Claims = append(row.Claims,
				result.Claim{Metric: result.P50, Of: name("tapewire"), Against: name("relay"), Goal: 1.5, Extra: 1.25},
				result.Claim{Metric: result.P99, Of: name("tapewire"), Against: name("relay"), Goal: 1.5, Extra: 1.25},
				result.Claim{Metric: result.P50, Of: name("tapewire --spin"), Against: name("relay spinning"), Goal: 1.3})
			continue
		}
		row.Claims = append(row.Claims,
			result.Claim{Metric: result.LastP50, Of: name("tapewire"), Against: name("relay"), Goal: 1.3, Extra: 1.1},
			result.Claim{Metric: result.LastP99, Of: name("tapewire"), Against: name("relay"), Goal: 1.3, Extra: 1.1})
	}
	return nil
}

// latency is a variant of it; the last round's curve is kept for the chart.
func (b *Bench) latency(name string, f fanOut, curves map[string]*load.Percentiles) variant {
	return variant{name, func() (map[string]float64, error) {
		o, err := b.fan(f)
		if err != nil {
			return nil, err
		}
		curves[name] = o.drained.Last
		return f.latencies(o), nil
	}}
}

// latencies is the figures of a run at a rate.
func (f *fanOut) latencies(o *outcome) map[string]float64 {
	each, last := o.drained.Each, o.drained.Last
	return map[string]float64{
		result.P50: float64(each.P50), result.P99: float64(each.P99), result.P999: float64(each.P999),
		result.LastP50: float64(last.P50), result.LastP99: float64(last.P99),
		result.CPUPerRecord:    float64(o.cost.CPU) / (float64(f.wanted()) * float64(f.subs)),
		result.Switches:        float64(o.cost.Switches) / o.wall.Seconds(),
		"producer_late_p99_ns": float64(o.produced.LateP99),
	}
}

// percentileChart draws the curves of the variants that ran.
func percentileChart(title string, curves map[string]*load.Percentiles, variants []variant) result.Chart {
	chart := result.Chart{Title: title, XLabel: "percentile", YLabel: "latency, us", LogX: true, LogY: true, Percentiles: true}
	for _, v := range variants {
		c := curves[v.name]
		if c == nil {
			continue
		}
		line := result.Line{Name: v.name}
		for _, p := range c.Curve {
			line.X, line.Y = append(line.X, p.X), append(line.Y, p.Y/1000)
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart
}
