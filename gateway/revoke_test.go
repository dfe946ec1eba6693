package gateway

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// Taking one key away ends what it does, with the reason, and disturbs nobody:
// while two of each stream, one subscriber and one producer are revoked.
func TestRevokedKeyEndsItsStreamsAndNobodyElses(t *testing.T) {
	publish := []Right{RightPublish}
	keys := newKeys(t, Key{Name: "bot-1"}, Key{Name: "bot-2"}, Key{Name: "adapter-1", Rights: publish}, Key{Name: "adapter-2", Rights: publish})
	s := keys.serve()
	gone, stays := keys.live(s, "bot-1"), keys.live(s, "bot-2")
	revoked, goes := keys.publishing(s, "adapter-1"), keys.publishing(s, "adapter-2")

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // sends until it is cut off
		for i := 0; ; i++ {
			if _, err := revoked.conn.Write(trade(1, i)); err != nil {
				return
			}
		}
	})
	sent := 0
	wg.Go(func() {
		for ; ; sent++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := goes.conn.Write(trade(2, sent)); err != nil {
				t.Errorf("the producer that stays: %v", err)
				return
			}
		}
	})
	for _, c := range []*rawClient{gone, stays} {
		nextTrade(c)
	}
	secrets := map[string]string{"bot-1": keys.secret("bot-1"), "adapter-1": keys.secret("adapter-1")}
	keys.remove("bot-1")
	keys.remove("adapter-1")
	if n := keys.reload(s); n != 2 {
		t.Errorf("the reload ended %d connections, want 2", n)
	}
	if code, text := lastError(t, gone); code != feed.ErrorKeyDeactivated || !strings.Contains(text, `key "bot-1" was revoked`) {
		t.Errorf("the revoked subscriber is told %v %q", code, text)
	}
	lines := strings.Split(strings.TrimSpace(revoked.rest()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, `error=auth|retry=never|text=key "adapter-1" was revoked`) {
		t.Errorf("the revoked producer is told %q", last)
	}
	close(stop)
	wg.Wait()
	goes.await(fmt.Sprintf("ack=%d|", sent))
	// Every record of the producer that stays comes to the subscriber that stays, in order.
	var buf [feed.MaxRecordSize]byte
	for next := 0; next < sent; {
		r := stays.next(buf[:])
		if r.RType().IsControl() || r.InstrumentID() != 2 {
			continue
		}
		if next == 0 {
			next = sequence(r) // nextTrade may have taken some
		}
		if sequence(r) != next {
			t.Fatalf("record %d where %d was due", sequence(r), next)
		}
		next++
	}
	if n := rejected(s, "revoked"); n != 2 {
		t.Errorf("%d revocations are counted, want 2", n)
	}
	for name, secret := range secrets {
		if got := dialRaw(t, s).auth(secret, "dataset="+testDataset); !strings.Contains(got, "unknown key") {
			t.Errorf("%s comes again and is told %q", name, got)
		}
	}
	eventually(t, "two sockets are left", func() bool { return s.sockets.Load() == 2 })
}

// What counts is whether the new file still allows what a connection does: less
// ends it, anything else leaves it alone.
func TestReloadEndsExactlyWhatTheNewFileForbids(t *testing.T) {
	const other = "OTHER.WIRE"
	both := []Right{RightSubscribe, RightPublish}
	for name, c := range map[string]struct {
		change             func(t *testing.T, f *testKeys)
		subscriber, writer bool // is ended
	}{
		"removed":               {func(_ *testing.T, f *testKeys) { f.remove("k") }, true, true},
		"secret changed":        {func(t *testing.T, f *testKeys) { f.key("k").Secret = newSecret(t) }, true, true},
		"subscribe taken":       {func(_ *testing.T, f *testKeys) { f.key("k").Rights = []Right{RightPublish} }, true, false},
		"publish taken":         {func(_ *testing.T, f *testKeys) { f.key("k").Rights = []Right{RightSubscribe} }, false, true},
		"all rights left out":   {func(_ *testing.T, f *testKeys) { f.key("k").Rights = nil }, false, true},
		"dataset taken":         {func(_ *testing.T, f *testKeys) { f.key("k").Datasets = []string{other} }, true, true},
		"datasets named":        {func(_ *testing.T, f *testKeys) { f.key("k").Datasets = []string{other, testDataset} }, false, false},
		"renamed":               {func(_ *testing.T, f *testKeys) { f.key("k").Name = "kay" }, false, false},
		"limits below its use":  {func(_ *testing.T, f *testKeys) { f.key("k").Connections = 1 }, false, false},
		"admin added":           {func(_ *testing.T, f *testKeys) { f.key("k").Rights = append(both, RightAdmin) }, false, false},
		"another key added":     {func(t *testing.T, f *testKeys) { f.keys = append(f.keys, Key{Name: "x", Secret: newSecret(t)}) }, false, false},
		"nothing":               {func(*testing.T, *testKeys) {}, false, false},
		"the neighbour removed": {func(_ *testing.T, f *testKeys) { f.remove("neighbour") }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			keys := newKeys(t, Key{Name: "k", Rights: both}, Key{Name: "neighbour"}, Key{Name: "feeder", Rights: both})
			s := keys.serve()
			sub, pub := keys.live(s, "k"), keys.publishing(s, "k")
			c.change(t, keys)
			keys.save()
			want := 0
			for _, ends := range []bool{c.subscriber, c.writer} {
				if ends {
					want++
				}
			}
			if n := keys.reload(s); n != want {
				t.Errorf("the reload ended %d connections, want %d", n, want)
			}
			if c.writer {
				if got := pub.rest(); !strings.HasPrefix(got, `error=auth|retry=never|text=key "k" was revoked`) {
					t.Errorf("the producer is told %q", got)
				}
			} else {
				pub.send(string(trade(1, 7)))
				if got := pub.line(); got != "ack=1|level=written" {
					t.Errorf("the producer that may stay is told %q", got)
				}
			}
			if c.subscriber {
				if code, text := lastError(t, sub); code != feed.ErrorKeyDeactivated || !strings.Contains(text, `key "k" was revoked`) {
					t.Errorf("the subscriber is told %v %q", code, text)
				}
				return
			}
			publishAs(t, s, keys.secret("feeder"), testDataset, trade(1, 8))
			if c.writer {
				if n := nextTrade(sub); n != 8 {
					t.Errorf("the subscriber that may stay is sent trade %d", n)
				}
			} else if n := nextTrade(sub); n != 7 {
				t.Errorf("the subscriber that may stay is sent trade %d", n)
			}
		})
	}
}

func newSecret(t testing.TB) string {
	k, err := NewKey("x", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k.Secret
}

// A file that is wrong, half written, empty or open to others must neither end a
// session nor lock anybody out.
func TestWrongKeyFileRevokesNobody(t *testing.T) {
	keys := newKeys(t, Key{Name: "bot"}, Key{Name: "adapter", Rights: []Right{RightPublish}})
	s := keys.serve()
	sub, pub := keys.live(s, "bot"), keys.publishing(s, "adapter")
	good, err := os.ReadFile(keys.path)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name   string
		damage func() error
	}{
		{"no TOML", func() error { return os.WriteFile(keys.path, []byte("not toml"), 0o600) }},
		{"cut in a key", func() error { return os.WriteFile(keys.path, good[:bytes.Index(good, []byte("db-"))+10], 0o600) }},
		{"empty", func() error { return os.WriteFile(keys.path, nil, 0o600) }},
		{"an unknown right", func() error {
			return os.WriteFile(keys.path, bytes.ReplaceAll(good, []byte(`"publish"`), []byte(`"publsh"`)), 0o600)
		}},
		{"readable by others", func() error { return os.Chmod(keys.path, 0o644) }},
		{"gone", func() error { return os.Remove(keys.path) }},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		if _, ended, err := s.ReloadKeys(keys.path); err == nil || ended != 0 {
			t.Errorf("%s: the reload ended %d connections, error %v", c.name, ended, err)
		}
		pub.send(string(trade(1, i)))
		if got, want := pub.line(), fmt.Sprintf("ack=%d|level=written", i+1); got != want {
			t.Errorf("%s: the producer is told %q, want %q", c.name, got, want)
		}
		if n := nextTrade(sub); n != i {
			t.Errorf("%s: the subscriber is sent trade %d, want %d", c.name, n, i)
		}
		again := dialRaw(t, s)
		if got := again.auth(keys.secret("bot"), "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
			t.Errorf("%s: a newcomer is told %q", c.name, got)
		}
		again.conn.Close()
		if err := os.RemoveAll(keys.path); err != nil {
			t.Fatal(err)
		}
		writeFile(t, keys.path, string(good))
	}
}

// A client that authenticates while its key is taken away is on no list yet. It
// must not slip through.
func TestConnectionsOnTheirWayDuringAReloadDoNotSlipThrough(t *testing.T) {
	keys := newKeys(t, Key{Name: "k", Rights: []Right{RightSubscribe, RightPublish}}, Key{Name: "other"})
	s := keys.serve()
	with, secret := keys.ring(), keys.secret("k")
	keys.remove("k")
	without := keys.ring()
	const rounds, clients = 40, 6
	for round := range rounds {
		s.SetKeys(with)
		conns := make([]*rawClient, clients)
		for i := range conns {
			conns[i] = dialRaw(t, s)
		}
		var wg sync.WaitGroup
		for i, c := range conns {
			fields := "dataset=" + testDataset
			if i%2 == 0 {
				fields = producerFields(testDataset, fmt.Sprintf("p%d", i), "1")
			}
			wg.Go(func() {
				c.authLine(secret, fields)
				_, _ = c.conn.Write([]byte("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n"))
				c.rest() // the server ends it, this way or that
			})
		}
		wg.Go(func() {
			for range 20 * round { // somewhere among them
				runtime.Gosched()
			}
			s.SetKeys(without)
		})
		wg.Wait()
		for _, c := range conns {
			c.conn.Close()
		}
	}
	eventually(t, "nobody is left", func() bool { return s.sockets.Load() == 0 && len(s.producers.list()) == 0 })
}

// Before start_session a client reads no records: it is told when it starts, and
// who never does is closed all the same.
func TestKeyRevokedBeforeTheStart(t *testing.T) {
	keys := newKeys(t, Key{Name: "k"}, Key{Name: "other"})
	s := keys.serve(func(c *Config) { c.Limits.Linger = time.Second })
	starts, never := dialRaw(t, s), dialRaw(t, s)
	for _, c := range []*rawClient{starts, never} {
		c.auth(keys.secret("k"), "dataset="+testDataset)
		c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\n")
	}
	eventually(t, "both are on a loop", func() bool { return len(s.Sessions()) == 2 })
	keys.remove("k")
	if n := keys.reload(s); n != 2 {
		t.Errorf("the reload ended %d sessions, want 2", n)
	}
	starts.send("start_session\n")
	if m, err := readMetadata(starts); err != nil || m.Dataset != testDataset {
		t.Fatalf("the stream begins with %+v, %v", m, err)
	}
	if code, text := lastError(t, starts); code != feed.ErrorKeyDeactivated || !strings.Contains(text, "revoked") {
		t.Errorf("who starts is told %v %q", code, text)
	}
	if got := never.rest(); got != "" {
		t.Errorf("who never starts is sent %q", got)
	}
	eventually(t, "both are gone", func() bool { return s.sockets.Load() == 0 })
}

// A revoked session whose socket is full cannot be told; it must not go on
// receiving what it has missed when it reads again.
func TestRevokedSessionThatDoesNotReadIsCutOff(t *testing.T) {
	keys := newKeys(t, Key{Name: "bot"}, Key{Name: "adapter", Rights: []Right{RightPublish}})
	s := keys.serve(func(c *Config) { c.Limits.Linger = 100 * time.Millisecond })
	c := dialSmall(t, s)
	c.auth(keys.secret("bot"), "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	c.pass(128 + 320)
	p := keys.publishing(s, "adapter")
	const n = 400_000
	go func() {
		for batch := range n / 1000 {
			var b []byte
			for i := range 1000 {
				b = append(b, trade(1, batch*1000+i)...)
			}
			if _, err := p.conn.Write(b); err != nil {
				return
			}
		}
	}()
	p.await(fmt.Sprintf("ack=%d|", n))
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	keys.remove("bot")
	keys.reload(s)
	eventually(t, "the session is gone", func() bool { return len(s.Sessions()) == 0 })
	if got := len(c.rest()); got >= n*48 {
		t.Errorf("%d bytes came after the key was revoked: everything", got)
	}
}

// A producer may hold records back in many places: parked for a full disk, or on a
// goroutine of its own. Once its key is revoked none of them is committed.
func TestRevokedProducerCommitsNothingMore(t *testing.T) {
	for name, sent := range map[string]int{"parked": 100, "detached": 200_000} {
		t.Run(name, func(t *testing.T) {
			keys := newKeys(t, Key{Name: "adapter", Rights: []Right{RightPublish}}, Key{Name: "other"})
			ring := keys.ring()
			s, disk := serveMemory(t, 5*time.Millisecond, func(c *Config) { c.Keys = ring; c.Limits.Parked = 64 << 10 })
			p := keys.publishing(s, "adapter")
			p.send(string(trade(1, 0)))
			p.await("ack=1|")
			disk.Limit(disk.Used())
			defer disk.Limit(1 << 40)
			go func() { // may be held back by TCP, then cut off
				_, _ = p.conn.Write(bytes.Join(trades(1, sent), nil))
			}()
			if name == "detached" {
				live := s.producers.list()[0]
				eventually(t, "the producer has a goroutine of its own", func() bool { _, detached := live.lines().(*tcpLines); return detached })
			} else {
				eventually(t, "something is committed", func() bool { return s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail() > 1 })
			}
			keys.remove("adapter")
			if n := keys.reload(s); n != 1 {
				t.Errorf("the reload ended %d producers, want 1", n)
			}
			at := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail()
			disk.Limit(1 << 40)
			if got := p.rest(); !strings.Contains(got, "error=auth|retry=never|") {
				t.Errorf("the producer is told %q", got)
			}
			eventually(t, "the socket is given back", func() bool { return s.sockets.Load() == 0 })
			if tail := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail(); tail != at {
				t.Errorf("%d records were committed after the key was revoked", tail-at)
			}
		})
	}
}
