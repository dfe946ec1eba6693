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

// Row 3: one producer flat out, nobody listens.
func ingestFlatOut(ctx context.Context, b *Bench, row *result.Row) error {
	records := b.scaled(2_000_000, 10_000_000)
	row.Setup = fmt.Sprintf("One producer sends %d million records as fast as the server takes them; the time ends when the last one is confirmed. The floor is one thread that receives into a mapped file whose pages all exist. The line below it makes each page when its first byte comes. tapewire makes its pages while it runs.", records/1_000_000)
	ingest := func(flags ...string) func() (map[string]float64, error) {
		return func() (map[string]float64, error) {
			dir, remove, err := b.dir()
			if err != nil {
				return nil, err
			}
			defer remove()
			server, err := b.programs.StartTapewire(filepath.Join(dir, "tapes"), flags...)
			if err != nil {
				return nil, err
			}
			defer server.Stop()
			return b.ingest(server, system.Tapewire, records)
		}
	}
	floor := func(lazy bool) func() (map[string]float64, error) {
		return func() (map[string]float64, error) {
			dir, remove, err := b.dir()
			if err != nil {
				return nil, err
			}
			defer remove()
			server, err := system.StartChild("recv", "--path="+filepath.Join(dir, "floor"), fmt.Sprint("--size=", records*system.RecordSize), fmt.Sprint("--lazy=", lazy))
			if err != nil {
				return nil, err
			}
			defer server.Stop()
			return b.ingest(server, system.RelayName, records)
		}
	}
	if err := b.measure(ctx, row,
		variant{"receive into a mapping", floor(false)},
		variant{"receive, pages made meanwhile", floor(true)},
		variant{"tapewire", ingest()},
		variant{"tapewire, sync each", ingest("--sync=each")},
	); err != nil {
		return err
	}
	row.Claims = []result.Claim{
		{Metric: result.Ingested, Of: "tapewire", Against: "receive into a mapping", Goal: 0.7, Extra: 0.9, Higher: true},
		{Metric: result.Ingested, Of: "tapewire", Against: "receive, pages made meanwhile", Higher: true},
	}
	return nil
}

// ingest publishes to a server that is ready and waits for its confirmation.
func (b *Bench) ingest(server *system.Server, wire string, records int) (map[string]float64, error) {
	if err := harness.WarmMemory(warmBytes); err != nil {
		return nil, err
	}
	f := fanOut{system: wire, records: records}
	producer, err := harness.Child(append(f.produceArgs(server.Addr), "--confirm")...)
	if err != nil {
		return nil, err
	}
	defer producer.Stop()
	var word string
	if err := producer.Read(&word); err != nil {
		return nil, err
	}
	before, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	if err := producer.Go(); err != nil {
		return nil, err
	}
	var p load.Produced
	if err := producer.Read(&p); err != nil {
		return nil, err
	}
	after, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	cost := after.Since(before)
	return map[string]float64{
		result.Ingested:            float64(records) / time.Duration(p.ConfirmedNs-p.StartNs).Seconds(),
		"server_cpu_ns_per_record": float64(cost.CPU) / float64(records),
		result.Switches:            float64(cost.Switches) / time.Duration(p.ConfirmedNs-p.StartNs).Seconds(),
	}, nil
}
