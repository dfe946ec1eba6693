package row

import (
	"context"
	"fmt"
	"strings"

	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Row 11: filters as desks use them, and the stamp of the time of sending.
func filters(ctx context.Context, b *Bench, row *result.Row) error {
	const desks, each, instruments = 64, 10, 5_000
	records := b.scaled(1_000_000, 4_000_000)
	row.Setup = fmt.Sprintf("One producer flat out, and for each line other subscribers: one session of everything; %d sessions that each want %d of %d instruments; one session that asked for ts_out. CPU is the server's, for a published record.", desks, each, instruments)
	all := fanOut{system: system.Tapewire, subs: 1, records: records, instruments: instruments}
	filtered := all
	filtered.subs, filtered.expect = desks, records/instruments*each
	for n := range desks {
		var ids []string
		for k := range each {
			ids = append(ids, fmt.Sprint(n*instruments/desks+k+1))
		}
		filtered.sub = append(filtered.sub, "schema=trades|stype_in=instrument_id|symbols="+strings.Join(ids, ","))
	}
	stamped := all
	stamped.tsOut, stamped.sub = true, []string{"schema=trades|symbols=ALL_SYMBOLS"}
	published := func(name string, f fanOut) variant {
		return variant{name, func() (map[string]float64, error) {
			o, err := b.fan(f)
			if err != nil {
				return nil, err
			}
			return map[string]float64{
				"server_cpu_ns_per_published_record": float64(o.cost.CPU) / float64(f.records),
				"published_records_per_s":            float64(f.records) / o.wall.Seconds(),
				result.Memory:                        float64(o.cost.Anon),
			}, nil
		}}
	}
	if err := b.measure(ctx, row,
		published("one session of everything", all),
		published("64 sessions with filters", filtered),
		published("one session with ts_out", stamped)); err != nil {
		return err
	}
	const metric = "server_cpu_ns_per_published_record"
	row.Claims = []result.Claim{
		{Metric: metric, Of: "64 sessions with filters", Against: "one session of everything", Goal: 2},
		{Metric: metric, Of: "one session with ts_out", Against: "one session of everything", Goal: 2},
	}
	return nil
}
