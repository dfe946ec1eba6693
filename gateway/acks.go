package gateway

import (
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// acks paces the ack lines of one producer: often enough to trim what it holds
// for a resend, seldom enough to cost nothing.
type acks struct {
	p         *producer
	sent      uint64    // the newest N that was told
	at        time.Time // when
	seen      uint64    // accepted at the last batch
	lastBatch moment    // when that was; the metrics read it too
	timer     *time.Timer
	hurried   bool // the last sync is asked for
	buf       []byte
}

const (
	ackEveryRecords = 4096
	ackEvery        = 10 * time.Millisecond
	ackSilence      = time.Millisecond // after the last batch
)

func (a *acks) init(p *producer) { a.p = p }

// start begins at what a resuming producer was told with the authentication:
// accepted records, of which nothing says yet that they are on disk.
func (a *acks) start() {
	a.seen = a.p.writer.Accepted()
	if a.p.req.Ack == lsg.AckWritten {
		a.sent = a.seen
	}
	a.timer = time.AfterFunc(time.Hour, a.p.wake)
	a.timer.Stop()
}

func (a *acks) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// due sends an ack line if it is time for one and otherwise sees to it that it
// is called again. The last ack of an ended session closes it.
func (a *acks) due(now time.Time) {
	accepted := a.p.writer.Accepted()
	if accepted != a.seen {
		a.seen = accepted
		a.lastBatch.at(now.Sub(processBegan))
	}
	n := accepted
	if a.p.req.Ack == lsg.AckSynced {
		n = a.p.writer.Synced()
	}
	switch {
	case a.p.ingest.asked.Load(): // the answer comes first, and brings us back here
	case a.p.ingest.ended.Load() && n >= accepted:
		if !a.vouched() {
			return
		}
		a.p.lastLine(lsg.Ack{N: n, Level: a.p.req.Ack}.Append(nil))
	case a.p.ingest.ended.Load() && !a.hurried:
		a.hurry()
	case n == a.sent:
	case a.p.lines().busy() || n-a.sent < ackEveryRecords && now.Sub(a.at) < ackEvery && a.lastBatch.before(now) < ackSilence:
		a.arm()
	case a.vouched():
		a.buf = lsg.Ack{N: n, Level: a.p.req.Ack}.Append(a.buf[:0])
		a.p.line(a.buf)
		a.sent, a.at = n, now
	}
}

// owing reports whether something was published of which no ack has told yet.
func (a *acks) owing() bool { return a.p.opened && a.p.writer.Accepted() != a.sent }

// vouched reports whether what is to be acknowledged is where the next start will
// look for it. If not, the producer is told that instead.
func (a *acks) vouched() bool {
	err := a.p.feed.dataset.Present()
	if err != nil {
		a.p.dismiss(a.p.explain(err))
	}
	return err == nil
}

// hurry has what an ended session sent synced now: under a policy of bytes its
// last ack could otherwise be a minute away.
func (a *acks) hurry() {
	a.hurried = true
	p := a.p
	p.srv.wg.Go(func() {
		if err := p.feed.dataset.Sync(); err != nil {
			p.dismiss(p.explain(err))
		}
	})
}

// arm has the producer woken after a silence.
func (a *acks) arm() { a.timer.Reset(ackSilence) }
