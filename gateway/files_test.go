package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// inChild runs a test again in a process of its own that may open few files. It
// reports whether this is that process.
func inChild(t *testing.T, files int) bool {
	t.Helper()
	const marked = "TAPEWIRE_TEST_FILES"
	if os.Getenv(marked) == t.Name() {
		few := unix.Rlimit{Cur: uint64(files), Max: uint64(files)}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), marked+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("with %d files: %v\n%s", files, err, out)
	}
	return false
}

// Whoever publishes many schemas to many datasets must not take the descriptors
// that clients, and the tapes that are there, need: gnet ends on EMFILE.
func TestDatasetsAndSchemasDoNotTakeTheLastDescriptor(t *testing.T) {
	if !inChild(t, 320) {
		return
	}
	s := serveTest(t, func(c *Config) { c.Limits.Datasets = 8; c.Limits.Connections = 16 })
	publish(t, s, "before", metadataOf(feed.SchemaTrades), trades(1, 100)...)
	others := beside(t, s)
	var refused []string
	for i := 0; i < 40; i++ {
		err := publishAll(s, fmt.Sprintf("D%d", i), "all")
		if err != nil {
			refused = append(refused, err.Error())
		}
	}
	if len(refused) == 0 {
		t.Fatal("40 datasets of all schemas fit 320 files; the test is to find the limit")
	}
	for _, text := range refused {
		if !strings.Contains(text, "file limit") {
			t.Errorf("refused without the cause: %s", text)
		}
	}
	if used, limit := s.journal.Files(); used > limit {
		t.Errorf("the journal holds %d files of %d", used, limit)
	}
	if n := len(openFiles(t)); n > 320-filesMargin {
		t.Errorf("%d of 320 descriptors are in use", n)
	}
	publish(t, s, "goes-on", metadataOf(feed.SchemaTrades), trades(1, 100)...)
	others.unharmed()
}

// publishAll publishes a record of some schemas to a dataset.
func publishAll(s *Server, dataset, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: dataset, Name: name, Stream: "1"})
	if err != nil {
		return err
	}
	m := metadataOf(feed.SchemaNone)
	m.Dataset = dataset
	if err := p.Start(m); err != nil {
		return err
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		if schema == feed.SchemaDefinition || !schema.Valid() {
			continue
		}
		b := make([]byte, schema.RecordSize())
		header(b, schema.RType(), 1, int(schema))
		if err := p.Publish(b); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

// Connections to the admin side, with and without a request, neither end the
// gateway nor keep its operator out, and go when they are idle.
func TestAdminConnectionsDoNotTakeTheLastDescriptor(t *testing.T) {
	if !inChild(t, 300) {
		return
	}
	s := serveTest(t, func(c *Config) { c.Limits.AdminTimeout = time.Second })
	admin := serveAdmin(t, s)
	others := beside(t, s)
	for i := 0; i < 500; i++ { // of which each has an end in this process, too
		conn, err := net.Dial("tcp", admin)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		if i >= 60 { // more are more than this process has for its own ends
			conn.Close()
		} else {
			defer conn.Close()
		}
		if n := s.adminOpen.Load(); n > int64(s.limits.AdminConnections) {
			t.Fatalf("%d admin connections, the limit is %d", n, s.limits.AdminConnections)
		}
	}
	conn, err := net.Dial("tcp", admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "200 OK") {
		t.Errorf("the operator was answered %q, %v", answer, err)
	}
	if got := dialRaw(t, s).produceAs(testDataset, "p", "1"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("a producer meanwhile: %q", got)
	}
	eventually(t, "idle admin connections go", func() bool { return s.adminOpen.Load() == 0 })
	others.unharmed()
}

// A descriptor whose number is near the limit means that something uses more than
// its share. Who connects then is told, and the event loop goes on.
func TestConnectionIsRefusedBeforeDescriptorsRunOut(t *testing.T) {
	if !inChild(t, 300) {
		return
	}
	s := serveTest(t)
	var held []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		if held = append(held, f); int(f.Fd()) >= 300-filesMargin-1 {
			break
		}
	}
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text, _ := io.ReadAll(conn); !strings.Contains(string(text), "success=0|error=the gateway has as many files open") {
		t.Errorf("beyond the last descriptor but %d: %q", filesMargin, text)
	}
	for _, f := range held {
		f.Close()
	}
	if got := dialRaw(t, s).produceAs(testDataset, "p", "1"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("afterwards: %q", got)
	}
}

// Readers of many old files share those that may be open: each gets all its
// records, some later.
func TestReadersShareTheFilesOfOldSegments(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Options{MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Each: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := serveJournal(t, j, Config{Logger: zap.NewNop()})
	const n = 20_000
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, n)...)
	eventually(t, "old segments are sealed", func() bool {
		names, _ := filepath.Glob(filepath.Join(dir, testDataset, "trades", "*.dbn"))
		return len(names) >= 14
	})
	used, _ := j.Files()
	j.LimitFiles(used + 1)
	var subs []*feed.Subscriber
	for i := range 8 { // each in a file of its own
		subs = append(subs, sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(eventTime(i * n / 10))}))
	}
	done := make(chan error, len(subs))
	for i, sub := range subs {
		go func() { done <- takeTrades(sub, i*n/10, n) }()
	}
	for range subs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if used, limit := j.Files(); used > limit {
		t.Errorf("%d files of %d are open", used, limit)
	}
}

// takeTrades takes the trades from next up to n.
func takeTrades(sub *feed.Subscriber, next, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			return fmt.Errorf("after %d records: %w", next, err)
		}
		if r.RType() != feed.RTypeMbp0 {
			continue
		}
		if got := sequence(r); got != next {
			return fmt.Errorf("record %d where %d was due", got, next)
		}
		if next++; next == n {
			return nil
		}
	}
	return errors.New("the stream ended")
}

// serveAdmin serves the admin side and returns its address.
func serveAdmin(t *testing.T, s *Server) string {
	t.Helper()
	admin, err := s.ListenAdmin("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin.Serve()
	t.Cleanup(admin.Close)
	return admin.Addr().String()
}
