package gateway

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/journal"
)

// An orchestrator that restarted the gateway for one dataset that is not served would end all others for nothing, in a loop; an operator must hear of it all the same.
func TestADatasetThatIsNotServedIsToldByCauseAndTheGatewayIsReady(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Options{AnyFilesystem: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"FINE", "HURT", "HELD"} {
		if _, err := j.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "sync.log"} {
		if err := os.WriteFile(filepath.Join(dir, "HURT", name), []byte("nothing of ours"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := journal.OSDisk{}.LockDir(filepath.Join(dir, "HELD"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "LINK")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "LINK"), os.DirFS(filepath.Join(dir, "FINE"))); err != nil {
		t.Fatal(err)
	}
	s := serveDir(t, dir)
	if err := s.Ready(); err != nil {
		t.Errorf("it is not ready: %v", err)
	}
	var b bytes.Buffer
	s.metrics.write(&b)
	for name, cause := range map[string]string{"HURT": "damaged", "HELD": "locked", "LINK": "other"} {
		for _, want := range []string{
			fmt.Sprintf("tapewire_dataset_not_served{dataset=%q,cause=%q} 1\n", name, cause), fmt.Sprintf("tapewire_dataset_writable{dataset=%q} 0\n", name),
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("the metrics lack %q", want)
			}
		}
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+name)
		c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
		_, words := notServed(s.journal.Damaged(name))
		if got := c.rest(); !strings.Contains(got, "dataset "+name+" is "+words+" and not served") {
			t.Errorf("a subscriber of %s is told %q", name, got)
		}
	}
	if strings.Contains(b.String(), `tapewire_dataset_not_served{dataset="FINE"`) {
		t.Error("one that is served is told to be not")
	}
}
