package gateway

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// stuckLines reaches a producer whose connection is half open: telling it
// anything takes until release.
type stuckLines struct{ release chan struct{} }

func (l *stuckLines) line([]byte)     {}
func (l *stuckLines) lastLine([]byte) { <-l.release }
func (l *stuckLines) wake()           {}
func (l *stuckLines) busy() bool      { return false }

// A session that is still busy telling its predecessor must not take the place
// of one that came later.
func TestOlderSessionCannotFenceTheNewer(t *testing.T) {
	s := serveTest(t)
	d, err := s.journal.Create(testDataset)
	if err != nil {
		t.Fatal(err)
	}
	stuck := &stuckLines{make(chan struct{})}
	halfOpen := &producer{srv: s, req: lsg.AuthRequest{Dataset: testDataset, Producer: "raw", Stream: "0"}, out: stuck, told: make(chan struct{})}
	if _, err := s.producers.take(halfOpen, d); err != nil {
		t.Fatal(err)
	}
	older := dialRaw(t, s)
	older.authLine(testKey, producerFields(testDataset, "raw", "1"))
	eventually(t, "the older session is on its way", func() bool { return halfOpen.dismissed.Load() })
	older.conn.Close() // its client gives up, and comes again
	newer := dialRaw(t, s)
	if got := newer.produce("1"); !strings.HasPrefix(got, "success=1") {
		t.Fatalf("the newer session is told %q", got)
	}
	close(stuck.release)
	newer.begin(metadataOf(feed.SchemaTrades))
	for i := range 50 { // one by one, while the older session ends
		newer.send(string(trade(1, i)))
		if got, want := newer.line(), fmt.Sprintf("ack=%d|level=written", i+1); got != want {
			t.Fatalf("the newer session is told %q, want %q", got, want)
		}
	}
}

// Sessions of one name that come at the same time fence each other; exactly one
// survives, or an adapter that reconnects eagerly would lock itself out.
func TestOneOfConcurrentSessionsOfANameSurvives(t *testing.T) {
	s := serveTest(t)
	const rounds, at = 50, 4
	for round := range rounds {
		var clients [at]*rawClient
		var told [at]string
		var wg sync.WaitGroup
		dataset := fmt.Sprintf("D%d", round%5)
		meta := metadataOf(feed.SchemaTrades)
		meta.Dataset = dataset
		for i := range clients {
			clients[i] = dialRaw(t, s)
		}
		for i, c := range clients {
			wg.Go(func() {
				c.authLine(testKey, producerFields(dataset, "p", fmt.Sprint(round)))
				told[i], _ = c.r.ReadString('\n')
			})
		}
		wg.Wait()
		alive := 0
		for i, c := range clients {
			if !strings.HasPrefix(told[i], "success=1") {
				continue
			}
			// A fenced session's socket may be closed already: then the line says so.
			_, _ = c.conn.Write(append([]byte("start_session\n"), metadataBytes(t, meta)...))
			_, _ = c.conn.Write(trade(1, round))
			if told[i], _ = c.r.ReadString('\n'); strings.HasPrefix(told[i], "ack=") {
				alive++
			}
		}
		if alive != 1 {
			t.Fatalf("round %d: %d sessions of the name live on, they were told %q", round, alive, told)
		}
		for _, c := range clients {
			c.conn.Close()
		}
	}
}
