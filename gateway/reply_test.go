package gateway

import (
	"net"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// What a resuming session has to tell of its first one, an ack of what is on disk
// by now, would come between a line and its answer.
func TestAnswerOfAnInstrumentIsTheNextLine(t *testing.T) {
	s := serveTest(t)
	for _, level := range []string{"written", "synced"} {
		fields := producerFields(testDataset, level, "1") + "|ack=" + level
		for range 3 {
			c := dialRaw(t, s)
			if got := c.auth(testKey, fields); !strings.HasPrefix(got, "success=1") {
				t.Fatal(got)
			}
			if err := s.journal.Lookup(testDataset).Sync(); err != nil {
				t.Fatal(err)
			}
			s.producers.synced(s.producers.feeds[testDataset]) // as if the sync had just ended
			id := c.declared("instrument=X|lot=0.1")
			c.declared("instrument=Y|lot=0.1")
			c.begin(metadataOf(feed.SchemaTrades), trade(id, 0), trade(id, 1), []byte(inBand("instrument=Z|lot=1"))) // all at once
			if got := c.line(); !strings.HasPrefix(got, "instrument=Z|") {
				t.Errorf("ack=%s: told %q before the answer", level, got)
			}
			c.await("ack=")
			c.conn.Close()
			eventually(t, "the session has ended", func() bool { return len(s.producers.list()) == 0 })
		}
	}
}

// A producer that ends its side behind the last record is told how many are kept.
func TestHalfCloseKeepsEveryWholeRecordAndGetsTheLastAck(t *testing.T) {
	s := serveTest(t)
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"written", "synced"} {
		for name, wait := range map[string]bool{"pipelined": false, "in turn": true} {
			c := dialRaw(t, s)
			fields := producerFields(testDataset, level+strings.ReplaceAll(name, " ", ""), "1") + "|ack=" + level
			if wait {
				c.auth(testKey, fields)
			} else {
				c.authLine(testKey, fields)
			}
			c.begin(metadataOf(feed.SchemaTrades), append(trades(1, 1000), trade(1, 1000)[:20])...) // the last one is cut
			if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, want := c.rest(), "ack=1000|level="+level+"\n"; !strings.HasSuffix(got, want) {
				t.Errorf("%s, %s: told %q, want %q at the end", level, name, got, want)
			}
		}
	}
	if got := d.Tape(feed.SchemaTrades).Tail(); got != 4000 {
		t.Errorf("%d records on the tape, want 4000", got)
	}
	eventually(t, "their places are free", func() bool { return len(s.producers.list()) == 0 && s.sockets.Load() == 0 })
}

// Near the end of 64 bits a count would wrap, and cost others their records.
func TestResumeBeyondTheRangeIsRefused(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	if got := c.auth(testKey, producerFields(testDataset, "p", "s")+"|resume=18446744073709551615"); !strings.HasPrefix(got, "success=0") || !strings.Contains(got, "resume") {
		t.Errorf("told %q", got)
	}
	if s.journal.Lookup(testDataset) != nil {
		t.Error("the dataset was made for it")
	}
}
