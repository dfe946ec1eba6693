package gateway

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// A full disk is a state: the producer is told to wait and loses nothing,
// subscribers go on, and it ends without a restart.
func TestFullDiskPausesProducersAndEndsWithoutARestart(t *testing.T) {
	disk := journal.NewMemDisk()
	j, err := journal.Open("/data", journal.Options{Disk: disk, RetryInterval: time.Millisecond, MinSegment: 64 << 10, MaxSegment: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s := serveJournal(t, j, Config{SendPath: SendWrite, Logger: zap.NewNop()})
	p := dialRaw(t, s)
	p.produce("1")
	p.send("start_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades))) + string(trade(1, 0)))
	if got := p.line(); got != "ack=1|level=written" {
		t.Fatalf("the first ack is %q", got)
	}
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	disk.Limit(disk.Used())

	const total = 20_000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i < total; i++ {
			if _, err := p.conn.Write(trade(1, i)); err != nil {
				t.Errorf("send: %v", err)
				return
			}
		}
	}()
	for line := p.line(); line != "pause=disk_full"; line = p.line() {
		if !strings.HasPrefix(line, "ack=") {
			t.Fatalf("before the pause comes %q", line)
		}
	}
	if err := s.Ready(); err == nil {
		t.Error("the gateway calls itself ready while a disk is full")
	}
	disk.Limit(1 << 40)
	resumed := false
	for line := p.line(); line != "ack=20000|level=written"; line = p.line() {
		switch {
		case line == "resume=1":
			resumed = true
		case line != "pause=disk_full" && !strings.HasPrefix(line, "ack="):
			t.Fatalf("after the pause comes %q", line)
		}
	}
	if !resumed {
		t.Error("no resume=1 came")
	}
	<-sent
	next := 0
	take(t, sub, func(r feed.Record) bool {
		if r.RType() == feed.RTypeMbp0 {
			if sequence(r) != next {
				t.Fatalf("record %d where %d was due", sequence(r), next)
			}
			next++
		}
		return next == total
	})
}
