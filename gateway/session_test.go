package gateway

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// liveAfter is a client with a live session that has read one record, so that its
// cursor holds a file.
func liveAfter(t *testing.T, s *Server, r []byte, schema feed.Schema) *rawClient {
	t.Helper()
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=" + schema.String() + "|symbols=ALL_SYMBOLS|id=1\nstart_session\n")
	c.pass(128)
	c.hear(func(h *account) bool { return h.count("1 Subscription") == 1 })
	publish(t, s, "one", metadataOf(schema), r)
	c.hear(func(h *account) bool { return len(h.data) == 1 })
	return c
}

// A session that waits for a file is still there: its client hears heartbeats, or it
// would take the connection for dead.
func TestASessionThatLacksAFileStillHasItsHeartbeats(t *testing.T) {
	s := serveTest(t)
	c := liveAfter(t, s, trade(1, 0), feed.SchemaTrades)
	onSession(t, s, func(sess *session) {
		sess.lacksFile = true // as each step leaves it while none may be opened
		sess.lastSent = time.Now().Add(-time.Hour)
		if !sess.tick(time.Now()) || sess.lacksFile || len(sess.intros) != 1 {
			t.Errorf("it is served again: %v, with %d heartbeats", !sess.lacksFile, len(sess.intros))
		}
		sess.loop.enqueue(sess)
	})
	c.hear(func(h *account) bool { return h.count("0 Heartbeat") == 1 })
}

// What waits for a file gives its own back, but not the one with the rest of a record
// of which the client has the beginning: once that is gone, the stream is broken.
func TestTheRestOfARecordThatIsSentInPartKeepsItsFile(t *testing.T) {
	s := serveTest(t)
	liveAfter(t, s, trade(1, 0), feed.SchemaTrades)
	onSession(t, s, func(sess *session) {
		c := sess.cursors[0]
		if c.seg == nil {
			if _, err := c.segment(); err != nil {
				t.Fatal(err)
			}
		}
		c.off = 8
		sess.awaitFiles()
		if c.seg == nil {
			t.Error("the file with the rest of a record was let go")
		}
		c.off = 0
		if sess.awaitFiles(); c.seg != nil {
			t.Error("a file that nothing is owed of is kept")
		}
	})
}

// A client that does not read gathers no ends of intervals: one would come for each
// tick, without a bound.
func TestABlockedSessionGathersNoEndsOfIntervals(t *testing.T) {
	s := serveTest(t)
	bar := make([]byte, feed.SchemaOhlcv1s.RecordSize())
	header(bar, feed.SchemaOhlcv1s.RType(), 1, 0)
	liveAfter(t, s, bar, feed.SchemaOhlcv1s)
	onSession(t, s, func(sess *session) {
		sess.cursors[0].interval, sess.cursors[0].intervalTold = eventTime(0), false
		now := time.Now().Add(2 * intervalPatience)
		sess.blocked()
		for range 10 {
			sess.tick(now)
		}
		if n := len(sess.intros); n > 0 {
			t.Errorf("%d ends of one interval wait for a socket that is full", n)
		}
		sess.becameWritable()
		for range 10 {
			sess.tick(now)
		}
		if n := len(sess.intros); n != 1 {
			t.Errorf("%d ends of one interval are told, want one", n)
		}
		sess.loop.enqueue(sess)
	})
}

// What was unsubscribed is looked at for each record like what is subscribed, so it
// counts in a turn's work: or who subscribes and unsubscribes holds up the others.
func TestUnsubscribedFiltersCountInATurnsWork(t *testing.T) {
	dropping := func(n int) *want { return &want{filter: newFilter(), dropped: make([]dropped, n)} }
	w := dropping(100)
	w.had = []had{{want: dropping(50)}, {want: dropping(0)}}
	c := &cursor{wants: []*want{w, dropping(7)}}
	if got, want := c.looks(), 1+100+(1+50)+1+(1+7); got != want {
		t.Errorf("a record costs %d looks, want %d", got, want)
	}
}

// An id that comes to bear a symbol after that was unsubscribed stays out, also once
// the filter is made anew because another subscription has come to its end.
func TestAnIDThatComesAfterAnUnsubscribeStaysOut(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "0", metadataOf(feed.SchemaTrades), trade(1, 0))
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=LATE|id=1\nschema=trades|stype_in=instrument_id|symbols=7|id=3\n" +
		"schema=trades|stype_in=instrument_id|symbols=9|id=2|end=" + time.Now().Add(700*time.Millisecond).UTC().Format(time.RFC3339Nano) + "\n" +
		"start_session\nunsubscribe|schema=trades|symbols=LATE\n")
	c.pass(128)
	c.hear(func(h *account) bool { return h.count("5 Unsub") == 1 })
	publish(t, s, "a", metadataOf(feed.SchemaTrades), mappingRecord(5, "LATE"), trade(5, 1), trade(7, 2))
	h := c.hear(func(h *account) bool { return len(h.sequences(7)) == 1 && h.count("255 end|schema=trades|id=2") == 1 })
	publish(t, s, "b", metadataOf(feed.SchemaTrades), trade(5, 3), trade(7, 4))
	more := c.hear(func(h *account) bool { return len(h.sequences(7)) == 1 })
	if got := append(h.sequences(5), more.sequences(5)...); len(got) > 0 {
		t.Errorf("records %v came of a symbol that was unsubscribed", got)
	}
}

// A subscription that comes while the names of another day are told is told the names
// of that day: of two days it would take the one, and be taken to know the other.
func TestASubscriptionIsNotResolvedAmongTheNamesOfTwoDays(t *testing.T) {
	s := serveTest(t)
	x := newScribe(t, s, 1, 1, 2)
	for day, symbol := range []string{"OLDER", "NEWER"} {
		from := firstDay + journal.Day(day)
		for id := range uint32(2) {
			named := journal.DatedMapping{ID: id + 1, Symbol: fmt.Sprint(symbol, id), From: from, To: from + 1, Kind: journal.KindDated}
			if _, err := x.w.MapDated([]journal.DatedMapping{named}); err != nil {
				t.Fatal(err)
			}
		}
	}
	on := func(day int, id uint32, i int) []byte {
		r := trade(id, i)
		for _, at := range []int{8, 32} {
			binary.LittleEndian.PutUint64(r[at:], uint64(firstDay+journal.Day(day))*86_400e9+1)
		}
		return r
	}
	x.append(feed.SchemaTrades, on(0, 1, 0))
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|stype_in=instrument_id|symbols=1|id=1\nstart_session\n")
	c.pass(128)
	h := c.hear(func(h *account) bool { return h.names[1] == "OLDER0" })
	onSession(t, s, func(sess *session) {
		sess.rebase(firstDay + 1) // as records of the next day do
		sess.line("schema=trades|stype_in=instrument_id|symbols=2|id=2")
	})
	x.append(feed.SchemaTrades, on(1, 2, 1))
	buf := make([]byte, feed.MaxRecordSize)
	for len(h.data) == 0 {
		h.add(c.next(buf))
	}
	if h.called[0] != "NEWER1" {
		t.Errorf("the record of id 2 is called %q, want NEWER1, which it was on its day; told %v", h.called[0], h.names)
	}
}
