package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// What a subscriber may get wrong before it is authenticated, each with its
// reason in the one line that every client prints.
func TestBadAuthenticationIsRefusedWithAReason(t *testing.T) {
	s := serveTest(t)
	cases := []struct{ name, fields, want string }{
		{"json encoding", "dataset=D|encoding=json", "encoding=json is not served"},
		{"zstd compression", "dataset=D|encoding=dbn|compression=zstd", "compression=zstd is not served"},
		{"no dataset", "encoding=dbn", "dataset"},
		{"dataset with a slash", "dataset=a/b", "dataset"},
		{"dataset too long", "dataset=ABCDEFGHIJKLMNOPQ", "dataset"},
		{"unknown slow reader policy", "dataset=D|slow_reader_behavior=explode", "slow_reader_behavior"},
		{"unknown role", "dataset=D|role=king", "role"},
		{"producer without a name", "dataset=D|role=producer|stream=1", "producer"},
		{"unknown ack level", "dataset=D|role=producer|producer=p|stream=1|ack=maybe", "ack"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := dialRaw(t, s).auth(testKey, c.fields)
			if !strings.HasPrefix(got, "success=0|error=") || !strings.Contains(got, c.want) {
				t.Errorf("the reply is %q, want a reason with %q", got, c.want)
			}
		})
	}
}

func TestRandomBytesOnConnectAreRefused(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	s := serveTest(t)
	for range 20 {
		c := dialRaw(t, s)
		b := make([]byte, 1+rng.IntN(8<<10))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		c.send(string(b) + "\n")
		if got := c.rest(); !strings.Contains(got, "success=0|error=") {
			t.Fatalf("seed %d: %d random bytes are answered %q", seed, len(b), got)
		}
	}
}

func TestEndlessLineBeforeAuthenticationIsCut(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	go func() {
		for range 1000 {
			if _, err := c.conn.Write([]byte(strings.Repeat("a", 4096))); err != nil {
				return // cut, as it should be
			}
		}
	}()
	if got := c.rest(); !strings.Contains(got, "longer than 4096 bytes") {
		t.Errorf("the answer is %q", got)
	}
}

func TestSilentClientIsClosedAfterTheAuthTimeout(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.AuthTimeout = 50 * time.Millisecond })
	c := dialRaw(t, s)
	c.rest()
	eventually(t, "the socket is given back", func() bool { return s.sockets.Load() == 0 })
}

// What a subscriber may get wrong afterwards: it reads the reason as an error
// record, after start_session at the latest.
func TestBadSubscriptionIsToldAsAnErrorRecord(t *testing.T) {
	s := serveTest(t)
	manySymbols := strings.Repeat("ABCDEFGH,", 1<<17) + "Z"
	cases := []struct{ name, line, want string }{
		{"unknown schema", "schema=tradez|stype_in=raw_symbol|symbols=A", "tradez"},
		{"start and snapshot", "schema=mbo|stype_in=raw_symbol|symbols=A|snapshot=1|start=0", "exclude each other"},
		{"no symbols", "schema=trades|stype_in=raw_symbol", "symbols"},
		{"unknown command", "unsubscribe=everything", "Unknown command"},
		{"10 MB of symbols", "schema=trades|stype_in=raw_symbol|symbols=" + manySymbols, "newline"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := dialRaw(t, s)
			if got := client.auth(testKey, "dataset="+testDataset+"|encoding=dbn"); !strings.HasPrefix(got, "success=1|session_id=") {
				t.Fatalf("reply is %q", got)
			}
			go func() { _, _ = client.conn.Write([]byte(c.line + "\nstart_session\n")) }() // may be cut off half-way
			m, records := client.records()
			if m.Version != 3 || m.Dataset != testDataset {
				t.Errorf("metadata is %+v", m)
			}
			if len(records) != 1 {
				t.Fatalf("%d records, want one error", len(records))
			}
			e, ok := feed.View[feed.ErrorMsg](records[0])
			if !ok || e.Code != feed.ErrorInvalidSubscription || e.IsLast != 1 || !strings.Contains(e.Text(), c.want) {
				t.Errorf("the record is %v %q, want an error with %q", records[0].RType(), e.Text(), c.want)
			}
		})
	}
}

func TestConnectionCapIsToldAndNeverRunsOutOfDescriptors(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Connections = 8 })
	var held []*rawClient
	for range 8 {
		c := dialRaw(t, s)
		if got := c.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
			t.Fatalf("a session below the cap is told %q", got)
		}
		held = append(held, c)
	}
	over := dialRaw(t, s)
	if got := over.rest(); !strings.Contains(got, "success=0|error=connection limit of this gateway reached (8)") {
		t.Errorf("beyond the cap a client is told %q", got)
	}
	// An adapter that comes again finds a place later: it must not give up for good.
	_, err := feed.DialProducer(t.Context(), feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1"})
	var refused *feed.RefusedError
	if !errors.As(err, &refused) || refused.Code != lsg.CodeLimit || feed.IsFinal(err) {
		t.Errorf("beyond the cap a producer gets %v, want a limit that passes", err)
	}
	held[0].conn.Close()
	eventually(t, "a place is free again", func() bool {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			return false
		}
		defer conn.Close()
		b := make([]byte, 256)
		n, _ := conn.Read(b)
		return !strings.Contains(string(b[:n]), "success=0")
	})
}

func TestOpenModeBeyondLoopbackIsRefused(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		if _, err := New(nil, Config{Listen: addr}); err == nil || !strings.Contains(err.Error(), "--keys") {
			t.Errorf("open mode on %s: %v", addr, err)
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	s := serveTest(t)
	other, err := New(s.journal, Config{Listen: s.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err == nil || !strings.Contains(err.Error(), "address in use") {
		t.Errorf("a second gateway on the port: %v", err)
	}
}

// Rights are per key, dataset and role; a wrong key is told apart from a key
// that may not.
func TestKeysGrantWhatTheySay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.toml")
	keys := map[string]Key{}
	for name, k := range map[string]Key{
		"bot":     {},
		"one":     {Datasets: []string{testDataset}},
		"adapter": {Rights: []Right{RightPublish}},
	} {
		key, err := NewKey(name, k.Datasets, k.Rights)
		if err != nil {
			t.Fatal(err)
		}
		if err := AppendKey(path, key); err != nil {
			t.Fatal(err)
		}
		keys[name] = key
	}
	ring, err := LoadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	s := serveTest(t, func(c *Config) { c.Keys = ring })
	producer := "|role=producer|producer=p|stream=1"
	cases := []struct{ name, key, fields, want string }{
		{"bot subscribes", keys["bot"].Secret, "dataset=" + testDataset, "success=1"},
		{"bot publishes", keys["bot"].Secret, "dataset=" + testDataset + producer, `key "bot" may not publish`},
		{"limited to its dataset", keys["one"].Secret, "dataset=" + testDataset, "success=1"},
		{"outside its dataset", keys["one"].Secret, "dataset=OTHER", `key "one" may not subscribe dataset OTHER`},
		{"adapter publishes", keys["adapter"].Secret, "dataset=" + testDataset + producer, "success=1"},
		{"adapter subscribes", keys["adapter"].Secret, "dataset=" + testDataset, `key "adapter" may not subscribe`},
		{"unknown key", testKey, "dataset=" + testDataset, `success=0|error=Authentication failed. This is an unknown key ending in "OPabc"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := dialRaw(t, s).auth(c.key, c.fields); !strings.Contains(got, c.want) {
				t.Errorf("the reply is %q, want %q", got, c.want)
			}
		})
	}
}

// A key file edited by hand may lack its last newline; the next key must not
// make it unreadable.
func TestKeyIsAppendedToAFileWithoutItsLastNewline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.toml")
	first := "[[key]]\nname = \"one\"\nkey = \"" + testKey + "\""
	if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := NewKey("two", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := AppendKey(path, second); err != nil {
		t.Fatal(err)
	}
	ring, err := LoadKeys(path)
	if err != nil || len(ring.Keys()) != 2 {
		t.Errorf("the file holds %v, %v; want both keys", ring, err)
	}
}

// A neighbour's nonsense must not cost a good session anything.
func TestBadClientsDoNotDisturbAGoodOne(t *testing.T) {
	s := serveTest(t)
	good := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	const rounds, perRound = 20, 50
	for i := range rounds {
		bad := dialRaw(t, s)
		switch i % 4 {
		case 0:
			bad.send("\x00\xff\n")
		case 1:
			bad.auth(testKey, "dataset="+testDataset)
			bad.send("schema=\nstart_session\n")
		case 2:
			bad.produce(fmt.Sprintf("bad-%d", i))
			bad.send("start_session\n" + strings.Repeat("x", 300))
		case 3:
			bad.conn.Close()
		}
		var batch [][]byte
		for k := range perRound {
			batch = append(batch, trade(1, i*perRound+k))
		}
		publish(t, s, fmt.Sprintf("good-%d", i), metadataOf(feed.SchemaTrades), batch...)
	}
	next := 0
	take(t, good, func(r feed.Record) bool {
		if r.RType() == feed.RTypeMbp0 {
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
		}
		return next == rounds*perRound
	})
}
