package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// What a sync writes must follow from what was appended, also in a large segment: with large pages in the page cache one store makes 2 MiB dirty, and
// each sync would write them for a record.
func TestASyncOfOneRecordDoesNotWriteMegabytes(t *testing.T) {
	const syncs, most = 50, 128 << 10 // bytes a sync, the logs included
	j := open(t, t.TempDir(), Options{MinSegment: 64 << 20, Sync: SyncPolicy{Interval: time.Minute}})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const before = 100_000
	for i := uint64(0); i < before; i += 1000 {
		mustAppend(t, w, Run{trades, records(trades, 1, i, 1000)})
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	start := writtenBytes(t)
	for i := range uint64(syncs) {
		mustAppend(t, w, Run{trades, record(trades, 1, before+i)})
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if each := (writtenBytes(t) - start) / syncs; each > most {
		t.Errorf("a sync after one record of 48 bytes writes %d KiB, want at most %d", each>>10, most>>10)
	}
}

// writtenBytes is what this process has had written to disks, as the kernel accounts for it when pages become dirty.
func writtenBytes(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("no account of what is written: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	t.Skip("/proc/self/io has no write_bytes")
	return 0
}
