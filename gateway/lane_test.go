package gateway

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// coldTape is how many trades put a reader of all of them on the cold lane.
const coldTape = 4 * coldBeyond / 48

// A session that replays is served by the cold lane and comes back to the hot one
// for what is published then: whole, once and in order over both changes.
func TestAReplayLeavesTheHotLaneAndComesBackWithoutASeam(t *testing.T) {
	for _, path := range []SendPath{SendAuto, SendSplice, SendCopy} {
		t.Run(string(path), func(t *testing.T) {
			s := serveTest(t, func(c *Config) { c.SendPath = path })
			publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, coldTape)...)
			c := dialRaw(t, s)
			c.auth(testKey, "dataset="+testDataset)
			c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
			c.pass(128)
			eventually(t, "the session is on the cold lane", func() bool { return laneOf(s) == "cold" })
			expectTrades(t, c, 0, coldTape)
			eventually(t, "the session is back on the hot lane", func() bool { return laneOf(s) == "hot" })
			publish(t, s, "2", metadataOf(feed.SchemaTrades), trades(1, 1000)...)
			expectTrades(t, c, 0, 1000)
		})
	}
}

// A live session that stops reading, falls behind and reads again catches up on
// the cold lane, on whichever of several hot loops it began.
func TestASessionThatFellBehindCatchesUpOnTheColdLane(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Loops = 3; c.Limits.SlowBytes = 1 << 40 })
	const sessions = 7
	var clients [sessions]*rawClient
	for i := range clients {
		clients[i] = dialSmall(t, s)
		clients[i].auth(testKey, "dataset="+testDataset)
		clients[i].send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
		clients[i].pass(128)
	}
	eventually(t, "all have begun", func() bool { return len(s.Sessions()) == sessions && allStarted(s) })
	before := s.metrics.laneChanges.Get()
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, coldTape)...)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { expectTrades(t, c, 0, coldTape) })
	}
	wg.Wait()
	eventually(t, "all are hot again", func() bool { return laneOf(s) == "hot" })
	if changes := s.metrics.laneChanges.Get() - before; changes < 2*sessions {
		t.Errorf("%d lane changes of %d sessions that were %d MiB behind", changes, sessions, 4*coldBeyond>>20)
	}
	publish(t, s, "2", metadataOf(feed.SchemaTrades), trades(1, 100)...)
	for _, c := range clients {
		expectTrades(t, c, 0, 100)
	}
}

// The operator's list shows a session also while it goes from one loop to the other,
// and once.
func TestASessionThatChangesLanesIsListedOnce(t *testing.T) {
	s := serveTest(t)
	startedRaw(t, s)
	eventually(t, "the session has begun", func() bool { return len(s.Sessions()) == 1 && allStarted(s) })
	hot := s.loops[0]
	for n := range 300 {
		hot.post(func() {
			for _, sess := range hot.sessions {
				if sess != nil && !sess.queued {
					hot.handOver(sess, s.cold) // which gives it back: it is at the tail
				}
			}
		})
		if list := s.Sessions(); len(list) != 1 {
			t.Fatalf("while it changes lanes for time %d the list shows the session %d times", n+1, len(list))
		}
		eventually(t, "the session is back on the hot lane", func() bool { return laneOf(s) == "hot" })
	}
	if s.metrics.laneChanges.Get() == 0 {
		t.Error("it never changed lanes")
	}
}

// A commit serves a few sessions at the tail itself. Nobody runs the loop here.
func TestACommitServesHotSessionsInline(t *testing.T) {
	s := serveTest(t)
	p := hotIngest(t, s)
	consume(t, p, hotBytes(false))
	sess, peer := hotSession(t, s, false)
	sess.loop.turns() // it was queued when it came
	consume(t, p, trade(1, 1))
	if n := drain(t, peer); n != 48 {
		t.Errorf("%d bytes came with the commit, want the record", n)
	}
	large := make([]byte, 0, 2*inlineBytes)
	for i := 0; len(large) < inlineBytes+48; i++ {
		large = append(large, trade(1, i)...)
	}
	consume(t, p, large)
	if n := drain(t, peer); n != 0 {
		t.Errorf("%d bytes of a large batch came with the commit, which keeps its producer waiting", n)
	}
}

// A full socket must leave nothing of a session's run in the pipe that all
// sessions of a loop share.
func TestAFullSocketLeavesNothingInTheSplicePipe(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.SendPath = SendSplice })
	p := hotIngest(t, s)
	consume(t, p, hotBytes(false))
	sess, peer := hotSession(t, s, false)
	for range 200 { // more than the socket holds
		consume(t, p, hotBytes(false))
	}
	for sess.pump(1 << 20) {
	}
	if sess.writable {
		t.Fatal("the socket took everything")
	}
	pipe := sess.loop.sender.pipe
	var b [1]byte
	if n, err := unix.Read(pipe.r, b[:]); err != unix.EAGAIN {
		t.Fatalf("the pipe holds bytes: read %d, %v", n, err)
	}
	want := 200 * hotBatch * 48
	for got := drain(t, peer); got < want; got += drain(t, peer) {
		sess.becameWritable()
		for sess.pump(1 << 20) {
		}
	}
}

func laneOf(s *Server) string {
	lane := ""
	for _, v := range s.Sessions() {
		if lane = v.Lane; lane == "cold" {
			break
		}
	}
	return lane
}

func allStarted(s *Server) bool {
	for _, v := range s.Sessions() {
		if !v.Started || len(v.Cursors) == 0 {
			return false
		}
	}
	return true
}

// expectTrades reads n trades that go on from one another; control records may come.
func expectTrades(t *testing.T, c *rawClient, from, n int) {
	t.Helper()
	buf := make([]byte, feed.MaxRecordSize)
	for want := from; want < from+n; {
		r := c.next(buf)
		if r.RType() != feed.RTypeMbp0 {
			continue
		}
		if got := sequence(r); got != want {
			t.Errorf("trade %d came where %d was due", got, want)
			return
		}
		want++
	}
}
