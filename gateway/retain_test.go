package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// serveForgetful runs a gateway that keeps what it can keep for an instant: every segment that is left goes.
func serveForgetful(t *testing.T, change ...func(*Config)) *Server {
	t.Helper()
	j, err := journal.Open(t.TempDir(), journal.Options{
		MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Interval: time.Millisecond}, Retain: journal.Retention{Age: time.Nanosecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Logger: zap.NewNop()}
	for _, f := range change {
		f(&cfg)
	}
	return serveJournal(t, j, cfg)
}

// forgotten waits until the tape of trades has lost its beginning for good, and returns where it begins.
func forgotten(t *testing.T, s *Server) uint64 {
	t.Helper()
	tape := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades)
	var first uint64
	eventually(t, "all to go that may", func() bool {
		before := first
		first = tape.First()
		return first > 0 && first == before && tape.Tail()-first < 2000
	})
	return first
}

// gapOf is the gap that a record tells, if it tells one.
func gapOf(t *testing.T, r feed.Record) (lsg.Gap, bool) {
	m, ok := feed.View[feed.SystemMsg](r)
	if !ok || !strings.HasPrefix(m.Text(), "gap|") {
		return lsg.Gap{}, false
	}
	g, err := lsg.ParseGap(m.Text())
	if err != nil {
		t.Fatal(err)
	}
	return g, true
}

// Who asks for records that are kept no more is told what is missing, and gets the
// rest; who asks for what there is is told nothing.
func TestRecordsThatExpiredAreAGapAndNoError(t *testing.T) {
	const total = 10_000
	s := serveForgetful(t)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, total)...)
	first := forgotten(t, s)
	epoch := s.journal.Lookup(testDataset).Epoch()
	position := &lsg.Position{Schema: "trades", Epoch: epoch, Seq: 10}
	cases := []struct {
		name string
		sub  feed.Subscription
		gap  lsg.Gap
	}{
		{"from the beginning", feed.Subscription{Start: new(uint64)}, lsg.Gap{}},
		{"from a time that is kept", feed.Subscription{Start: new(eventTime(int(first)))}, lsg.Gap{}},
		{"from a time that is not", feed.Subscription{Start: new(eventTime(20))}, lsg.Gap{FromTs: eventTime(20), ToTs: eventTime(int(first)-1) + 1}},
		{"from a position", feed.Subscription{Resume: position}, lsg.Gap{Records: first - 10, At: lsg.Position{Epoch: epoch, Seq: first}, HasAt: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.sub.Schema = feed.SchemaTrades
			sub := sdkSubscribe(t, s, c.sub)
			want := c.gap
			if want != (lsg.Gap{}) {
				want.Schema, want.Cause = "trades", journal.CauseExpired
			}
			var told lsg.Gap
			next := int(first)
			take(t, sub, func(r feed.Record) bool {
				if g, ok := gapOf(t, r); ok {
					told = g
				}
				if r.RType().IsControl() {
					return false
				}
				if sequence(r) != next {
					t.Fatalf("record %d where %d is due", sequence(r), next)
				}
				next++
				return next == total
			})
			if told != want {
				t.Errorf("told %+v, want %+v", told, want)
			}
		})
	}
}

// A session that stands still while what it has not read expires is told how much
// that was. It keeps nothing from going, and nobody waits for it.
func TestSlowSessionIsToldWhatExpiredMeanwhile(t *testing.T) {
	const total = 200_000
	s := serveForgetful(t)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 1)...)
	c := dialSmall(t, s)
	c.auth(testKey, "dataset="+testDataset+"|slow_reader_behavior=warn")
	c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	c.pass(128 + 320)
	publish(t, s, "b", metadataOf(feed.SchemaTrades), trades(1, total)...)
	forgotten(t, s)
	buf, next, missing := make([]byte, feed.MaxRecordSize), -1, 0 // the first stream has one record
	for next < total {
		r := c.next(buf)
		if g, ok := gapOf(t, r); ok {
			if g.Cause != journal.CauseExpired || !g.HasAt || int(g.At.Seq) != next+1+int(g.Records) {
				t.Fatalf("at record %d it is told %+v", next, g)
			}
			missing += int(g.Records)
			next += int(g.Records)
		}
		if r.RType().IsControl() {
			continue
		}
		if want := max(next, 0); sequence(r) != want {
			t.Fatalf("record %d where %d is due", sequence(r), want)
		}
		next++
	}
	if missing == 0 {
		t.Error("nothing expired before it was read: the test tests nothing")
	}
}

// What expires under a session that is being skipped parts the skip in two: each
// message has the place where its records lie, so a client can go on behind any.
func TestSkipThatExpiryInterruptsIsToldInOrder(t *testing.T) {
	const total = 10_000
	s := serveForgetful(t)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, total)...)
	first, epoch := forgotten(t, s), s.journal.Lookup(testDataset).Epoch()
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	eventually(t, "the session is live", func() bool { return len(s.Sessions()) == 1 && allStarted(s) })
	for _, l := range s.loops {
		l.post(func() {
			for _, sess := range l.sessions {
				if sess == nil {
					continue
				}
				sess.auth.Position = true
				c := sess.cursors[0]
				c.moveTo(10)
				c.skipTo, c.skipped, c.skipFrom = first+5, 3, 1
				sess.intros = append(sess.intros, intro{kind: introPositions})
				l.enqueue(sess)
			}
		})
	}
	var told []string
	next := int(first) + 5
	take(t, sub, func(r feed.Record) bool {
		if m, ok := feed.View[feed.SystemMsg](r); ok && (lsg.IsGap(m.Text()) || lsg.IsPosition(m.Text())) && next == int(first)+5 {
			told = append(told, m.Text())
		}
		if r.RType().IsControl() {
			return false
		}
		if sequence(r) != next {
			t.Fatalf("record %d where %d is due", sequence(r), next)
		}
		next++
		return next == total
	})
	want := []string{
		fmt.Sprintf("gap|schema=trades|from_ts=1|cause=skipped|records=3|epoch=%d|seq=10", epoch),
		fmt.Sprintf("gap|schema=trades|cause=expired|records=%d|epoch=%d|seq=%d", first-10, epoch, first),
		fmt.Sprintf("gap|schema=trades|from_ts=%d|cause=skipped|records=5|epoch=%d|seq=%d", eventTime(int(first)), epoch, first+5),
		fmt.Sprintf("position|schema=trades|epoch=%d|seq=%d", epoch, first+5),
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}
