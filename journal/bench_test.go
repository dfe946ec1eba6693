package journal

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// BenchmarkAppend is the cost of committing trades in runs of 1, 100 and 1000, on the real disk, with the sync of every second going on beside it.
// Waiting for segments is part of it; notready counts how often.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := open(b, b.TempDir(), Options{MinSegment: 64 << 20, MaxSegment: 256 << 20})
			d := create(b, j)
			w := openWriter(b, d, "p", "s")
			runs := []Run{{trades, records(trades, 1, 0, n)}}
			mustAppend(b, w, runs...)
			waits := 0
			b.ReportAllocs()
			b.SetBytes(int64(len(runs[0].Bytes)))
			b.ResetTimer()
			for range b.N {
				if got, err := w.Append(runs); err != nil {
					waits++
					mustAppend(b, w, skip(runs, got)...)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			b.ReportMetric(float64(waits), "notready")
		})
	}
}

// BenchmarkBlock sums up blocks that lie in no cache, as a sync does.
func BenchmarkBlock(b *testing.B) {
	all := bytes.Repeat(record(trades, 7, 0), 256<<20/48)
	per := int(blockRecords(48)) * 48
	b.SetBytes(int64(per))
	at := 0
	for b.Loop() {
		if at+per > len(all) {
			at = 0
		}
		if k := makeBlock(0, all[at:at+per], trades, 48, nil); k.count == 0 {
			b.Fatal("an empty block")
		}
		at += per
	}
}

// BenchmarkSeek looks for random times in a tape of a million trades, sealed but for its end.
func BenchmarkSeek(b *testing.B) {
	j := open(b, b.TempDir(), Options{MinSegment: 4 << 20, MaxSegment: 4 << 20})
	d := create(b, j)
	w := openWriter(b, d, "p", "s")
	const n = 1_000_000
	for i := uint64(0); i < n; i += 1000 {
		mustAppend(b, w, Run{trades, records(trades, 1, i, 1000)})
	}
	sealAll(b, d, trades)
	tape := d.Tape(trades)
	x := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		ts := x >> 33 % n
		if seq, err := tape.Seek(feed.ClockEvent, ts); seq != ts || err != nil {
			b.Fatalf("seek to %d finds %d, %v", ts, seq, err)
		}
	}
}

// BenchmarkSeekNearTail looks for the last of 200,000 trades that came since the last look and the last sync.
func BenchmarkSeekNearTail(b *testing.B) {
	j := open(b, b.TempDir(), Options{MinSegment: 256 << 20, Sync: SyncPolicy{Bytes: maxSyncBytes}})
	d := create(b, j)
	w, at := openWriter(b, d, "p", "s"), uint64(0)
	for range b.N {
		b.StopTimer()
		for range 200 {
			mustAppend(b, w, Run{trades, records(trades, 1, at, 1000)})
			at += 1000
		}
		b.StartTimer()
		if seq, err := d.Tape(trades).Seek(feed.ClockEvent, at-1); seq != at-1 || err != nil {
			b.Fatalf("seek to %d finds %d, %v", at-1, seq, err)
		}
	}
}

// BenchmarkRemap is 100,000 changes of what one id stands for, each a mark of the tape, on the real disk.
func BenchmarkRemap(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		j := open(b, b.TempDir(), Options{})
		d := create(b, j)
		w := openWriter(b, d, "p", "s")
		mustAppend(b, w, Run{trades, record(trades, 7, 0)})
		remap(b, w, n)
		if got := len(d.Tape(trades).Marks()); got != n {
			b.Fatalf("%d marks, want %d", got, n)
		}
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/mark")
}
