package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// fillLedger enters gaps at places of their own until there is no room for more
// of the producer.
func fillLedger(t *testing.T, d *journal.Dataset, producer string) {
	t.Helper()
	w, err := d.OpenWriter(journal.WriterOptions{Producer: producer, Stream: "fill"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := 0; ; i++ {
		err := w.Gap(journal.Gap{Schema: feed.SchemaTrades, FromTs: 1, ToTs: 2, Cause: journal.CauseUpstream})
		if errors.Is(err, journal.ErrTableFull) {
			return
		}
		for err == nil {
			if _, err = w.Append([]journal.Run{{Schema: feed.SchemaTrades, Bytes: trade(1, i)}}); err == nil {
				break
			}
			if waits(err) {
				err = w.Wait(t.Context())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A gap that the ledger has no room for is counted, and the feed goes on: also
// one that begins with records that its producer has lost.
func TestFullLedgerEndsNoFeed(t *testing.T) {
	s, _ := serveMemory(t, time.Millisecond)
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	fillLedger(t, d, "p")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1", Resume: new(uint64(7))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(metadataOf(feed.SchemaTrades)); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(p.Publish(trade(1, 0)), p.Gap(feed.Gap{Schema: "trades", FromTs: 5, ToTs: 9, Cause: "upstream"}), p.Publish(trade(1, 1)), p.Close(ctx))
	if err != nil {
		t.Errorf("a feed with a gap that cannot be entered: %v", err)
	}
	var b bytes.Buffer
	s.metrics.write(&b)
	for _, want := range []string{
		fmt.Sprintf("tapewire_gaps_not_entered_total{dataset=%q} 3\n", testDataset), // the one that did not fit, the lost records, the gap
		fmt.Sprintf("tapewire_table_entries{dataset=%q,table=\"gaps\"} %d\n", testDataset, journal.MaxProducerGaps),
		fmt.Sprintf("tapewire_table_entries{dataset=%q,table=\"streams\"} 2\n", testDataset),
		fmt.Sprintf("tapewire_table_limit{dataset=%q,table=\"streams\"} %d\n", testDataset, journal.MaxStreams),
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

// A stream that was begun with other data is refused by name, and the answer to
// one that goes on says how it begins.
func TestStreamThatWasBegunWithOtherDataIsRefused(t *testing.T) {
	s, _ := serveMemory(t, time.Millisecond)
	head := "|head=1:" + strings.Repeat("0a", 32)
	c := dialRaw(t, s)
	line := c.auth(testKey, producerFields(testDataset, "p", "s")+head)
	if !strings.Contains(line, "accepted=0") {
		t.Fatal(line)
	}
	d := s.journal.Lookup(testDataset)
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "p", Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for err = journal.ErrNotReady; waits(err); {
		_, err = w.Append([]journal.Run{{Schema: feed.SchemaTrades, Bytes: trade(1, 0)}})
	}
	w.Close()
	c = dialRaw(t, s)
	line = c.auth(testKey, producerFields(testDataset, "p", "s")+head)
	if !strings.Contains(line, "accepted=1"+head) {
		t.Errorf("the answer to one that goes on: %s", line)
	}
	c = dialRaw(t, s)
	line = c.auth(testKey, producerFields(testDataset, "p", "s")+"|head=1:"+strings.Repeat("0b", 32))
	if !strings.HasPrefix(line, "error=stream_head|retry=never|") || !strings.Contains(line, "another stream") {
		t.Errorf("the answer to other data: %s", line)
	}
}

// A producer whose connection breaks behind the gap that it asked for, and before it read the answer, hears of the gap in the next one.
func TestAnswerThatWasLostIsGivenAgain(t *testing.T) {
	s, _ := serveMemory(t, time.Millisecond)
	for _, c := range []struct{ fields, want string }{
		{"|resume=7", "accepted=7|missing=7"},
		{"|resume=7", "accepted=7|missing=7"},
		{"|resume=9", "accepted=9|missing=9"},
		{"", "accepted=9"},
		{"|resume=3", "accepted=9"},
	} {
		line := dialRaw(t, s).auth(testKey, producerFields(testDataset, "p", "s")+c.fields)
		if _, got, _ := strings.Cut(line, "|accepted="); strings.TrimSpace("accepted="+got) != c.want {
			t.Errorf("the answer to %q: %s, want %s", c.fields, line, c.want)
		}
	}
}
