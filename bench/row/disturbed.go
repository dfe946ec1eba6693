package row

import (
	"context"
	"fmt"

	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Row 6: what a stalled subscriber, segments that fill up and syncs do to the
// others' latency.
func disturbed(ctx context.Context, b *Bench, row *result.Row) error {
	const subs, rate = 16, 50_000
	records := b.scaled(100_000, 250_000)
	row.Setup = fmt.Sprintf("%d records a second go to %d subscribers. Calm: every subscriber reads, and there is one sync a minute. Disturbed: one more subscriber never reads, and each sync policy has a line. In all of them segments fill up and are replaced: a new tape fills six in five seconds. The relay, which keeps nothing and has no stalled subscriber, shows what the machine itself gives at this rate.", rate, subs)
	run := fanOut{system: system.Tapewire, subs: subs, records: records, rate: rate, latency: true, skip: rate / 5}
	calm := run
	calm.flags = []string{"--sync=60s"}
	relay := run
	relay.system = system.RelayName
	curves := map[string]*load.Percentiles{}
	variants := []variant{b.latency("relay", relay, curves), b.latency("calm", calm, curves)}
	for _, policy := range []string{"1s", "64MiB", "each"} {
		f := run
		f.stalled = 1
		f.flags = []string{"--sync=" + policy}
		name := "disturbed, sync " + policy
		variants = append(variants, b.latency(name, f, curves))
		row.Claims = append(row.Claims, result.Claim{Metric: result.P99, Of: name, Against: "calm", Goal: 1.2})
	}
	row.Claims = append(row.Claims, result.Claim{Metric: result.P99, Of: "calm", Against: "relay"})
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	row.Charts = append(row.Charts, percentileChart("50,000 records/s, the last of 16 subscribers", curves, variants))
	return nil
}
