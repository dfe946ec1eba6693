package row

import (
	"context"

	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Servers that keep what they deliver, as tapewire does.
func peers(ctx context.Context, b *Bench, row *result.Row) error {
	const subs = 16
	row.Setup = "One producer sends as fast as the server confirms, and 16 subscribers take everything. All servers keep their files on the same disk and sync them as they do by default. Each subscriber is a raw socket that drains, and asks for more where the protocol wants that."
	if err := b.measure(ctx, row,
		b.flatOut("tapewire", fanOut{system: system.Tapewire, subs: subs, records: 4_000_000}),
		b.flatOut("jetstream", fanOut{system: system.JetStream, subs: subs, records: 100_000}),
		b.flatOut("jetstream, 100 records", fanOut{system: system.JetStream, subs: subs, records: 2_000_000, batch: 100}),
		b.flatOut("redis streams", fanOut{system: system.Redis, subs: subs, records: 100_000}),
		b.flatOut("redis streams, 100 records", fanOut{system: system.Redis, subs: subs, records: 1_000_000, batch: 100}),
		b.flatOut("kafka", fanOut{system: system.Kafka, subs: subs, records: 4_000_000}),
	); err != nil {
		return err
	}
	for _, peer := range []string{"jetstream", "jetstream, 100 records", "redis streams", "redis streams, 100 records", "kafka"} {
		row.Claims = append(row.Claims, result.Claim{Metric: result.CPUPerRecord, Of: "tapewire", Against: peer}, result.Claim{Metric: result.Delivered, Of: "tapewire", Against: peer, Higher: true})
	}
	row.Notes = append(row.Notes,
		"JetStream drops what comes faster than it stores, so its producer waits for confirmations and is at most 4,096 messages ahead. Its subscribers are push consumers that acknowledge nothing.",
		"Redis writes an append-only file and syncs it every second. Subscribers read with XREAD, 1,000 entries at a time. One thread does everything.",
		"Kafka runs one broker in KRaft mode with one partition. The producer sends batches of 2,000 records, five ahead; subscribers fetch up to 1 MiB at a time from the leader. Kafka, too, sends from the page cache without a copy. The JVM is cold in each run.",
		"Messages of 100 records are faster everywhere, but a consumer that wants one instrument gets all of them and must filter them itself.")
	return nil
}
