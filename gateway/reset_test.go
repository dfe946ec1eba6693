package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// view is the session of a connection in the operator's list.
func (s *Server) viewOf(c *rawClient) (SessionView, bool) {
	for _, v := range s.Sessions() {
		if v.Remote == c.conn.LocalAddr().String() {
			return v, true
		}
	}
	return SessionView{}, false
}

// A connection may be reset at any moment of its life. Nothing is left of it,
// and its neighbours do not notice.
func TestResetInEachStateLeavesNothing(t *testing.T) {
	const total, each = 120_000, 3
	s := serveTest(t, func(c *Config) { c.Limits.Linger = 200 * time.Millisecond })
	good := beside(t, s)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, total)...)
	before := footprintOf(t, s, 2)
	login := func(c *rawClient, more string) { c.auth(testKey, "dataset="+testDataset+more) }
	replay := func(c *rawClient, more, symbols string) {
		login(c, more)
		c.send("schema=trades|" + symbols + "|start=0\nstart_session\n")
		c.pass(128 + 320 + 48*100)
	}
	const all, one = "symbols=ALL_SYMBOLS", "stype_in=instrument_id|symbols=1"
	producing := func(c *rawClient) {
		c.produceAs(testDataset, "reset", c.conn.LocalAddr().String())
	}
	states := []struct {
		name  string
		bring func(*rawClient)
	}{
		{"before the first line", func(*rawClient) {}},
		{"after the greeting", func(c *rawClient) { c.line() }},
		{"half an authentication line", func(c *rawClient) { c.send("auth=abc") }},
		{"authenticated", func(c *rawClient) { login(c, "") }},
		{"half a subscription", func(c *rawClient) { login(c, ""); c.send("schema=trades|sym") }},
		{"subscribed", func(c *rawClient) { login(c, ""); c.send("schema=trades|" + all + "\n") }},
		{"while its start is looked up", func(c *rawClient) {
			login(c, "")
			c.send(fmt.Sprintf("schema=trades|%s|start=%d\nstart_session\n", all, eventTime(total/2)))
		}},
		{"replaying", func(c *rawClient) { replay(c, "", all) }},
		{"replaying with a filter", func(c *rawClient) { replay(c, "", one) }},
		{"replaying with ts_out", func(c *rawClient) { replay(c, "|ts_out=1", all) }},
		{"with a full socket", func(c *rawClient) {
			replay(c, "", all)
			eventually(t, "it is blocked", func() bool { v, ok := s.viewOf(c); return ok && v.Blocked })
		}},
		{"live", func(c *rawClient) {
			login(c, "")
			c.send("schema=trades|" + all + "\nstart_session\n")
			c.pass(128 + 320)
		}},
		{"told that it ends", func(c *rawClient) { login(c, ""); c.send("nonsense\nstart_session\n"); c.pass(128) }},
		{"refused", func(c *rawClient) { c.send("nonsense\n") }},
		{"producer before its reply", func(c *rawClient) {
			c.authLine(testKey, producerFields(testDataset, "reset", c.conn.LocalAddr().String()))
		}},
		{"producer", producing},
		{"producer in an instrument line", func(c *rawClient) { producing(c); c.send("instrument=AB") }},
		{"producer that reads no reply", func(c *rawClient) { producing(c); c.send("instrument=AB\ninstrument=CD\n") }},
		{"producer in metadata", func(c *rawClient) {
			producing(c)
			c.send("start_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades))[:77]))
		}},
		{"producer in a record", func(c *rawClient) {
			producing(c)
			c.begin(metadataOf(feed.SchemaTrades), trade(2, 0)[:23])
		}},
		{"producer after records", func(c *rawClient) {
			producing(c)
			c.begin(metadataOf(feed.SchemaTrades), trades(2, 100)...)
		}},
		{"producer after an ack", func(c *rawClient) {
			producing(c)
			c.begin(metadataOf(feed.SchemaTrades), trades(2, 100)...)
			c.await("ack=100|")
		}},
	}
	for _, st := range states {
		for range each {
			c := dialSmall(t, s)
			st.bring(c)
			c.reset()
		}
	}
	before.restored(t, s)
	if n := len(s.Sessions()); n != 1 {
		t.Errorf("%d sessions are left, want the bystander's", n)
	}
	if n := len(s.producers.list()); n != 1 {
		t.Errorf("%d producers are left, want the bystander's", n)
	}
	good.unharmed()
}

// A producer that waits for the disk may go as well: from the event loop, and
// from the goroutine to which it was moved because it sent on.
func TestResetOfAProducerThatWaitsForTheDiskLeavesNothing(t *testing.T) {
	s, disk := serveMemory(t, 50*time.Millisecond, func(c *Config) { c.Limits.Parked = readBuffer })
	before := footprintOf(t, s, 0)
	opened := func(name string) *rawClient {
		c := dialRaw(t, s)
		c.produceAs(testDataset, name, "1")
		c.begin(metadataOf(feed.SchemaTrades), trade(1, 0))
		c.await("ack=1|")
		return c
	}
	parked, moved := opened("parked"), opened("moved")
	disk.Limit(disk.Used())
	for c, records := range map[*rawClient]int{parked: 3_000, moved: 40_000} {
		c.send(string(bytes.Repeat(trade(1, 0), records)))
		c.await("pause=disk_full")
	}
	eventually(t, "it is moved", func() bool {
		for _, p := range s.producers.list() {
			if _, ok := p.lines().(*tcpLines); ok && p.req.Producer == "moved" {
				return true
			}
		}
		return false
	})
	parked.reset()
	moved.reset()
	disk.Limit(1 << 40)
	before.restored(t, s)
	eventually(t, "their places are free", func() bool { return len(s.producers.list()) == 0 })
	again := dialRaw(t, s)
	if got := again.produceAs(testDataset, "moved", "1"); !strings.HasPrefix(got, "success=1|") {
		t.Errorf("its successor is told %q", got)
	}
}

// A producer may vanish at any byte of a record: whole records before it are
// kept, the half one is not, and the next session goes on exactly there.
func TestProducerThatEndsAtAnyByteOfARecordResumesExactly(t *testing.T) {
	s := serveTest(t)
	good := beside(t, s)
	before := footprintOf(t, s, 2)
	size := feed.SchemaTrades.RecordSize()
	accepted, truncated := 0, 0
	for round := range 2 * size {
		cut, rst := round/2, round%2 == 1
		p := dialRaw(t, s)
		if got, want := p.produce("cut"), fmt.Sprintf("|accepted=%d", accepted); !strings.HasPrefix(got, "success=1|") || !strings.HasSuffix(got, want) {
			t.Fatalf("after an end at byte %d the next session is told %q, want %s", cut-1, got, want)
		}
		p.begin(metadataOf(feed.SchemaTrades), trade(1, accepted), trade(1, accepted+1), trade(1, accepted+2)[:cut])
		accepted += 2
		p.await(fmt.Sprintf("ack=%d|", accepted))
		p.delivered()
		if cut > 0 {
			truncated++
		}
		if rst {
			p.reset()
		} else {
			p.conn.Close()
		}
		eventually(t, "it is gone", func() bool { return s.sockets.Load() == before.sockets })
	}
	if got, want := tapeBytes(t, s.journal.Lookup(testDataset).Tape(feed.SchemaTrades)), bytes.Join(trades(1, accepted), nil); !bytes.Equal(got, want) {
		t.Errorf("the tape has %d bytes that are not the %d that were sent", len(got), len(want))
	}
	if got := s.rejected("truncated"); got < truncated/2 || got > truncated { // what a RST overtakes is not seen
		t.Errorf("%d half records are counted, %d were sent", got, truncated)
	}
	before.restored(t, s)
	good.unharmed()
}
