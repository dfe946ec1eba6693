package row

import (
	"context"
	"fmt"

	"github.com/tapewire/tapewire/bench/harness"
	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Row 9: what a delivered record costs as subscribers are added.
func growth(ctx context.Context, b *Bench, row *result.Row) error {
	const rate = 100
	records := b.scaled(200, 500)
	sizes := []int{16, 64, 256, 1_024}
	row.Setup = fmt.Sprintf("%d records a second, one at a time, go to 16 and up to 1,024 subscribers: each record is one send to each of them.", rate)
	var variants []variant
	name := func(subs int) string { return fmt.Sprint(subs, " subscribers") }
	for _, subs := range sizes {
		f := fanOut{system: system.Tapewire, subs: subs, records: records, rate: rate, latency: true}
		variants = append(variants, variant{name(subs), func() (map[string]float64, error) {
			o, err := b.fan(f)
			if err != nil {
				return nil, err
			}
			m := f.latencies(o)
			m["cpu_ns_per_send"] = float64(o.cost.CPU) / o.sends
			delete(m, "producer_late_p99_ns")
			return m, nil
		}})
	}
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	line := result.Line{Name: "CPU of the server"}
	for _, subs := range sizes {
		if y, ok := median(row, name(subs), result.CPUPerRecord); ok {
			line.X, line.Y = append(line.X, float64(subs)), append(line.Y, y/1000)
		}
	}
	row.Charts = append(row.Charts, result.Chart{Title: "What a delivered record costs", XLabel: "subscribers", YLabel: "us of CPU", LogX: true, Lines: []result.Line{line}})
	for _, metric := range []string{"cpu_ns_per_send", result.CPUPerRecord} {
		for _, subs := range sizes[2:] {
			row.Claims = append(row.Claims, result.Claim{Metric: metric, Of: name(subs), Against: name(sizes[0]), Goal: 1.15})
		}
	}
	return nil
}

// Row 10: what a session costs that has nothing to do.
func idle(ctx context.Context, b *Bench, row *result.Row) error {
	idlers := b.scaled(500, 5_000)
	const active, rate = 100, 1_000
	records := b.scaled(2_000, 5_000)
	row.Setup = fmt.Sprintf("%d active sessions at %d records a second, alone and beside %d sessions that wait for a dataset to which nobody publishes.", active, rate, idlers)
	run := fanOut{system: system.Tapewire, subs: active, records: records, rate: rate, latency: true, skip: rate / 5}
	curves := map[string]*load.Percentiles{}
	variants := []variant{
		b.latency("active alone", run, curves),
		{"active beside idle", func() (map[string]float64, error) { return b.besideIdle(run, idlers) }},
	}
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	row.Claims = []result.Claim{
		{Metric: "own_memory_bytes_per_idle_session", Of: "active beside idle", Goal: 8 << 10},
		{Metric: result.P99, Of: "active beside idle", Against: "active alone", Goal: 1.2},
	}
	return nil
}

// besideIdle measures active sessions while others wait.
func (b *Bench) besideIdle(f fanOut, idlers int) (map[string]float64, error) {
	f.batch = 1
	dir, remove, err := b.dir()
	if err != nil {
		return nil, err
	}
	defer remove()
	server, err := b.start(&f, dir)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	before, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	waiting := fanOut{system: system.Tapewire, stalled: idlers, batch: 1, dataset: "IDLE.WIRE", sub: []string{"schema=trades|symbols=ALL_SYMBOLS"}}
	crowd, err := harness.Child(waiting.drainArgs(server.Addr)...)
	if err != nil {
		return nil, err
	}
	defer crowd.Stop()
	var word string
	if err := crowd.Read(&word); err != nil {
		return nil, err
	}
	after, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	o, err := b.load(&f, server)
	if err != nil {
		return nil, err
	}
	m := f.latencies(o)
	m["own_memory_bytes_per_idle_session"] = float64(after.Anon-before.Anon) / float64(idlers)
	return m, nil
}
