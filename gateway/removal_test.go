package gateway

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A dataset that is removed under a running gateway: whoever has it open is told,
// nobody else notices, nothing of it is left, and nothing that comes under the name
// later is taken for it.
func TestDatasetRemovedWhileRunningTellsItsClientsAndFreesItsName(t *testing.T) {
	dir := t.TempDir()
	s := serveDir(t, dir)
	admin, err := s.ListenAdmin("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	admin.Serve()
	ask := func(name, origin string) (int, string) {
		req, err := http.NewRequest(http.MethodPost, "http://"+admin.Addr().String()+"/datasets/"+name+"/remove", nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	// A neighbour that must notice nothing.
	neighbour := dialRaw(t, s)
	if got := neighbour.produceAs("OTHER", "p", "1"); !strings.HasPrefix(got, "success=1") {
		t.Fatal(got)
	}
	used, _ := s.journal.Files()

	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, 1000)...)
	epoch := s.journal.Lookup(testDataset).Epoch()
	reader := positionSession(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	take(t, reader, func(r feed.Record) bool { return r.RType() == feed.RTypeMbp0 && sequence(r) == 999 })
	writer := dialRaw(t, s)
	if got := writer.produce("2"); !strings.HasPrefix(got, "success=1") {
		t.Fatal(got)
	}
	writer.begin(metadataOf(feed.SchemaTrades), trade(1, 1000))
	writer.await("ack=1")

	if code, text := ask(testDataset, "http://evil.example"); code != http.StatusForbidden {
		t.Errorf("a foreign page: %d %s", code, text)
	}
	if code, text := ask("NONE", ""); code != http.StatusNotFound {
		t.Errorf("one that is not there: %d %s", code, text)
	}
	if s.journal.Lookup(testDataset) == nil {
		t.Fatal("it is gone already")
	}
	if code, text := ask(testDataset, ""); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	take(t, reader, func(r feed.Record) bool {
		e, ok := feed.View[feed.ErrorMsg](r)
		return ok && strings.Contains(e.Text(), "was removed")
	})
	lines := writer.await("error=")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "error="+lsg.CodeRemoved) || !strings.Contains(last, "retry=never") {
		t.Errorf("the producer is told %q", last)
	}
	writer.conn.Close()
	reader.Close()
	if _, err := os.Stat(filepath.Join(dir, testDataset)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
	eventually(t, "its files are given back", func() bool { now, _ := s.journal.Files(); return now <= used })
	neighbour.begin(metadataOf(feed.SchemaTrades))
	if code, _ := ask(testDataset, ""); code != http.StatusNotFound {
		t.Errorf("twice: %d", code)
	}

	publish(t, s, "1", metadataOf(feed.SchemaTrades), trade(2, 7))
	again := positionSession(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	take(t, again, func(r feed.Record) bool {
		if r.RType() == feed.RTypeMbp0 && sequence(r) != 7 {
			t.Fatalf("record %d is of the dataset that was removed", sequence(r))
		}
		return r.RType() == feed.RTypeMbp0
	})
	held := lsg.Position{Epoch: epoch, Seq: 1}
	take(t, positionSession(t, s, feed.Subscription{Schema: feed.SchemaTrades, Resume: &held}), func(r feed.Record) bool {
		e, ok := feed.View[feed.ErrorMsg](r)
		return ok && strings.HasPrefix(e.Text(), "resume=")
	})
}
