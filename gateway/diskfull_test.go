package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A full disk is a state: the producer is told to wait and loses nothing,
// subscribers go on, and it ends without a restart.
func TestFullDiskPausesProducersAndEndsWithoutARestart(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond)
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

// While a producer waits for room, what is committed is acknowledged: that is
// how it knows what it need not hold.
func TestAcksGoOnWhileTheDiskIsFull(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond)
	p := dialRaw(t, s)
	p.produce("1")
	p.begin(metadataOf(feed.SchemaTrades), trade(1, 0))
	p.await("ack=1|")
	eventually(t, "the next segment is there", func() bool { return disk.Used() >= 2*64<<10 })
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.send(string(bytes.Join(trades(1, 5000), nil)))
	_ = p.conn.SetDeadline(time.Now().Add(5 * time.Second))
	lines := p.await("pause=disk_full")
	committed := fmt.Sprintf("ack=%d|level=written", s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail())
	if !slices.Contains(lines, committed) {
		p.await(committed)
	}
}

// Lines that wait for the symbol log are answered in order when there is room.
func TestInstrumentLineOnAFullDiskGetsItsIDLater(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond)
	p := dialRaw(t, s)
	p.produce("1")
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.send("instrument=AAA\ninstrument=BBB\n")
	p.await("pause=disk_full")
	disk.Limit(1 << 40)
	lines := strings.Join(p.await("instrument=BBB|"), " ")
	if !strings.HasPrefix(lines, "resume=1 instrument=AAA|") {
		t.Errorf("after the pause comes %q, want resume=1 and the ids of both", lines)
	}
}

// A full disk passes: an adapter that connects meanwhile must not take it for the
// last word, which success=0 is to its SDK.
func TestProducerThatComesWhileTheDiskIsFullMayComeAgain(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond)
	disk.Limit(disk.Used())
	cfg := feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1"}
	_, err := feed.DialProducer(t.Context(), cfg)
	var refused *feed.RefusedError
	if !errors.As(err, &refused) || refused.Code != lsg.CodeLimit || feed.IsFinal(err) || !strings.Contains(refused.Text, "disk full") {
		t.Errorf("on a full disk a producer gets %v, want a refusal that passes and says why", err)
	}
	disk.Limit(1 << 40)
	var p *feed.Producer
	eventually(t, "there is room again", func() bool {
		p, err = feed.DialProducer(t.Context(), cfg)
		return err == nil
	})
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Mappings in metadata are not forgotten because they had to wait.
func TestMetadataMappingsOnAFullDiskAreEnteredLater(t *testing.T) {
	s, disk := serveMemory(t, time.Millisecond)
	p := dialRaw(t, s)
	p.produce("1")
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.begin(withMapping(withMapping(metadataOf(feed.SchemaTrades), 1, "AAA"), 2, "BBB"))
	p.await("pause=disk_full")
	disk.Limit(1 << 40)
	p.send(string(trade(1, 0)))
	p.await("ack=1|")
	table := s.journal.Lookup(testDataset).Symbols()
	for id, want := range map[uint32]string{1: "AAA", 2: "BBB"} {
		if got, _ := table.Symbol(id); got != want {
			t.Errorf("id %d stands for %q, the metadata says %q", id, got, want)
		}
	}
}

// A mapping that finds no room waits for it once, and neither it nor what
// follows is lost. Not to wait would spin and send a pause line each time.
func TestMappingOnAFullDiskWaitsWithoutSpinning(t *testing.T) {
	s, disk := serveMemory(t, 50*time.Millisecond)
	p := dialRaw(t, s)
	p.produce("1")
	p.begin(metadataOf(feed.SchemaTrades), trade(1, 0))
	p.await("ack=1|")
	disk.Limit(disk.Used())
	defer disk.Limit(1 << 40)
	p.send(string(mappingRecord(1, "AAA")) + string(trade(1, 1)))
	p.await("pause=disk_full")
	// That nothing comes shows only in time: some retries of the journal.
	_ = p.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if b, err := p.r.Peek(1); err == nil {
		t.Errorf("during the pause comes %q...", b)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	disk.Limit(1 << 40)
	if got := strings.Join(p.await("ack=2|"), " "); got != "resume=1 ack=2|level=written" {
		t.Errorf("after the pause comes %q", got)
	}
	if got, _ := s.journal.Lookup(testDataset).Symbols().Symbol(1); got != "AAA" {
		t.Errorf("id 1 stands for %q, want AAA", got)
	}
}
