package row

import (
	"context"

	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Rows 1 and 2: one run gives both, the CPU and the rate.
func fanOutFlatOut(ctx context.Context, b *Bench, row *result.Row) error {
	const subs = 16
	records := b.scaled(1_000_000, 4_000_000)
	row.Setup = "One producer sends as fast as the server takes records, and 16 subscribers take everything. tapewire keeps a journal; the relay keeps nothing."
	runs := map[string]fanOut{
		"relay":             {system: system.RelayName, subs: subs, records: records},
		"tapewire":          {system: system.Tapewire, subs: subs, records: records},
		"tapewire splice":   {system: system.Tapewire, subs: subs, records: records, flags: []string{"--send-path=splice"}},
		"tapewire sendfile": {system: system.Tapewire, subs: subs, records: records, flags: []string{"--send-path=sendfile"}},
		"tapewire copy":     {system: system.Tapewire, subs: subs, records: records, flags: []string{"--send-path=copy"}},
		"nats":              {system: system.NATS, subs: subs, records: records / 20},
		"nats, 100 records": {system: system.NATS, subs: subs, records: records, batch: 100},
	}
	names := []string{"relay", "tapewire", "tapewire splice", "tapewire sendfile", "tapewire copy", "nats", "nats, 100 records"}
	var variants []variant
	for _, name := range names {
		variants = append(variants, b.flatOut(name, runs[name]))
	}
	if err := b.measure(ctx, row, variants...); err != nil {
		return err
	}
	if b.Set != Quick {
		b.countSyscalls(row, runs)
	}
	row.Claims = []result.Claim{
		{Metric: result.CPUPerRecord, Of: "tapewire", Against: "relay", Goal: 1.5, Extra: 1.1},
		{Metric: result.Delivered, Of: "tapewire", Against: "relay", Goal: 0.8, Extra: 1.0, Higher: true},
		{Metric: result.CPUPerRecord, Of: "tapewire", Against: "tapewire copy"},
		{Metric: result.CPUPerRecord, Of: "tapewire", Against: "nats"},
		{Metric: result.CPUPerRecord, Of: "tapewire", Against: "nats, 100 records"},
	}
	row.Notes = append(row.Notes,
		"NATS core keeps nothing. Most desks send one record in a message; where speed matters, a message carries 100.")
	return nil
}
