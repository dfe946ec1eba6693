package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// producer is one publishing session. It lives on the event loop; only when the
// journal keeps it waiting and it sends on, it moves to a goroutine of its own,
// where TCP holds it back and nobody else notices.
type producer struct {
	srv    *Server
	client *client
	claims producerClaims
	req    lsg.AuthRequest
	grant
	session uint64

	feed   *datasetFeed
	writer *journal.Writer
	ingest ingest
	acks   acks

	parked       *parking // set while it waits and its input is collected in backlog
	backlog      []byte
	refusedLines int  // that were answered by an error and are no instrument's
	opened       bool // the authentication is answered

	onLoop *loopLines // until it is moved to a goroutine
	mu     sync.Mutex // guards out, which the move replaces
	out    lineWriter
	heard  moment      // the last input
	paused atomic.Bool // it was told to wait, so its silence is what we asked for
	idle   *time.Timer // set when the producer promised heartbeats
	text   *time.Timer // set once a line or the metadata came in pieces
	look   atomic.Bool // it is to be looked whether the producer is still there
	said   string      // under mu: why the server ended it

	acceptedBefore uint64      // records of the stream when this session began
	metered        uint64      // records accepted when its rate was last looked at
	pacedBefore    atomic.Bool // it was held to its rate, and the log says so

	dismissed atomic.Bool   // its last line is on the way
	told      chan struct{} // closed when that line is with who writes it
	finished  atomic.Bool   // the connection is gone
	left      sync.Once
}

// parking is a wait that goes on off the loop.
type parking struct {
	over chan struct{} // closed when err is set
	err  error
}

func (pk *parking) done() bool {
	select {
	case <-pk.over:
		return true
	default:
		return false
	}
}

// openProducer begins a session. Opening a dataset and its writer touches the
// disk, so it happens off the loop.
func (f *front) openProducer(c *client, req lsg.AuthRequest, rest []byte) gnet.Action {
	p := &producer{srv: f.srv, client: c, req: req, grant: c.grant, session: f.srv.nextSession.Add(1), backlog: bytes.Clone(rest), told: make(chan struct{})}
	if p.req.Ack == "" {
		p.req.Ack = lsg.AckWritten
	}
	p.claims = f.srv.budgets.producerClaims(p.use)
	p.onLoop = &loopLines{p: p, conn: c.conn, held: claim{budget: &f.srv.budgets.replies, of: p.use}}
	p.out = p.onLoop
	p.acks.init(p)
	c.producer = p
	f.srv.audit.add(p.entry(auditAccepted))
	p.park(p.open)
	return gnet.None
}

// open takes the producer's place in the dataset, which it may be the first to
// publish to.
func (p *producer) open(context.Context) error {
	d, err := p.srv.producers.dataset(p.srv.journal, p.req.Dataset, p.srv.limits.Datasets, p.req.Existing)
	if err != nil {
		return err
	}
	if err := d.Present(); err != nil { // the reply acknowledges what was accepted before
		return err
	}
	if err := p.srv.producers.open(p, d); err != nil {
		return err
	}
	return p.srv.keys.Load().entitled(p.key, RightPublish, p.req.Dataset) // the keys may have changed before it was to be seen
}

// park has wait run off the loop and collects input until it is over.
func (p *producer) park(wait func(context.Context) error) {
	pk := &parking{over: make(chan struct{})}
	p.parked = pk
	p.srv.wg.Go(func() {
		pk.err = wait(p.srv.ctx)
		close(pk.over)
		if p.finished.Load() {
			p.leave() // nobody waits for it any more
			return
		}
		p.wake()
	})
}

// traffic takes input on the event loop, or a wake-up when b is empty, and writes
// what there is to tell.
func (p *producer) traffic(b []byte) gnet.Action {
	p.onLoop.begin()
	action := p.take(b)
	if p.client.detached || action == gnet.Close {
		return action
	}
	if p.claims.parked.set(int64(len(p.backlog))) != nil && p.opened && !p.dismissed.Load() {
		return p.detach() // what it sends next TCP holds back
	}
	switch all, err := p.onLoop.flush(); {
	case err != nil:
		return gnet.Close
	case !all && p.opened:
		return p.detach()
	case !all:
		return gnet.Close // it has read nothing since it connected
	}
	return action
}

func (p *producer) take(b []byte) gnet.Action {
	if p.dismissed.Load() {
		return gnet.None // what it still sends does not count
	}
	if len(b) > 0 {
		p.heard.now()
	}
	if p.look.Swap(false) && p.vanished() {
		return gnet.Close
	}
	if p.parked != nil {
		p.backlog = append(p.backlog, b...)
		if !p.parked.done() {
			return p.holdBack()
		}
		err := p.parked.err
		p.parked = nil
		if err == nil && !p.opened {
			err = p.welcome()
		}
		if err != nil {
			return p.end(err)
		}
		b, p.backlog = p.backlog, nil
	}
	n, err := p.ingest.consume(b[:p.portion(len(b))])
	if waits(err) {
		p.backlog = bytes.Clone(b[n:])
		p.park(p.await)
		err = nil
	}
	var slow *offLoop
	if errors.As(err, &slow) {
		p.backlog = bytes.Clone(b[n:])
		p.park(slow.do)
		err = nil
	}
	if err != nil {
		return p.end(err)
	}
	if p.parked == nil {
		p.pace(b[n:])
	}
	p.acks.due(time.Now())
	return gnet.None
}

// holdBack bounds what is collected for a parked producer. What is committed is
// still acknowledged: that is how a producer knows what it need not hold.
func (p *producer) holdBack() gnet.Action {
	if p.opened {
		p.acks.due(time.Now())
	}
	limits := &p.srv.limits
	switch {
	case !p.opened && len(p.backlog) > limits.Pipelined:
		return p.end(&refusal{code: lsg.CodeLimit, text: fmt.Sprintf("more than %d bytes were sent ahead of the reply to the authentication", limits.Pipelined)})
	case p.opened && len(p.backlog) > limits.Parked:
		return p.detach()
	}
	return gnet.None
}

// pauseCheck is how long a producer waits before it is looked whether a full
// disk is why: to prepare a segment takes less.
const pauseCheck = 20 * time.Millisecond

// await waits until the journal takes records again. A producer that waits for
// a full disk is told so, and told when it is over.
func (p *producer) await(ctx context.Context) error {
	p.paused.Store(true)
	defer func() {
		p.heard.now()
		p.paused.Store(false)
	}()
	for told := false; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !told && errors.Is(p.feed.dataset.Err(), journal.ErrDiskFull) {
			told = true
			p.line(lsg.Pause{Reason: "disk_full"}.Append(nil))
			p.srv.log.Warn("producer waits: disk full", zap.String("dataset", p.req.Dataset), zap.String("producer", p.req.Producer))
		}
		short, cancel := context.WithTimeout(ctx, pauseCheck)
		err := p.writer.Wait(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		if told && err == nil {
			p.line(lsg.AppendResume(nil))
		}
		return err
	}
}

// welcome answers the authentication, once the stream's count is known.
func (p *producer) welcome() error {
	p.opened = true
	p.ingest.init(p)
	p.acks.start()
	accepted := p.writer.Accepted()
	p.metered = accepted
	begin := p.entry(auditPublishBegin)
	begin.Accepted = new(accepted)
	p.srv.audit.add(begin)
	p.srv.log.Info("producer connected", zap.Uint64("session", p.session), zap.String("remote", p.client.remote),
		zap.String("dataset", p.req.Dataset), zap.String("producer", p.req.Producer), zap.String("stream", p.req.Stream),
		zap.Uint64("accepted", accepted), zap.String("key", keyName(p.key)))
	reply := lsg.AuthReply{
		Success: true, SessionID: p.session, Accepted: accepted, HasAccepted: true, Missing: p.writer.Skipped(), Head: p.writer.Head(), Retain: p.srv.journal.Retention().Age,
	}
	p.line(reply.Append(nil))
	if p.req.Heartbeat > 0 {
		p.watchIdle(min(p.req.Heartbeat, lsg.MaxHeartbeat) + producerGrace)
	}
	return nil
}

// hungUp runs when the connection is gone, whatever the reason.
func (p *producer) hungUp(err error) {
	if p.finished.Swap(true) {
		return
	}
	p.mu.Lock()
	if p.idle != nil {
		p.idle.Stop()
	}
	if p.text != nil {
		p.text.Stop()
	}
	p.mu.Unlock()
	p.acks.stop()
	p.onLoop.close()
	p.srv.countVanished(err)
	fields := []zap.Field{zap.Uint64("session", p.session), zap.String("producer", p.req.Producer), zap.Bool("waiting", p.parked != nil && !p.parked.done())}
	if n := p.ingest.unfinished(); n > 0 {
		p.srv.metrics.rejects("truncated").Inc()
		fields = append(fields, zap.Int("unfinished_record_bytes", n))
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		fields = append(fields, zap.Error(err))
	}
	p.srv.log.Info("producer left", fields...)
	p.auditEnd(err)
	if p.parked == nil || p.parked.done() {
		p.leave()
	}
}

// leave gives up the producer's place. It must not run while a wait of the
// producer still does, and may run twice.
func (p *producer) leave() {
	p.left.Do(func() {
		p.srv.producers.drop(p)
		p.claims.drop()
		if p.writer != nil {
			p.writer.Close()
		}
	})
}

func (p *producer) lines() lineWriter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

func (p *producer) line(b []byte) { p.lines().line(b) }

func (p *producer) wake() { p.lines().wake() }
