package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// session is one authenticated subscriber, owned by one egress loop. It holds
// positions, not data: what is still to be sent is on the tape.
type session struct {
	loop  *loop
	group *group
	id    uint64
	fd    int
	slot  int
	token uint64
	auth  lsg.AuthRequest
	grant
	checked *Keyring // the keys that the grant was last held against
	remote  string
	local   bool // the peer is on this machine
	since   time.Time

	queued   bool // in loop.ready
	readable bool
	writable bool
	closed   bool

	halfClosed bool // the client says nothing more; what it asked for up to an end still goes out
	welcomed   bool // its authentication is answered

	scan   *scan // serves it while it is in step; nil without a plain filter
	scanAt int32 // its place there

	in        []byte    // text not yet parsed, at most lsg.MaxLine and a read
	inSince   time.Time // when the line that in begins with began; zero without one
	out       []byte    // staged bytes that the socket did not take; sent first
	lookAfter time.Time // when to look again whether the client is still there

	requests []request // not taken yet: until start_session, and while the place of an earlier one is looked up
	chunk    *request  // a subscription whose last chunk has not come
	lines    int       // so far, of any kind
	claims   claims
	asked    int // subscription lines so far
	symbols  int // symbols asked for so far
	started  bool
	arrival  arrival // over when it has started
	begun    bool    // positions are resolved, data flows
	failure  string  // a fatal error held back until start_session
	failCode feed.ErrorCode

	intros       []intro // acks, mappings and refusals still to be told
	cursors      []*cursor
	partial      *cursor // has sent part of a record, which must be completed first
	names        naming
	seeking      bool // the place of a request is being looked up
	preferReplay bool // alternates between replaying and live cursors

	farewell     string // a fatal error to tell at the next record boundary
	farewellCode feed.ErrorCode
	ending       bool      // close when everything staged is out
	shutDown     bool      // our side is, and only the client's end is awaited
	closeBy      time.Time // the session is closed then at the latest; zero while it goes on
	lastSent     time.Time
	blockedSince time.Time // when the socket became full; zero while writable
	sentBytes    uint64
	sentRecords  uint64 // of data; those that are staged count
	said         string // why the server ended it

	positionsTold time.Time
	lacksFile     bool   // what comes next lies in a file that may not be opened now
	path          string // of the last data sent: write, sendfile, splice, copy or gather
}

// readTurn bounds what one session reads per turn.
const readTurn = 1 << 20

// turn does what can be done for the session now. It reports whether more is
// left that needs no event.
func (s *session) turn() (more bool) {
	if s.readable {
		more = s.read()
	}
	if s.closed {
		return false
	}
	return s.pump(s.loop.turnBytes()) || more
}

// read takes text from the socket until there is none or its turn is over.
func (s *session) read() (more bool) {
	for budget := readTurn; budget > 0; {
		n, err := unix.Read(s.fd, s.loop.reads)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			s.readable = false
			return false
		case err != nil:
			s.lost("read", err)
			return false
		case n == 0:
			if s.halfClosed = true; s.shutDown || !s.owesMore() {
				s.close("closed by the client")
			}
			s.readable = false
			return false
		}
		budget -= n
		if s.ending || s.farewell != "" {
			continue // nothing that comes now matters
		}
		s.parse(s.loop.reads[:n])
		if !s.started {
			quickAck(s.fd)
		}
	}
	return true
}

// parse takes the next bytes of text and acts on each complete line.
func (s *session) parse(b []byte) {
	if len(s.in) > 0 {
		s.in = append(s.in, b...)
		if len(s.in) <= lsg.MaxLine && bytes.IndexByte(b, '\n') < 0 {
			return // a line that comes byte by byte is not looked through for each
		}
		b = s.in
	}
	for {
		line, n, err := lsg.CutLine(b)
		if err != nil {
			s.fail(feed.ErrorInvalidSubscription, err.Error(), true)
			return
		}
		if n == 0 {
			break
		}
		s.line(string(line))
		if s.farewell != "" || s.closed {
			return
		}
		b = b[n:]
	}
	s.in, s.inSince = append(s.in[:0], b...), s.loop.now
	if err := s.claims.lines.set(int64(len(s.in))); err != nil {
		s.fail(feed.ErrorInvalidSubscription, err.Error(), true)
	}
	if len(s.in) == 0 {
		s.in, s.inSince = nil, time.Time{}
	}
}

// line acts on one line of a client.
func (s *session) line(line string) {
	s.lines++
	switch most := 2 * s.loop.srv.limits.SubscriptionsPerSession; {
	case s.lines > most:
		s.fail(feed.ErrorInvalidSubscription, fmt.Sprintf("More than %d lines; open another session", most), true)
	case lsg.IsStartSession(line):
		s.start()
	case s.failure != "": // it is told at the start, and nothing else can follow
	case lsg.IsSubscription(line), lsg.IsUnsubscribe(line):
		s.subscribe(line)
	default:
		s.fail(feed.ErrorInvalidSubscription, "Unknown command "+clip(line)+"; this protocol knows subscriptions, unsubscribe and start_session", false)
	}
}

// clip shortens what a client sent, for an error text.
func clip(s string) string {
	const most = 40
	s = lsg.Printable(withoutSecrets(s))
	if len(s) > most {
		return `"` + strings.ToValidUTF8(s[:most], "") + `…"`
	}
	return `"` + s + `"`
}

// fail ends the session with an error record. Before start_session the error
// waits for it, since a client reads no records earlier; at once is for clients
// that will never get there.
func (s *session) fail(code feed.ErrorCode, text string, atOnce bool) {
	if s.farewell != "" || s.failure != "" && !atOnce {
		return // one reason is enough
	}
	text = withoutSecrets(text)
	s.loop.srv.metrics.rejects(code.String()).Inc()
	s.loop.srv.log.Info("subscriber refused", zap.Uint64("session", s.id), zap.String("remote", s.remote), zap.Stringer("code", code), zap.String("text", text))
	if !s.started && !atOnce {
		s.failure, s.failCode, s.said = text, code, text
		return
	}
	s.sayFarewell(code, text)
	if !s.started {
		s.started = true
		s.arrival.over()
		s.intros = append(s.intros, intro{kind: introMetadata, from: s.replayStart()})
	}
}

// becameWritable notes that the socket has room again.
func (s *session) becameWritable() {
	if s.writable {
		return
	}
	s.writable = true
	if s.group != nil {
		s.group.writable.Add(1)
	}
	if !s.blockedSince.IsZero() {
		s.judge(s.loop.now.Sub(s.blockedSince))
		s.blockedSince = time.Time{}
	}
}

// blocked notes that the socket is full.
func (s *session) blocked() {
	if s.writable {
		s.writable = false
		s.group.writable.Add(-1)
	}
	s.blockedSince = s.loop.now
}

// tick does what time asks for: heartbeats, and the end of a lingering close.
func (s *session) tick(now time.Time) (work bool) {
	work = s.shareFiles()
	if !s.closeBy.IsZero() && now.After(s.closeBy) {
		s.close("ended")
		return false
	}
	if most := s.loop.srv.limits.LineTimeout; !s.inSince.IsZero() && now.Sub(s.inSince) > most && !s.ending {
		s.inSince = time.Time{}
		s.fail(feed.ErrorInvalidSubscription, fmt.Sprintf("A line was begun and not ended within %v", most), true)
		return true
	}
	if s.vanished(now) {
		return false
	}
	if s.begun && !s.ending && s.writable && len(s.out) == 0 && now.Sub(s.lastSent) >= s.heartbeat() {
		s.intros = append(s.intros, intro{kind: introHeartbeat})
		return true
	}
	if s.begun && s.writable && s.positionsDue(now) {
		s.intros = append(s.intros, intro{kind: introPositions})
		work = true
	}
	if s.begun && !s.ending {
		work = s.closeDue(uint64(now.UnixNano())) || work
		work = s.writable && len(s.intros) == 0 && s.intervalDue(now) || work
	}
	return work
}

func (s *session) heartbeat() time.Duration {
	if s.auth.Heartbeat == 0 {
		return lsg.DefaultHeartbeat
	}
	return min(max(s.auth.Heartbeat, lsg.MinHeartbeat), lsg.MaxHeartbeat)
}

// welcome answers the authentication: the last text this client receives. What
// it pipelined behind its own line is parsed at once.
func (s *session) welcome() {
	s.welcomed = true
	s.out = lsg.AuthReply{Success: true, SessionID: s.id}.Append(nil)
	if in := s.in; len(in) > 0 {
		s.in = nil
		s.parse(in)
	}
}
