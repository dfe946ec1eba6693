package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// Where files lie is the operator's business: not in an absolute data directory, nor in a relative one, whose name may be a word of the text.
func TestNoReplyTellsWhereTheDataDirectoryIs(t *testing.T) {
	for dir, texts := range map[string]map[string]string{
		"/var/lib/tw/": {
			"open /var/lib/tw/A.B/state: no such file":    "open A.B/state: no such file",
			"(/var/lib/tw/A.B)":                           "(A.B)",
			"restore it, or move it out of /var/lib/tw":   "restore it, or move it out of the data directory",
			`"/var/lib/tw/A.B", '/var/lib/tw/C.D'`:        `"A.B", 'C.D'`,
			"nothing of ours: /var/lib/t, var/lib, state": "nothing of ours: /var/lib/t, var/lib, state",
		},
		"data":  {"open data/A.B/state: the data is bad": "open A.B/state: the data is bad", "metadata/A.B": "metadata/A.B"},
		"./t/d": {"move A.B out of ./t/d: damaged": "move A.B out of the data directory: damaged", "open ./t/d/A.B": "open A.B"},
		".":     {"open A.B/state. No.": "open A.B/state. No."},
	} {
		disk := journal.NewMemDisk()
		for _, parent := range []string{"/var", "/var/lib", "t"} {
			if err := disk.Mkdir(parent); err != nil {
				t.Fatal(err)
			}
		}
		j, err := journal.Open(dir, journal.Options{Disk: disk})
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{journal: j}
		for text, want := range texts {
			if got := s.withoutPaths(text); got != want {
				t.Errorf("data in %s: %q is told as %q, want %q", dir, text, got, want)
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A producer whose dataset fails in mid-session is told why, and not where.
func TestAProducerThatIsDismissedIsToldNoPath(t *testing.T) {
	dir := t.TempDir()
	s := serveDir(t, dir)
	p := dialRaw(t, s)
	p.produce("1")
	p.begin(metadataOf(feed.SchemaTrades), trade(1, 0))
	p.await("ack=1|")
	if err := os.Rename(filepath.Join(dir, testDataset), filepath.Join(t.TempDir(), "gone")); err != nil {
		t.Fatal(err)
	}
	p.send(string(trade(1, 1)))
	lines := p.await("error=")
	if last := lines[len(lines)-1]; !strings.Contains(last, "somebody removed") || strings.Contains(last, dir) {
		t.Errorf("it is told %q", last)
	}
	_ = s.journal.Close() // it says so too
}

// A key that stands where a symbol should comes back to nobody; all else does, as it was written.
func TestAKeyInASymbolsPlaceIsNotToldAgain(t *testing.T) {
	const key, twin = "db-abcdefghijklMN", "db-ABCDEFGHIJKLmn"
	s := serveTest(t)
	publish(t, s, "1", withMapping(withMapping(metadataOf(feed.SchemaTrades), 1, key), 2, twin), trade(1, 0))
	for asked, want := range map[string]string{
		"db-0123456789abcdefghijk":                   "nobody has published it yet",
		"db-Abcdefghijklmn":                          "(hidden)", // ambiguous: of the symbols that there are it may be either
		"0xdac17f958d2ee523a2206206994597c13d831ec7": "0xdac17f958d2ee523a2206206994597c13d831ec7",
	} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|stype_in=raw_symbol|symbols=" + asked + "\nstart_session\n")
		c.pass(128)
		buf, text := make([]byte, 1024), ""
		for !strings.Contains(text, want) {
			r := c.next(buf)
			text = systemText(r)
			if m, ok := feed.View[feed.ErrorMsg](r); ok {
				text = m.Text()
			}
			if strings.HasPrefix(asked, "db-") && strings.Contains(text, asked) {
				t.Errorf("%s comes back: %q", asked, text)
				break
			}
		}
	}
}
