package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// lateClient is in a session that has begun, with a live subscription of instrument 9.
func lateClient(t *testing.T, s *Server) *rawClient {
	t.Helper()
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|stype_in=instrument_id|symbols=9|id=9\nstart_session\n")
	c.pass(128)
	buf := make([]byte, feed.MaxRecordSize)
	for h := newAccount(); h.count("1 Subscription request 9 ") == 0; {
		h.add(c.next(buf))
	}
	return c
}

func newAccount() *account { return &account{names: map[uint32]string{}} }

// hear takes records until stop says so.
func (c *rawClient) hear(stop func(*account) bool) *account {
	c.t.Helper()
	h, buf := newAccount(), make([]byte, feed.MaxRecordSize)
	for !stop(h) {
		h.add(c.next(buf))
	}
	return h
}

// answers are the acknowledgements and refusals among what was told, in their order:
// the first with the id that they answer.
func (h *account) answers() (list []string) {
	for _, text := range h.told {
		switch f := strings.Fields(text); f[0] {
		case "1":
			list = append(list, "taken "+f[3])
		case "5":
			list = append(list, "off")
		case "error":
			list = append(list, "error "+f[1])
		}
	}
	return list
}

// Lines take effect in the order in which they were sent, though the place of a start
// is looked up off the loop: an unsubscribe that overtakes takes nothing back.
func TestAnUnsubscribeDoesNotOvertakeTheStartBeforeIt(t *testing.T) {
	const one = "schema=trades|stype_in=instrument_id|symbols=1"
	off, start := "unsubscribe|"+one+"\n", fmt.Sprintf("%s|start=%d", one, eventTime(1000))
	cases := []struct {
		name, lines string
		want        []string
		live        int // trades of instrument 1 that come afterwards
	}{
		{"taken back", start + "|id=1\n" + off, []string{"taken 1", "off"}, 0},
		{"taken back and wanted again", start + "|id=1\n" + off + one + "|id=2\n", []string{"taken 1", "off", "taken 2"}, 1},
		{"a chunk that the next line ends", start + "|id=1|is_last=0\n" + off, []string{"taken 1", "off"}, 0},
		{"behind a refused one", start + "|id=1\nschema=trades|stype_in=isin|symbols=X|id=3\n" + off, []string{"taken 1", "error 4", "off"}, 0},
		{"behind two starts", start + "|id=1\n" + start + "|id=2\nstart_session\n" + off, []string{"taken 1", "taken 2", "off"}, 0},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			s := serveTest(t)
			publish(t, s, "past", metadataOf(feed.SchemaTrades), trades(1, 2000)...)
			c := lateClient(t, s)
			c.send(x.lines)
			h := c.hear(func(h *account) bool { return len(h.answers()) == len(x.want) })
			if got := h.answers(); !slices.Equal(got, x.want) {
				t.Errorf("answered %q, want %q", got, x.want)
			}
			publish(t, s, "live", metadataOf(feed.SchemaTrades), trade(1, 2000), trade(9, 2001))
			h = c.hear(func(h *account) bool { return len(h.sequences(9)) == 1 })
			if got := h.sequences(1); len(got) != x.live {
				t.Errorf("instrument 1 sent records %v, want %d", got, x.live)
			}
		})
	}
}

// Also before the session has begun: what comes while its own starts are looked up
// waits for them, in order.
func TestLinesBehindStartSessionWaitForItsStarts(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "past", metadataOf(feed.SchemaTrades), trades(1, 2000)...)
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	start := fmt.Sprintf("schema=trades|stype_in=instrument_id|symbols=1|start=%d", eventTime(1000))
	c.send(start + "|id=1\nstart_session\n" + start + "|id=2\nunsubscribe|schema=trades|stype_in=instrument_id|symbols=1\nschema=trades|stype_in=instrument_id|symbols=9|id=9\n")
	c.pass(128)
	h := c.hear(func(h *account) bool { return len(h.answers()) == 4 })
	if got, want := h.answers(), []string{"taken 1", "taken 2", "off", "taken 9"}; !slices.Equal(got, want) {
		t.Errorf("answered %q, want %q", got, want)
	}
	publish(t, s, "live", metadataOf(feed.SchemaTrades), trade(1, 2000), trade(9, 2001))
	if h = c.hear(func(h *account) bool { return len(h.sequences(9)) == 1 }); len(h.sequences(1)) > 0 {
		t.Errorf("an instrument that was taken back sent %v", h.sequences(1))
	}
}

// A client that half-closes behind a late start, and a line behind that, is owed both.
func TestHalfCloseBehindALateStartIsOwedWhatWaitsForIt(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "past", metadataOf(feed.SchemaTrades), turns(2, 0, 2000)...)
	c := lateClient(t, s)
	line := func(id int) string {
		return fmt.Sprintf("schema=trades|stype_in=instrument_id|symbols=%d|id=%d|start=%d|end=%d\n", id, id, eventTime(1000), eventTime(1500))
	}
	c.send(line(1) + line(2))
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	h := c.hear(func(h *account) bool { return h.count("255 end|") == 2 })
	if a, b := len(h.sequences(1)), len(h.sequences(2)); a != 250 || b != 250 {
		t.Errorf("%d and %d records before the ends, want 250 of each", a, b)
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("%d bytes follow the last end", len(rest))
	}
}

// onSession runs f for the one session of the server, on its loop.
func onSession(t *testing.T, s *Server, f func(*session)) {
	t.Helper()
	n := 0
	s.eachSession(func(sess *session) { n++; f(sess) })
	if n != 1 {
		t.Fatalf("%d sessions, want one", n)
	}
}

// A session that ends while the place of a start is looked up says why once: what is
// found afterwards, or is not, changes nothing, and nothing that waited takes effect.
func TestASessionThatEndsWhileItSeeksEndsForItsOwnReason(t *testing.T) {
	start := fmt.Sprintf("schema=trades|stype_in=instrument_id|symbols=1|start=%d|id=1", eventTime(1000))
	cases := []struct {
		name string
		end  func(*session)
		want string
	}{
		{"its key is revoked", func(s *session) { s.revoke("revoked for a test") }, "error 2 revoked for a test"},
		{"the server stops", func(s *session) { s.stop("stopped for a test") }, "error 6 stopped for a test"},
		{"a line makes no sense", func(s *session) { s.line("nonsense") }, "error 5 Unknown command"},
		{"the search fails", func(s *session) { s.found(s.dataset(), nil, errors.New("failed for a test"), nil) }, "error 6 Cannot find the start of the replay: failed for a test"},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			s := serveTest(t)
			publish(t, s, "past", metadataOf(feed.SchemaTrades), trades(1, 2000)...)
			c := lateClient(t, s)
			var said string
			onSession(t, s, func(sess *session) {
				sess.line(start)
				sess.line("schema=trades|stype_in=instrument_id|symbols=2|id=2")
				x.end(sess)
				said = sess.said
			})
			h := newAccount()
			for b := []byte(c.rest()); len(b) > 0; b = b[int(b[0])*4:] {
				h.add(feed.Record(b[:int(b[0])*4]))
			}
			h.told = slices.DeleteFunc(h.told, func(text string) bool { return strings.HasPrefix(text, "255 waiting|") })
			if got := strings.Join(h.told, "; "); !strings.HasPrefix(got, x.want) || len(h.told) > 1 || len(h.data) > 0 {
				t.Errorf("told %q and %d records, want %q alone", got, len(h.data), x.want)
			}
			onSession(t, s, func(sess *session) { // it lingers until its client has closed
				sess.found(sess.dataset(), nil, errors.New("too late"), nil)
				if sess.said != said {
					t.Errorf("it ended because of %q, and then of %q", said, sess.said)
				}
			})
		})
	}
}
