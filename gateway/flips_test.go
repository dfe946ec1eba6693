package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// One client gives an id a new name hundreds of thousands of times, and a symbol tens
// of thousands of ids; another asks for those again and again. Nobody else waits for
// it longer than a turn.
func TestWorkOnNamesHoldsUpNobodyElse(t *testing.T) {
	s := serveTest(t)
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "flips", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	flips, ids := 100_000, 20_000
	if testing.Short() {
		flips, ids = 20_000, 5_000
	}
	for i := range flips {
		if err := w.Map(77, []string{"AAA", "BBB"}[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ids {
		if err := w.Map(uint32(1000+i), "MANY"); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trade(77, 0))
	good := beside(t, s)
	for _, symbols := range []string{"AAA,BBB", "MANY"} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send(strings.Repeat("schema=trades|symbols="+symbols+"|start=0\n", 50) + "start_session\n")
		c.pass(128)
		acks := 0
		for buf := make([]byte, feed.MaxRecordSize); acks < 50; {
			if strings.HasPrefix(systemText(c.next(buf)), "1 Subscription") {
				acks++
			}
		}
		c.conn.Close()
	}
	all := dialRaw(t, s)
	all.auth(testKey, "dataset="+testDataset)
	all.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	all.pass(128)
	told, began := 0, time.Now()
	for buf := make([]byte, feed.MaxRecordSize); ; {
		r := all.next(buf)
		if r.RType() == feed.RTypeMbp0 {
			break
		}
		if r.RType() == feed.RTypeSymbolMapping {
			told++
		}
	}
	t.Logf("%d names told in %v", told, time.Since(began))
	if told > ids+10 {
		t.Errorf("%d names were told for %d ids: a session is told who an id is, not who it ever was", told, ids+1)
	}
	good.unharmed()
}
