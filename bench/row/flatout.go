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
	row.Setup = "One producer as fast as the gateway takes it, 16 subscribers of everything, journal on; the relay journals nothing. Server CPU is the kernel's accounting of the server's process."
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
		"NATS core keeps nothing; one record a message is how most desks use it, 100 records a message is how it is used when speed matters.")
	return nil
}
