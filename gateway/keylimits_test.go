package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// One holder must not take the gateway's connections from all others. Subscribers
// and producers of a key count together, and a place that is given up is free.
func TestConnectionsOfOneKeyAreBounded(t *testing.T) {
	both := []Right{RightSubscribe, RightPublish}
	keys := newKeys(t, Key{Name: "k", Rights: both, Connections: 2}, Key{Name: "other"})
	s := keys.serve()
	sub := keys.live(s, "k")
	keys.publishing(s, "k")
	refused := dialRaw(t, s)
	want := `success=0|error=key "k" has its 2 connections open (connections in the key file)`
	if got := refused.auth(keys.secret("k"), "dataset="+testDataset); !strings.HasPrefix(got, want) {
		t.Errorf("the third connection is told %q, want %q", got, want)
	}
	producer := dialRaw(t, s)
	if got := producer.auth(keys.secret("k"), producerFields(testDataset, "second", "1")); !strings.HasPrefix(got, `error=limit|retry=later|text=key "k" has its 2 connections`) {
		t.Errorf("a second producer is told %q", got)
	}
	if n := rejected(s, "connections"); n != 2 {
		t.Errorf("%d refusals are counted, want 2", n)
	}
	if got := dialRaw(t, s).auth(keys.secret("other"), "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("another key is told %q", got)
	}
	sub.conn.Close()
	eventually(t, "a place is free again", func() bool {
		c := dialRaw(t, s)
		defer c.conn.Close()
		return strings.HasPrefix(c.auth(keys.secret("k"), "dataset="+testDataset), "success=1|")
	})
}

// A producer whose connection is half open comes again before anybody noticed. The
// place it takes over is its own.
func TestHalfOpenProducerDoesNotLockItsSuccessorOut(t *testing.T) {
	keys := newKeys(t, Key{Name: "adapter", Rights: []Right{RightPublish}, Connections: 1}, Key{Name: "thief", Rights: []Right{RightPublish}, Connections: 1})
	s := keys.serve()
	older := keys.publishing(s, "adapter")
	for range 5 { // each half open when the next one comes, and for a while after it
		newer := keys.publishing(s, "adapter")
		if got := older.rest(); !strings.Contains(got, "error=fenced") {
			t.Errorf("the older session is told %q", got)
		}
		older = newer
	}
	other := dialRaw(t, s)
	if got := other.auth(keys.secret("adapter"), producerFields(testDataset, "another-name", "1")); !strings.HasPrefix(got, "error=limit|") {
		t.Errorf("a producer of another name is told %q", got)
	}
	// The place is the key's own: another key, itself at its limit, gains nothing by the name.
	keys.publishing(s, "thief")
	second := dialRaw(t, s)
	if got := second.auth(keys.secret("thief"), producerFields(testDataset, "adapter", "1")); !strings.HasPrefix(got, "error=limit|") {
		t.Errorf("another key that wants the name is told %q", got)
	}
}

// A bot that reconnects in a tight loop is held back by name, and let in again
// after a while.
func TestReconnectStormOfOneKeyIsHeldBack(t *testing.T) {
	keys := newKeys(t, Key{Name: "storm", Rights: []Right{RightSubscribe, RightPublish}, ConnectsPerMinute: 3}, Key{Name: "other"})
	s := keys.serve()
	connect := func(name string) string {
		c := dialRaw(t, s)
		defer c.conn.Close()
		return c.auth(keys.secret(name), "dataset="+testDataset)
	}
	for i := range 3 {
		if got := connect("storm"); !strings.HasPrefix(got, "success=1|") {
			t.Fatalf("connection %d of 3 is told %q", i+1, got)
		}
	}
	want := `success=0|error=key "storm" may open 3 connections a minute (connects_per_minute in the key file); try again in `
	for range 50 { // asking again does not make it worse
		if got := connect("storm"); !strings.HasPrefix(got, want) {
			t.Fatalf("beyond the rate a client is told %q, want %q", got, want)
		}
	}
	c := dialRaw(t, s)
	if got := c.auth(keys.secret("storm"), producerFields(testDataset, "p", "1")); !strings.HasPrefix(got, "error=limit|retry=later|") {
		t.Errorf("a producer beyond the rate is told %q, and gives up for good", got)
	}
	if n := rejected(s, "connects_per_minute"); n != 51 {
		t.Errorf("%d refusals are counted, want 51", n)
	}
	if got := connect("other"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("another key is told %q", got)
	}
	s.uses.of(keys.key("storm")).connects.due.Add(-int64(21 * time.Second)) // as if that had passed: one more
	if got := connect("storm"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("20 seconds later it is told %q", got)
	}
	if got := connect("storm"); !strings.HasPrefix(got, want) {
		t.Errorf("at once after that it is told %q", got)
	}
}

// Every way a connection can end gives its place back, or a key would be locked
// out of its own limit for ever.
func TestSocketsOfAKeyAreGivenBackWhateverEndsThem(t *testing.T) {
	keys := newKeys(t, Key{Name: "k", Rights: []Right{RightSubscribe, RightPublish}})
	s := keys.serve()
	secret := keys.secret("k")
	for name, connect := range map[string]func(c *rawClient){
		"closes after the greeting": func(c *rawClient) {},
		"refused for its encoding":  func(c *rawClient) { c.auth(secret, "dataset=D|encoding=json") },
		"refused for its dataset":   func(c *rawClient) { c.auth(secret, "dataset=a/b") },
		"never starts":              func(c *rawClient) { c.auth(secret, "dataset="+testDataset) },
		"subscribes nonsense": func(c *rawClient) {
			c.auth(secret, "dataset="+testDataset)
			c.send("schema=x\nstart_session\n")
			c.rest()
		},
		"closed by the operator": func(c *rawClient) {
			c.auth(secret, "dataset="+testDataset)
			c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
			c.pass(128)
			s.CloseSession(s.Sessions()[0].ID)
			c.rest()
		},
		"publishes and leaves": func(c *rawClient) {
			c.auth(secret, producerFields(testDataset, "p", "1"))
			c.begin(metadataOf(feed.SchemaTrades))
		},
		"publishes nonsense": func(c *rawClient) {
			c.auth(secret, producerFields(testDataset, "p", "1"))
			c.send("start_session\n" + strings.Repeat("x", 300))
			c.rest()
		},
		"resets while its dataset is opened": func(c *rawClient) { c.authLine(secret, producerFields("NEW", "p", "1")) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				c := dialRaw(t, s)
				connect(c)
				c.conn.Close()
				eventually(t, "the socket is given back", func() bool { return s.sockets.Load() == 0 })
				if n := s.uses.of(keys.key("k")).sockets.Load(); n != 0 {
					t.Fatalf("the key has %d connections, and no socket is open", n)
				}
			}
		})
	}
}

// A producer beyond its key's rate waits. Nothing is lost, it is told why, and
// another producer of the dataset does not wait for it.
func TestPublishingBeyondTheRateWaitsAndLosesNothing(t *testing.T) {
	const rate, n = 20_000, 40_000 // the first second's worth is free
	publish := []Right{RightPublish}
	for name, parked := range map[string]int{"on the loop": 64 << 20, "on a goroutine": 300 << 10} {
		t.Run(name, func(t *testing.T) {
			keys := newKeys(t, Key{Name: "paced", Rights: publish, RecordsPerSecond: rate}, Key{Name: "free", Rights: publish}, Key{Name: "bot"})
			s := keys.serve(func(c *Config) { c.Limits.Parked = parked })
			sub := keys.live(s, "bot")
			paced, free := keys.publishing(s, "paced"), keys.publishing(s, "free")
			begun := time.Now()
			go func() { _, _ = paced.conn.Write(bytes.Join(trades(1, n), nil)) }()
			lines := paced.await("pause=")
			if last := lines[len(lines)-1]; last != "pause=records_per_second" {
				t.Errorf("the producer is told %q", last)
			}
			free.send(string(trade(2, 0)))
			free.await("ack=1|")
			paced.await("resume=1")
			if name == "on a goroutine" {
				eventually(t, "the producer has one", func() bool {
					_, detached := s.producers.byKey[producerKey{testDataset, "paced"}].lines().(*tcpLines)
					return detached
				})
			}
			paced.await(fmt.Sprintf("ack=%d|", n))
			if took, least := time.Since(begun), time.Second*(n-rate/paceTurns)/rate-paceBurst-paceLeast; took < least {
				t.Errorf("%d records at %d a second were taken in %v, want at least %v", n, rate, took, least)
			}
			var buf [feed.MaxRecordSize]byte
			for next := 0; next < n; {
				r := sub.next(buf[:])
				if r.RType().IsControl() || r.InstrumentID() != 1 {
					continue
				}
				if sequence(r) != next {
					t.Fatalf("record %d where %d was due", sequence(r), next)
				}
				next++
			}
			if s.metrics.paced.Get() == 0 {
				t.Error("no wait is counted")
			}
			if rejected(s, "limit") > 0 {
				t.Error("the producer was refused, not held back")
			}
		})
	}
}

// Two producers of one key share its rate, and a reload that lifts it frees both.
func TestRateIsTheKeysAndAReloadLiftsIt(t *testing.T) {
	keys := newKeys(t, Key{Name: "k", Rights: []Right{RightPublish}, RecordsPerSecond: 1000})
	s := keys.serve()
	a, b := keys.publishing(s, "k"), dialRaw(t, s)
	b.auth(keys.secret("k"), producerFields(testDataset, "second", "1"))
	b.begin(metadataOf(feed.SchemaTrades))
	a.send(string(bytes.Join(trades(1, 1000), nil)))
	a.await("ack=1000|")
	b.send(string(bytes.Join(trades(2, 500), nil)))
	if got := b.await("pause="); got[len(got)-1] != "pause=records_per_second" {
		t.Errorf("the second producer of a key that is at its rate is told %q", got)
	}
	keys.key("k").RecordsPerSecond = 0
	keys.save()
	keys.reload(s)
	const n = 200_000 // would take minutes
	go func() { _, _ = a.conn.Write(bytes.Join(trades(1, n), nil)) }()
	a.await(fmt.Sprintf("ack=%d|", 1000+n))
}

// Holding a producer to a rate must cost nothing for a record.
func TestPacedIngestDoesNotAllocate(t *testing.T) {
	s := serveTest(t)
	p, b := hotIngest(t, s), hotBytes(false)
	p.use, p.back = &keyUse{}, new(atomic.Bool)
	p.use.rate.Store(1 << 40)
	consume(t, p, b)
	var rested time.Duration
	if n := medianAllocs(func() { consume(t, p, b); rested += p.overRate() }); n > 0 {
		t.Errorf("a paced batch of %d records allocates %d times", hotBatch, n)
	}
	if rested > 0 {
		t.Errorf("a producer far below its rate had to rest for %v", rested)
	}
}

// Whatever the rate and however it is asked for, no more passes than it says.
func TestPacerKeepsItsRate(t *testing.T) {
	for _, c := range []struct{ rate, batch int }{{1, 1}, {7, 3}, {1000, 1}, {1000, 5000}, {3_000_000, 5461}} {
		var p pacer
		cost := time.Duration(c.batch) * time.Second / time.Duration(c.rate)
		var due time.Duration
		begun := time.Since(processStart)
		for range 1000 {
			due = p.spend(cost, paceBurst)
		}
		// What is owed after so much is its time at the rate, less the burst and what has passed.
		if want := 1000*cost - paceBurst; due > max(0, want) || due < want-(time.Since(processStart)-begun)-time.Millisecond {
			t.Errorf("after 1000 batches of %d at %d a second the wait is %v, want %v", c.batch, c.rate, due, want)
		}
	}
}
