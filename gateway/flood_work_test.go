package gateway

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// floodLate is how late a record may be beside clients that cause as much work as
// their lines allow: in turns with it, however much there is in all.
const floodLate = 2 * time.Second

// floodClients is how many clients of each kind there are. What one of them causes
// costs several times as much under the race detector; in this process more of them
// would have the Go scheduler's turns measured, not the gateway's.
func floodClients() int {
	if raceEnabled {
		return 1
	}
	return 4
}

// Long metadata, an id that changes its name with each record, instrument lines
// without end, sessions for datasets that nobody has, and somebody who asks for the
// list of them all again and again: each is taken in turns with everybody else.
func TestWorkThatClientsCauseIsTakenInTurns(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Connections = 3000 })
	others := beside(t, s)
	var work sync.WaitGroup
	stop := make(chan struct{})
	flood := func(name string, begin, again []byte) {
		c := dialRaw(t, s)
		if got := c.produceAs("FLOOD", name, "1"); !strings.HasPrefix(got, "success=1|") {
			t.Fatalf("%s: %q", name, got)
		}
		work.Go(func() { _, _ = io.Copy(io.Discard, c.r) })
		work.Go(func() {
			defer c.conn.Close()
			_, err := c.conn.Write(begin)
			for err == nil {
				select {
				case <-stop:
					return
				default:
					_, err = c.conn.Write(again)
				}
			}
		})
	}
	started := func(m feed.Metadata) []byte {
		m.Dataset = "FLOOD"
		return append([]byte("start_session\n"), metadataBytes(t, m)...)
	}
	long := metadataOf(feed.SchemaTrades)
	for i := range 20_000 {
		long = withMapping(long, uint32(1_000_000+i), fmt.Sprintf("LONG%d", i))
	}
	flood("long", started(long), trade(1_000_000, 0))
	for i := range floodClients() {
		id := uint32(100 + i)
		flips := append(mappingRecord(id, fmt.Sprintf("A%d", i)), mappingRecord(id, fmt.Sprintf("B%d", i))...)
		flood(fmt.Sprintf("flips-%d", i), started(metadataOf(feed.SchemaNone)), bytes.Repeat(flips, 500))
		var lines bytes.Buffer
		for n := range 2000 {
			fmt.Fprintf(&lines, "instrument=I%d-%d|lot=0.%d\n", i, n%50, n+1)
		}
		flood(fmt.Sprintf("instruments-%d", i), nil, lines.Bytes())
	}
	for i := range 300 {
		c := dialRaw(t, s)
		c.auth(testKey, fmt.Sprintf("dataset=NONE%d", i))
		c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	}
	for range floodClients() {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.metrics.write(io.Discard)
				}
			}
		})
	}
	time.AfterFunc(3*time.Second, func() { close(stop) })
	<-stop
	others.unharmed()
	work.Wait()
	if others.late > floodLate {
		t.Errorf("a record took %v beside clients that cause work", others.late)
	}
}
