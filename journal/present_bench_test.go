package journal

import (
	"path/filepath"
	"testing"
)

// What it costs to vouch for the files, before each ack and in each sync.
func BenchmarkPresent(b *testing.B) {
	j := open(b, filepath.Join(b.TempDir(), "j"), Options{AnyFilesystem: true})
	d := create(b, j)
	w, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "s"})
	if err != nil {
		b.Fatal(err)
	}
	mustAppend(b, w, Run{trades, records(trades, 1, 0, 10)})
	b.Run("ack", func(b *testing.B) {
		for b.Loop() {
			if err := d.Present(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sync", func(b *testing.B) {
		d.syncer.mu.Lock()
		defer d.syncer.mu.Unlock()
		for b.Loop() {
			if err := d.allPresent(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
