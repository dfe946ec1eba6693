package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// testKeys is a key file that a test changes as an operator would.
type testKeys struct {
	t    testing.TB
	path string
	keys []Key
}

// newKeys writes a key file; the secrets are made here.
func newKeys(t testing.TB, keys ...Key) *testKeys {
	t.Helper()
	f := &testKeys{t: t, path: filepath.Join(t.TempDir(), "keys.toml")}
	for _, k := range keys {
		made, err := NewKey(k.Name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		k.Secret = made.Secret
		f.keys = append(f.keys, k)
	}
	f.save()
	return f
}

func (f *testKeys) save() {
	f.t.Helper()
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(keyFile{Keys: f.keys}); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path, b.Bytes(), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *testKeys) key(name string) *Key {
	f.t.Helper()
	for i := range f.keys {
		if f.keys[i].Name == name {
			return &f.keys[i]
		}
	}
	f.t.Fatalf("no key %s", name)
	return nil
}

func (f *testKeys) secret(name string) string { return f.key(name).Secret }

// remove takes a key out of the file.
func (f *testKeys) remove(name string) {
	f.t.Helper()
	var rest []Key
	for _, k := range f.keys {
		if k.Name != name {
			rest = append(rest, k)
		}
	}
	f.keys = rest
	f.save()
}

func (f *testKeys) ring() *Keyring {
	f.t.Helper()
	ring, err := LoadKeys(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return ring
}

// reload has the server read the file again, and returns how many it ended.
func (f *testKeys) reload(s *Server) int {
	f.t.Helper()
	_, ended, err := s.ReloadKeys(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return ended
}

// serve runs a gateway with these keys.
func (f *testKeys) serve(change ...func(*Config)) *Server {
	f.t.Helper()
	ring := f.ring()
	return serveTest(f.t, append([]func(*Config){func(c *Config) { c.Keys = ring }}, change...)...)
}

// live is a started session on all trades; its socket has delivered all up to the
// note that nothing is published yet.
func (f *testKeys) live(s *Server, name string) *rawClient {
	f.t.Helper()
	c := dialRaw(f.t, s)
	if got := c.auth(f.secret(name), "dataset="+testDataset); !strings.HasPrefix(got, "success=1|") {
		f.t.Fatalf("key %s is told %q", name, got)
	}
	c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
	c.pass(128 + 320)
	return c
}

// publishing is a producer that has begun, called like its key.
func (f *testKeys) publishing(s *Server, name string) *rawClient {
	f.t.Helper()
	c := dialRaw(f.t, s)
	if got := c.auth(f.secret(name), producerFields(testDataset, name, "1")); !strings.HasPrefix(got, "success=1|") {
		f.t.Fatalf("key %s is told %q", name, got)
	}
	c.begin(metadataOf(feed.SchemaNone))
	return c
}

// lastError reads records to the end of a session and returns its last one, an error.
func lastError(t testing.TB, c *rawClient) (feed.ErrorCode, string) {
	t.Helper()
	rest := []byte(c.rest())
	var last feed.Record
	for len(rest) > 0 {
		n := int(rest[0]) * 4
		if n == 0 || n > len(rest) {
			t.Fatalf("a record of %d bytes where %d are left", n, len(rest))
		}
		last, rest = feed.Record(rest[:n]), rest[n:]
	}
	if last == nil {
		t.Fatal("the session ended without a word")
	}
	e, ok := feed.View[feed.ErrorMsg](last)
	if !ok {
		t.Fatalf("the session ended with a record of type %v", last.RType())
	}
	return e.Code, e.Text()
}

// rejected is how often something was refused for this reason.
func rejected(s *Server, code string) uint64 { return s.metrics.rejects(code).Get() }

// nextTrade reads records until a trade comes, and returns its number.
func nextTrade(c *rawClient) int {
	c.t.Helper()
	var buf [feed.MaxRecordSize + 8]byte
	for {
		switch r := c.next(buf[:]); r.RType() {
		case feed.RTypeMbp0:
			return sequence(r)
		case feed.RTypeError:
			e, _ := feed.View[feed.ErrorMsg](r)
			c.t.Fatalf("an error came where a trade was due: %s", e.Text())
		}
	}
}

// noSocketsOf waits until a key has no connection any more.
func (f *testKeys) noSocketsOf(s *Server, name string) {
	f.t.Helper()
	use := s.uses.of(f.key(name))
	eventually(f.t, "the connections of key "+name+" are given back", func() bool { return use.sockets.Load() == 0 })
}

// roleFields is a subscriber's or a producer's authentication line without the answer.
func roleFields(right Right, dataset string) string {
	if right == RightPublish {
		return producerFields(dataset, "p", "1")
	}
	return "dataset=" + dataset + "|encoding=" + lsg.EncodingDBN
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
