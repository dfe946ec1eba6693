package gateway

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// positionSession is a session of the SDK that is told where it stands.
func positionSession(t *testing.T, s *Server, sub feed.Subscription) *feed.Subscriber {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	x, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Position: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	if err := x.Subscribe(sub); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Start(); err != nil {
		t.Fatal(err)
	}
	return x
}

func positionIn(t *testing.T, r feed.Record) (p lsg.Position, ok bool) {
	t.Helper()
	text, ok := strings.CutPrefix(systemText(r), "255 ")
	if !ok || !lsg.IsPosition(text) {
		return p, false
	}
	p, err := lsg.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p, true
}

// A bot that goes on at a position misses nothing and gets nothing twice, with
// a filter too.
func TestResumeAtAPositionContinuesExactly(t *testing.T) {
	for _, filtered := range []bool{false, true} {
		s := serveTest(t)
		sub := feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)}
		if filtered {
			sub.SType, sub.Symbols = feed.STypeInstrumentID, []string{"1"}
		}
		var first, second [][]byte
		for i := range 5000 {
			first = append(first, trade(uint32(i%3), i))
			second = append(second, trade(uint32((5000+i)%3), 5000+i))
		}
		publish(t, s, "1", metadataOf(feed.SchemaTrades), first...)
		seen := map[int]int{}
		note := func(r feed.Record) {
			if r.RType() == feed.RTypeMbp0 {
				seen[sequence(r)]++
			}
		}
		var at lsg.Position
		bot := positionSession(t, s, sub)
		take(t, bot, func(r feed.Record) bool {
			note(r)
			p, ok := positionIn(t, r)
			if ok {
				at = p
			}
			return ok && p.Seq == 5000 // told within a second of the last record
		})
		bot.Close()
		publish(t, s, "2", metadataOf(feed.SchemaTrades), second...)
		sub.Start, sub.Resume = nil, &at
		take(t, positionSession(t, s, sub), func(r feed.Record) bool {
			note(r)
			return strings.Contains(systemText(r), "Finished")
		})
		want := 10_000
		if filtered {
			want = 3333
		}
		if len(seen) != want {
			t.Errorf("filtered=%v: %d records came, want %d", filtered, len(seen), want)
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("filtered=%v: record %d came %d times", filtered, i, n)
			}
		}
	}
}

// serveSeldomSynced serves a journal in memory that syncs when it is told to: a power
// cut takes what was written since.
func serveSeldomSynced(t *testing.T, d *journal.MemDisk) *Server {
	t.Helper()
	j, err := journal.Open("/data", journal.Options{Disk: d, Sync: journal.SyncPolicy{Interval: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	return serveJournal(t, j, Config{SendPath: SendWrite})
}

// After a power cut a bot may hold records that the tape no longer has: it is
// told which, and goes on with what took their place.
func TestResumeIntoACutRangeIsToldWhatIsGone(t *testing.T) {
	disk := journal.NewMemDisk()
	before := serveSeldomSynced(t, disk)
	publish(t, before, "1", metadataOf(feed.SchemaTrades), trade(1, 0), trade(1, 1))
	d := before.journal.Lookup(testDataset)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	publish(t, before, "2", metadataOf(feed.SchemaTrades), trade(1, 2), trade(1, 3), trade(1, 4))
	held := lsg.Position{Epoch: d.Epoch(), Seq: 5}
	if err := before.Shutdown(t.Context()); err != nil { // nothing writes while the disk is copied
		t.Fatal(err)
	}

	cut := disk.Clone(true)
	state, err := cut.Open(filepath.Join("/data", testDataset, "state"), false) // never written back
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	after := serveSeldomSynced(t, cut)
	publish(t, after, "3", metadataOf(feed.SchemaTrades), trade(1, 100))
	var told []string
	take(t, positionSession(t, after, feed.Subscription{Schema: feed.SchemaTrades, Resume: &held}), func(r feed.Record) bool {
		if text := systemText(r); strings.HasPrefix(text, "255 gap|") {
			told = append(told, text)
		}
		return r.RType() == feed.RTypeMbp0 && sequence(r) == 100
	})
	if len(told) != 1 || !strings.Contains(told[0], "cause=cut|records=3") {
		t.Errorf("told %q, want one gap of three records that were cut", told)
	}
}

// A copy of the data directory is another history from where it was made: who has
// seen more of the one it was made of is told, and who has not goes on exactly.
func TestResumeFromBeyondACopyIsToldSo(t *testing.T) {
	disk := journal.NewMemDisk()
	before := serveSeldomSynced(t, disk)
	publish(t, before, "1", metadataOf(feed.SchemaTrades), trade(1, 0), trade(1, 1), trade(1, 2))
	old := before.journal.Lookup(testDataset).Epoch()
	if err := before.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := serveSeldomSynced(t, disk.Clone(true))
	publish(t, after, "2", metadataOf(feed.SchemaTrades), trade(1, 100), trade(1, 101))
	now := after.journal.Lookup(testDataset).Epoch()
	if now == old {
		t.Fatalf("the copy goes on in epoch %d", old)
	}
	for _, p := range []lsg.Position{{Epoch: old, Seq: 4}, {Epoch: old, Seq: 9}, {Epoch: now - 1, Seq: 1}, {Epoch: now + 1, Seq: 0}, {Epoch: now, Seq: 6}} {
		sub := positionSession(t, after, feed.Subscription{Schema: feed.SchemaTrades, Resume: &p})
		take(t, sub, func(r feed.Record) bool {
			e, ok := feed.View[feed.ErrorMsg](r)
			if r.RType() == feed.RTypeMbp0 {
				t.Fatalf("resume=%d:%d is served record %d", p.Epoch, p.Seq, sequence(r))
			}
			return ok && strings.HasPrefix(e.Text(), "resume=")
		})
	}
	for _, p := range []lsg.Position{{Epoch: old, Seq: 3}, {Epoch: now, Seq: 3}} {
		sub := positionSession(t, after, feed.Subscription{Schema: feed.SchemaTrades, Resume: &p})
		take(t, sub, func(r feed.Record) bool {
			if r.RType() == feed.RTypeMbp0 && sequence(r) < 100 {
				t.Fatalf("resume=%d:%d is served record %d", p.Epoch, p.Seq, sequence(r))
			}
			return r.RType() == feed.RTypeMbp0 && sequence(r) == 101
		})
	}
}

// A position that this tape never had is refused, not guessed at.
func TestPositionOfAnotherTapeIsRefused(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trade(1, 0), trade(1, 1))
	epoch := s.journal.Lookup(testDataset).Epoch()
	for _, p := range []lsg.Position{{Epoch: epoch, Seq: 3}, {Epoch: epoch + 1, Seq: 0}} {
		sub := positionSession(t, s, feed.Subscription{Schema: feed.SchemaTrades, Resume: &p})
		take(t, sub, func(r feed.Record) bool {
			e, ok := feed.View[feed.ErrorMsg](r)
			return ok && e.Code == feed.ErrorInvalidSubscription && strings.HasPrefix(e.Text(), "resume=")
		})
	}
}
