package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// subscriber is an authenticated connection that has not started.
func subscriberRaw(t testing.TB, s *Server) *rawClient {
	t.Helper()
	c := dialRaw(t, s)
	if got := c.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
		t.Fatalf("the reply is %q", got)
	}
	return c
}

// answers counts what a session that the server ends was told, and returns the
// error that ended it.
func (c *rawClient) answers() (acks, unresolved int, last string) {
	c.t.Helper()
	_, records := c.records()
	for _, r := range records {
		if strings.HasPrefix(systemText(r), "1 Subscription request") {
			acks++
		}
		if text := systemText(r); strings.HasPrefix(text, "255 waiting|") && strings.Contains(text, "|symbol=") {
			unresolved++
		}
		if e, ok := feed.View[feed.ErrorMsg](r); ok {
			last = e.Text()
		}
	}
	return acks, unresolved, last
}

// 10,000 subscriptions, the same one again and again: the session ends by name
// at its limit, wherever it stands, and costs no more than that.
func TestTenThousandSubscriptionsAreCut(t *testing.T) {
	const line = "schema=trades|symbols=A,B,C|id=7\n"
	s := serveTest(t)
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	most := s.limits.SubscriptionsPerSession
	cases := []struct {
		name, text string
		acks       int
		want       string
	}{
		{"before the start, held until it comes", strings.Repeat(line, most+500) + "start_session\n", 0, "More than 1000 subscription lines"},
		{"before a start that never comes", strings.Repeat(line, 10_000), 0, "More than 2000 lines"},
		{"after the start", line + "start_session\n" + strings.Repeat(line, 10_000), -1, "More than 1000 subscription lines"},
		{"empty lines", strings.Repeat("\n", 1<<20), 0, "More than 2000 lines"},
		{"starts", strings.Repeat("start_session\n", 100_000), 0, "More than 2000 lines"},
	}
	for i, c := range cases {
		client := subscriberRaw(t, s)
		go func() { _, _ = client.conn.Write([]byte(c.text)) }() // may be cut off half-way
		acks, unresolved, last := client.answers()
		if !strings.HasPrefix(last, c.want) {
			t.Errorf("%s: the session ends with %q, want %q", c.name, last, c.want)
		}
		if c.acks >= 0 && acks != c.acks || acks > most || unresolved > 3*most {
			t.Errorf("%s: %d subscriptions are confirmed and %d symbols are not found", c.name, acks, unresolved)
		}
		if got := s.rejected("invalid_subscription"); got <= i {
			t.Errorf("%s: %d rejects are counted", c.name, got)
		}
		client.conn.Close()
	}
	before.restored(t, s)
	good.unharmed()
}

// The number of a subscription is the client's own: that it repeats is normal,
// for chunks and for whole subscriptions, up to the limit of lines.
func TestASubscriptionIDMayRepeat(t *testing.T) {
	s := serveTest(t)
	c := subscriberRaw(t, s)
	n := s.limits.SubscriptionsPerSession
	c.send(strings.Repeat("schema=trades|symbols=A|id=7\n", n) + "start_session\n")
	c.pass(128)
	acks := 0
	for buf := make([]byte, feed.MaxRecordSize); acks < n; {
		r := c.next(buf)
		if e, ok := feed.View[feed.ErrorMsg](r); ok && e.Code != feed.ErrorSymbolResolutionFailed {
			t.Fatalf("after %d subscriptions the client is told %q", acks, e.Text())
		}
		if strings.HasPrefix(systemText(r), "1 Subscription request 7 ") {
			acks++
		}
	}
	if v, ok := s.viewOf(c); !ok || len(v.Cursors) != 1 {
		t.Errorf("%d subscriptions of one schema have %d cursors", n, len(v.Cursors))
	}
}

// The longest lists that a line takes, until the session's limit: it ends by
// name, and what it held is given back.
func TestSymbolsOfASessionAreBounded(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Linger = patience }) // 65,536 answers come before the last
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	const perLine = 1 << 16 // the most that a line may have
	var list strings.Builder
	for i := range perLine {
		fmt.Fprintf(&list, ",S%08d", i)
	}
	line := "schema=trades|symbols=" + list.String()[1:] + "\n"
	held := subscriberRaw(t, s)
	held.send(line + line + "start_session\n")
	if acks, unresolved, last := held.answers(); acks+unresolved != 0 || !strings.HasPrefix(last, "More than 100000 symbols") {
		t.Errorf("twice the longest list before the start: %d acks, %d symbols not found, %q", acks, unresolved, last)
	}
	held.conn.Close()
	live := subscriberRaw(t, s)
	live.send(line + "start_session\n")
	go func() { _, _ = live.conn.Write([]byte(line)) }()
	if acks, unresolved, last := live.answers(); acks != 1 || unresolved != perLine || !strings.HasPrefix(last, "More than 100000 symbols") {
		t.Errorf("twice the longest list around the start: %d acks, %d symbols not found, %q", acks, unresolved, last)
	}
	live.conn.Close()
	before.restored(t, s)
	good.unharmed()
}

// A line of a megabyte may name one symbol. Who keeps the symbol must not keep
// the line.
func TestASymbolDoesNotKeepItsLine(t *testing.T) {
	s := serveTest(t)
	c := subscriberRaw(t, s)
	const lines = 200
	line := []byte("schema=trades|symbols=A|junk=" + strings.Repeat("x", 1<<20-64) + "\n")
	before := heapInUse()
	for range lines {
		c.send(string(line))
	}
	c.send("schema=trades|symbols=A|id=9\n")
	c.delivered()
	eventually(t, "all lines are taken", func() bool {
		n := 0
		s.loops[0].call(func() {
			for _, sess := range s.loops[0].sessions {
				if sess != nil {
					n = sess.lines
				}
			}
		})
		return n == lines+1
	})
	if now := heapInUse(); now > before+moreHeap {
		t.Errorf("%d subscriptions to one symbol hold %d MiB", lines, (now-before)>>20)
	}
}

// Instruments are declared one by one, each with a reply. A flood of them is
// answered in order, ends at its limit and leaves the others alone, also where
// it is more than the event loop collects for a producer.
func TestAFloodOfInstrumentsEndsAtItsLimit(t *testing.T) {
	s := serveTest(t)
	most := s.limits.InstrumentsPerProducer
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	p := dialRaw(t, s)
	p.produceAs(testDataset, "flood", "1")
	var lines bytes.Buffer
	for i := range most + 1 {
		fmt.Fprintf(&lines, "instrument=X%06d\n", i)
	}
	go func() { _, _ = p.conn.Write(lines.Bytes()) }()
	for i := range most {
		if got, want := p.line(), fmt.Sprintf("instrument=X%06d|instrument_id=", i); !strings.HasPrefix(got, want) {
			t.Fatalf("reply %d is %q", i, got)
		}
	}
	if got, want := p.rest(), fmt.Sprintf("error=limit|retry=never|text=more than %d instrument lines in one session\n", most); got != want {
		t.Errorf("behind the limit comes %q, want %q", got, want)
	}
	p.conn.Close()
	eventually(t, "it is gone", func() bool { return s.sockets.Load() == before.sockets }) // its symbols stay
	good.unharmed()
}
