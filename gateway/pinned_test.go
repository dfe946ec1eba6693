package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// removedFiles is how many of this process's open files under dir have no name any more.
func removedFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		path, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && strings.HasPrefix(path, dir) && strings.HasSuffix(path, " (deleted)") {
			n++
		}
	}
	return n
}

// Who stands still must not keep files of the disk for ever that are to be gone: at
// the bound it lets go of them, and is told exactly what it missed, record for record.
func TestReaderThatStandsStillLetsGoOfExpiredFilesAtTheBound(t *testing.T) {
	const total = 200_000
	for _, path := range []SendPath{SendWrite, SendSendfile} {
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Options{
			MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Interval: time.Millisecond},
			Retain: journal.Retention{Age: time.Nanosecond}, MaxPinned: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		s := serveJournal(t, j, Config{Logger: zap.NewNop(), SendPath: path})
		publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 1)...)
		c := dialSmall(t, s)
		c.auth(testKey, "dataset="+testDataset+"|slow_reader_behavior=warn")
		c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
		c.pass(128 + 320)
		publish(t, s, "b", metadataOf(feed.SchemaTrades), trades(1, total)...)
		forgotten(t, s)
		eventually(t, "the files to be let go of", func() bool {
			views := s.Sessions()
			return len(views) == 1 && views[0].Blocked && removedFiles(t, dir) == 0
		})
		buf, next, missing := make([]byte, feed.MaxRecordSize), -1, 0 // the first stream has one record
		for next < total {
			r := c.next(buf)
			if g, ok := gapOf(t, r); ok {
				if g.Cause != journal.CauseExpired || !g.HasAt || int(g.At.Seq) != next+1+int(g.Records) {
					t.Fatalf("%s: at record %d it is told %+v", path, next, g)
				}
				missing += int(g.Records)
				next += int(g.Records)
			}
			if r.RType().IsControl() {
				continue
			}
			if want := max(next, 0); sequence(r) != want {
				t.Fatalf("%s: record %d where %d is due", path, sequence(r), want)
			}
			next++
		}
		if missing == 0 {
			t.Errorf("%s: nothing was let go of", path)
		}
	}
}
