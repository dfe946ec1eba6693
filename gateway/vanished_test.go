package gateway

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// vanish has a connection's own kernel drop whatever comes for it: the server
// gets no answer any more, no FIN and no RST, as from a machine without power.
func (c *rawClient) vanish() {
	c.t.Helper()
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	control(c.t, c.conn, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	})
}

// Peers that vanish without a word are found in each state, also when the
// server has nothing to send to them; one that is alive and only does not read
// is none of them.
func TestPeersThatVanishAreFoundInEachState(t *testing.T) {
	const timeout = 2 * time.Second // keepalive counts in seconds
	const before, after = 200_000, 200
	s := serveTest(t, func(c *Config) { c.Limits.PeerTimeout = timeout })
	good := beside(t, s)
	publish(t, s, "before", metadataOf(feed.SchemaTrades), trades(1, before)...)
	baseline := footprintOf(t, s, 2)

	replay := func(c *rawClient) {
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	}
	live := func(c *rawClient) {
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|symbols=ALL_SYMBOLS\nstart_session\n")
		c.pass(128 + 320)
	}
	stopped := dialQuiet(t, s) // alive, and reads nothing
	replay(stopped)
	eventually(t, "the one that does not read is blocked", func() bool {
		for _, v := range s.Sessions() {
			if v.Remote == stopped.conn.LocalAddr().String() && v.Blocked {
				return true
			}
		}
		return false
	})
	states := []struct {
		name  string
		bring func(*rawClient)
		then  func(*rawClient)
	}{
		{"idle before its session", func(c *rawClient) { c.auth(testKey, "dataset="+testDataset) }, nil},
		{"idle at the tail of an empty tape", func(c *rawClient) {
			c.auth(testKey, "dataset="+testDataset)
			c.send("schema=mbo|symbols=ALL_SYMBOLS\nstart_session\n")
			c.pass(128 + 2*320)
		}, nil},
		{"live, with data to come", live, nil},
		{"before its replay", func(c *rawClient) { c.auth(testKey, "dataset="+testDataset) }, func(c *rawClient) {
			c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
		}},
		{"with a full socket", func(c *rawClient) {
			replay(c)
			eventually(t, "it is blocked", func() bool {
				for _, v := range s.Sessions() {
					if v.Remote == c.conn.LocalAddr().String() && v.Blocked {
						return true
					}
				}
				return false
			})
		}, nil},
		{"idle producer", func(c *rawClient) { c.produceAs(testDataset, "idle", "1") }, nil},
		{"producer that is owed an ack", func(c *rawClient) {
			c.produceAs(testDataset, "owed", "1")
			c.begin(metadataOf(feed.SchemaTrades))
		}, func(c *rawClient) { c.send(string(trade(1, before))) }},
	}
	gone := map[string]net.Conn{}
	for _, st := range states {
		c := dialQuiet(t, s)
		st.bring(c)
		c.vanish()
		if st.then != nil {
			st.then(c)
		}
		gone[st.name] = c.conn
	}
	vanishedAt := time.Now()
	publish(t, s, "after", metadataOf(feed.SchemaTrades), trades(1, after)...)
	eventually(t, "those that vanished are found", func() bool { return s.sockets.Load() <= baseline.sockets+1 })
	t.Logf("%d peers that vanished were found within %v, the timeout is %v", len(gone), time.Since(vanishedAt), timeout)
	if got := s.rejected("vanished"); got != len(states) {
		t.Errorf("%d are counted, %d vanished", got, len(states))
	}
	if time.Since(vanishedAt) < timeout {
		t.Error("they were found before their time")
	}

	// The one that is alive has read nothing for longer than the timeout, too.
	eventually(t, "it has read nothing for long", func() bool { return time.Since(vanishedAt) > 2*timeout })
	stopped.pass(128 + 320)
	got := 0
	for buf := make([]byte, feed.MaxRecordSize); got < before; {
		if r := stopped.next(buf); r.RType() == feed.RTypeMbp0 {
			if sequence(r) != got {
				t.Fatalf("the slow one gets record %d where %d was due", sequence(r), got)
			}
			got++
		}
	}
	stopped.conn.Close()
	for name, conn := range gone {
		if conn.Close() != nil {
			t.Errorf("%s: its own end was closed by something", name)
		}
	}
	baseline.restored(t, s)
	good.unharmed()
}
