package gateway

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// drip sends b a byte at a time, then again, until the server ends the connection.
func (c *rawClient) drip(b string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		<-tick.C
		if _, err := c.conn.Write([]byte{b[i%len(b)]}); err != nil {
			return
		}
	}
}

// Clients that never end a line hold a connection, and no longer than they may:
// before authentication, after it, within a session, and as producers.
func TestClientsThatDripAreDroppedInTime(t *testing.T) {
	const most = 400 * time.Millisecond
	s := serveTest(t, func(c *Config) { c.Limits.AuthTimeout, c.Limits.LineTimeout = most, most })
	good := beside(t, s)
	idle := dialRaw(t, s)
	if got := idle.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
		t.Fatalf("the reply is %q", got)
	}
	idleSince := time.Now()
	before := footprintOf(t, s, 3)
	cases := []struct {
		name  string
		begin func(*rawClient)
		drip  string
		want  string
		code  string
	}{
		{"says nothing", func(*rawClient) {}, "", "success=0|error=no authentication line came in time: want it within", "auth_timeout"},
		{"authenticates", func(*rawClient) {}, "auth=x", "success=0|error=no authentication line came in time: want it within", "auth_timeout"},
		{"subscribes", func(c *rawClient) { c.auth(testKey, "dataset="+testDataset) }, "schema=trades|symbols=A", "A line was begun and not ended within", "invalid_subscription"},
		{"subscribes again", func(c *rawClient) {
			c.auth(testKey, "dataset="+testDataset)
			c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
		}, "schema=trades|symbols=A", "A line was begun and not ended within", "invalid_subscription"},
		{"declares", func(c *rawClient) { c.produceAs(testDataset, c.conn.LocalAddr().String(), "1") }, "instrument=AAA", "error=limit|retry=now|text=a line or the metadata was begun", "limit"},
		{"sends metadata", func(c *rawClient) {
			c.produceAs(testDataset, c.conn.LocalAddr().String(), "1")
			c.send("start_session\nDBN\x03\x00\x00\x00\x01")
		}, "\x00", "error=limit|retry=now|text=a line or the metadata was begun", "limit"},
	}
	const each = 4
	var wg sync.WaitGroup
	want := map[string]int{}
	for _, c := range cases {
		want[c.code] += each
		for range each {
			client := dialRaw(t, s)
			wg.Go(func() {
				c.begin(client)
				since := time.Now()
				if c.drip != "" {
					go client.drip(c.drip)
				}
				got := client.rest()
				client.conn.Close()
				if !strings.Contains(got, c.want) {
					t.Errorf("who %s by drops is told %q, want %q", c.name, got, c.want)
				}
				if took := time.Since(since); took > patience/2 {
					t.Errorf("who %s by drops is dropped after %v", c.name, took)
				}
			})
		}
	}
	wg.Wait()
	for code, n := range want {
		if got := s.rejected(code); got != n {
			t.Errorf("%d rejects of code %s are counted, want %d", got, code, n)
		}
	}
	before.restored(t, s)

	// Who has authenticated and says nothing at all owes nothing: a bot may
	// connect long before it starts its session.
	eventually(t, "the idle one was idle for long", func() bool { return time.Since(idleSince) > 3*most })
	idle.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	idle.pass(128 + 2*320) // it is told that trades are waited for
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 100)...)
	if err := drainTrades(idle, 100); err != nil {
		t.Errorf("who was idle before its session gets: %v", err)
	}
	good.unharmed()
}

// A line is always begun, but each of them ends: nobody is dropped.
func TestLinesThatComeSlowlyAreTaken(t *testing.T) {
	const most = 300 * time.Millisecond
	s := serveTest(t, func(c *Config) { c.Limits.LineTimeout = most })
	sub, p := dialRaw(t, s), dialRaw(t, s)
	sub.auth(testKey, "dataset="+testDataset)
	p.produce("1")
	var restOfSub, restOfP string
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	lines := 0
	for since := time.Now(); time.Since(since) < 3*most; lines++ {
		<-tick.C
		a, b := fmt.Sprintf("schema=trades|symbols=A%d|id=%d\n", lines, lines), fmt.Sprintf("instrument=A%d\n", lines)
		sub.send(restOfSub + a[:9])
		p.send(restOfP + b[:9])
		restOfSub, restOfP = a[9:], b[9:]
	}
	sub.send(restOfSub + "start_session\n")
	p.send(restOfP)
	p.await(fmt.Sprintf("instrument=A%d|", lines-1))
	sub.pass(128)
	for buf, id := make([]byte, feed.MaxRecordSize), 0; id < lines; {
		r := sub.next(buf)
		if e, ok := feed.View[feed.ErrorMsg](r); ok && e.Code != feed.ErrorSymbolResolutionFailed {
			t.Fatalf("the subscriber is told %q", e.Text())
		}
		if systemText(r) == fmt.Sprintf("1 Subscription request %d for trades data succeeded", id) {
			id++
		}
	}
}
