package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// A commit that the journal takes only in part is counted by what it took: the
// rest is counted when it is committed.
func TestPublishedRecordsAreCountedOnce(t *testing.T) {
	s, _ := serveMemory(t, time.Millisecond) // small segments: many commits are split
	const n = 50_000
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, n)...)
	var b bytes.Buffer
	s.metrics.write(&b)
	for _, want := range []string{
		fmt.Sprintf("tapewire_published_records_total %d\n", n),
		fmt.Sprintf("tapewire_tape_records{dataset=%q,schema=\"trades\"} %d\n", testDataset, n),
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the metrics lack %q:\n%s", want, b.String())
		}
	}
}

// Whoever looks at the producers, an operator or a sync, may look while one of
// them is only on its way in.
func TestMetricsAndSyncsWhileProducersOpen(t *testing.T) {
	s, _ := serveMemory(t, time.Millisecond)
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			var b bytes.Buffer
			s.metrics.write(&b)
			if err := d.Sync(); err != nil {
				t.Errorf("sync: %v", err)
				return
			}
		}
	}()
	for i := range 100 {
		c := dialRaw(t, s)
		c.auth(testKey, producerFields(testDataset, fmt.Sprintf("p%d", i%5), "s")+"|ack=synced")
		if i%10 == 0 {
			c.begin(metadataOf(feed.SchemaTrades), trade(1, i))
			c.await("ack=")
		}
		c.conn.Close()
	}
	close(stop)
	<-done
	if n := s.metrics.panics.Get(); n != 0 {
		t.Errorf("%d panics were contained", n)
	}
}
