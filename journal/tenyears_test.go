package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestTenYearsOfDailyNewIDs measures what docs/limits.md says of a symbol table to which 4,000 new ids come on each of 250 days in ten years, as options do:
//
//	TAPEWIRE_TENYEARS=1 go test ./journal -run TenYears -v -timeout 30m
//
// It writes 0.5 GB, and needs 4 GB of memory.
func TestTenYearsOfDailyNewIDs(t *testing.T) {
	if os.Getenv("TAPEWIRE_TENYEARS") == "" {
		t.Skip("minutes, and gigabytes: TAPEWIRE_TENYEARS=1")
	}
	const days, daily = 2500, 4000
	dir := t.TempDir()
	symbol := func(id uint32) string { return fmt.Sprintf("OPT%d C%08d", id%daily, id) }
	j := open(t, dir, Options{AnyFilesystem: true})
	w := openWriter(t, create(t, j), "p", "s")
	began := time.Now()
	list := make([]DatedMapping, daily)
	for day := range Day(days) {
		for i := range list {
			id := uint32(day)*daily + uint32(i) + 1
			list[i] = DatedMapping{ID: id, Symbol: symbol(id), From: 16_000 + day, To: 16_001 + day, Kind: KindDated}
		}
		if n, err := w.MapDated(list); n != daily || err != nil {
			t.Fatalf("day %d: %d entered, %v", day, n, err)
		}
	}
	t.Logf("%d entered in %v, %v each", days*daily, time.Since(began).Round(time.Millisecond), time.Since(began)/(days*daily))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, w = nil, nil
	info, err := os.Stat(filepath.Join(dir, testDataset, symbolsName))
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	began = time.Now()
	j = open(t, dir, Options{AnyFilesystem: true})
	took, s := time.Since(began), j.Lookup(testDataset).Symbols()
	t.Logf("%d loaded in %v; %d bytes of memory each, %.1f of the log", s.Len(), took.Round(time.Millisecond), (heapInUse()-before)/(days*daily), float64(info.Size())/(days*daily))
	for _, id := range []uint32{1, days * daily / 2, days * daily} {
		if name, _ := s.NameAt(id, trades, 0, 16_000+Day((id-1)/daily)); name != symbol(id) {
			t.Errorf("%d is %q, want %q", id, name, symbol(id))
		}
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
