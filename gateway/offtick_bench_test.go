package gateway

import (
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// What it costs a record that its session declared instruments, with and without an increment.
func BenchmarkDeclaredInstrumentsCheck(b *testing.B) {
	const count, tick = 1000, 10_000_000
	for schema, rtype := range map[feed.Schema]feed.RType{feed.SchemaTrades: feed.RTypeMbp0, feed.SchemaMbp1: feed.RTypeMbp1, feed.SchemaMbp10: feed.RTypeMbp10} {
		size := schema.RecordSize()
		run := make([]byte, count*size) // prices of 0 are on every tick
		for at := 0; at < len(run); at += size {
			run[at], run[at+1], run[at+4] = byte(size/4), byte(rtype), 1
		}
		for name, increment := range map[string]int64{"no increment": 0, "increment": tick} {
			b.Run(schema.String()+"/"+name, func(b *testing.B) {
				in := &ingest{known: map[uint32]int64{1: increment}}
				for b.Loop() {
					if kept, err := in.onlyKnown(run, size); err != nil || len(kept) != len(run) {
						b.Fatal(len(kept), err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/record")
			})
		}
	}
}
