package gateway

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// A declaration that waits for the disk, on a goroutine of its producer's own, holds
// nothing that the event loop needs: everybody who declares, and with them everybody
// on that loop, would wait for as long as the disk is full.
func TestADeclarationThatWaitsForTheDiskHoldsUpNobody(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond, func(c *Config) { c.Limits.Parked = 1 << 10 })
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "raw", Stream: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Instrument(journal.Instrument{Symbol: "A"}); err != nil { // so that only its definition is to be made
		t.Fatal(err)
	}
	w.Close()
	var noTrades, noDefinitions atomic.Bool
	noTrades.Store(true)
	noDefinitions.Store(true)
	disk.Fault(func(_, path string) error {
		if noTrades.Load() && strings.Contains(path, "/trades/") || noDefinitions.Load() && strings.Contains(path, "/definition/") {
			return syscall.ENOSPC
		}
		return nil
	})
	waits := onItsOwn(t, s, &noTrades)
	waits.send(inBand("instrument=A"))
	waits.await("pause=disk_full")

	other := dialRaw(t, s)
	other.produceAs(testDataset, "other", "1")
	other.send("instrument=A\n")
	other.await("pause=disk_full")
	third := dialRaw(t, s)
	if got := third.produceAs(testDataset, "third", "1"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("another producer meanwhile: %q", got)
	}
	third.begin(metadataOf(feed.SchemaTrades), trade(7, 0))
	third.await("ack=1|")

	noDefinitions.Store(false)
	waits.await("instrument=A|instrument_id=1")
	other.await("instrument=A|instrument_id=1")
}

// onItsOwn is a producer that sent on while it had to wait for its tape of trades, and
// has a goroutine of its own since then.
func onItsOwn(t *testing.T, s *Server, full *atomic.Bool) *rawClient {
	t.Helper()
	c := dialRaw(t, s)
	c.produce("1")
	c.begin(metadataOf(feed.SchemaNone), trade(7, 0))
	c.await("pause=disk_full")
	c.send(strings.Repeat(string(trade(7, 1)), 100))
	eventually(t, "it has a goroutine of its own", func() bool {
		for _, p := range s.producers.list() {
			if _, ok := p.lines().(*tcpLines); ok {
				return true
			}
		}
		return false
	})
	full.Store(false)
	c.await("ack=101|")
	return c
}
