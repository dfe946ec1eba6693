package feed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Producer publishes records over one connection. When the connection ends it is finished: dial again with the same Name and Stream and go on
// from Accepted, or let a ResumingProducer do so.
//
// Records are numbered from 0 within the stream, in the order in which they are published, over all schemas; control records are not counted.
// All methods may be called from several goroutines, but then only the caller can know which record got which number.
type Producer struct {
	conn     net.Conn
	cfg      ProducerConfig
	accepted uint64
	missing  uint64
	retain   time.Duration
	session  uint64
	head     Head
	over     atomic.Bool   // err is set
	done     chan struct{} // closed when nothing more will be heard
	ended    chan struct{} // closed when the goroutine that flushes has ended
	kick     chan struct{} // holds a token when the buffer began to fill
	sent     atomic.Uint64 // records published, in the stream's numbering

	// The sending side. Holding out, a goroutine may block in a write; nothing that listens takes it.
	out     sync.Mutex
	buf     []byte
	started bool
	wrote   bool // since the last heartbeat tick

	// What is known from listening.
	mu          sync.Mutex
	changed     sync.Cond // of mu: any of the fields below
	acked       uint64
	paused      string // the gateway's reason, "" when it takes records
	instruments map[string]declared
	writeErr    error // the first failed write
	err         error // why the session is over; set once

	close    sync.Once
	closeErr error
}

// DialProducer connects and authenticates. The context bounds only that. It fails with ErrConnect when no session came about, with a RefusedError
// when the gateway says no, and with ErrConfig.
func DialProducer(ctx context.Context, cfg ProducerConfig) (*Producer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	in, reply, err := cfg.login().open(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Resume != nil {
		reply.Accepted = max(reply.Accepted, *cfg.Resume) // the gateway has made a gap of what it lacks before Resume
	}
	p := &Producer{
		conn: in.conn, cfg: cfg, missing: reply.Missing, accepted: reply.Accepted, retain: reply.Retain, session: reply.SessionID, head: reply.Head, instruments: map[string]declared{},
		buf: make([]byte, 0, PublishBuffer), done: make(chan struct{}), ended: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	p.changed.L = &p.mu
	p.sent.Store(p.accepted)
	if cfg.Ack == AckWritten {
		p.acked = p.accepted // what a reply accepts is written, but it need not be synced
	}
	go p.listen(in)
	go p.tend()
	return p, nil
}

// Accepted is the number of the first record to publish: how many records of the stream the gateway had when this session began, or Resume when
// that is more.
func (p *Producer) Accepted() uint64 { return p.accepted }

// Missing is how many records directly before Resume the gateway lacked: they are a gap in its ledger, since this session or since one before it that began
// with a Resume and in which no record was published, so that a reply that was lost on its way takes nothing with it.
func (p *Producer) Missing() uint64 { return p.missing }

// Retain is how long the gateway keeps records after they were written; 0: for ever, or it does not say.
func (p *Producer) Retain() time.Duration { return p.retain }

// Head is how the stream begins, as the gateway knew it before this session; the zero value: it did not.
func (p *Producer) Head() Head { return p.head }

// SessionID is the gateway's number for this session.
func (p *Producer) SessionID() uint64 { return p.session }

// Stream is the stream's ID, which the configuration may have left open.
func (p *Producer) Stream() string { return p.cfg.Stream }

// Sent is the number that the next published record will have. What was published may still lie in a buffer.
func (p *Producer) Sent() uint64 { return p.sent.Load() }

// Acked is how many records of the stream the gateway keeps, at the level that was asked for.
func (p *Producer) Acked() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// Paused is why the gateway asked to wait, such as disk_full, or "" when it takes records. While it lasts, full buffers make Publish block.
func (p *Producer) Paused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// Done is closed when the session is over, for whatever reason.
func (p *Producer) Done() <-chan struct{} { return p.done }

// Err is why the session is over, nil before that: a ProducerError in the gateway's words, ErrLost, or ErrClosed.
func (p *Producer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// declared is the gateway's answer to an instrument line.
type declared struct {
	id  uint32
	err error
}

// Instrument declares an instrument and returns the ID that its records must carry: the same one for the same symbol, tick and lot for ever. It may be
// called before Start and after it. An InstrumentError says that the gateway refused this instrument; the session goes on.
func (p *Producer) Instrument(ctx context.Context, in Instrument) (id uint32, err error) {
	p.mu.Lock()
	delete(p.instruments, in.Symbol)
	p.mu.Unlock()
	if err := p.sendInstrument(in); err != nil {
		return 0, err
	}
	var answer declared
	err = p.await(ctx, func() bool {
		var ok bool
		answer, ok = p.instruments[in.Symbol]
		return ok
	})
	if err != nil {
		return 0, err
	}
	return answer.id, answer.err
}

// Start ends the text phase: records can be published after it. The metadata says what they are; its Dataset and Version may be left empty. Set
// Schema to SchemaNone when records of several schemas will come.
func (p *Producer) Start(meta Metadata) error {
	p.out.Lock()
	defer p.out.Unlock()
	if p.started {
		return fmt.Errorf("%w: the session has started already", ErrState)
	}
	if meta.Dataset == "" {
		meta.Dataset = p.cfg.Dataset
	}
	if meta.Version == 0 {
		meta.Version = Version
	}
	buf, err := meta.Append(append(p.buf, lsg.StartSession+"\n"...))
	if err != nil {
		return err
	}
	p.buf, p.started = buf, true
	return p.flush()
}

// Publish sends whole records, copying them into a buffer. It sends when the buffer is full, when Flush is called, or after PublishDelay; it
// blocks while the gateway cannot take more. Nothing is published when one of the records is not whole (ErrLength). Any other error means that the
// session is over.
func (p *Producer) Publish(recs ...Record) error {
	p.out.Lock()
	defer p.out.Unlock()
	for _, r := range recs {
		if _, err := countRecords(r); err != nil {
			return err
		}
	}
	for _, r := range recs {
		if err := p.put(r); err != nil {
			return err
		}
	}
	return nil
}

// Write is Publish for records that lie one behind the other, as in a file. It takes all of b or nothing; b must end where a record ends.
func (p *Producer) Write(b []byte) (int, error) {
	p.out.Lock()
	defer p.out.Unlock()
	if err := p.put(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// put buffers whole records. What is as large as the buffer goes out without being copied. The caller holds out.
func (p *Producer) put(b []byte) error {
	n, err := countRecords(b)
	if err != nil {
		return err
	}
	if !p.started {
		return fmt.Errorf("%w: call Start before publishing", ErrState)
	}
	if p.over.Load() {
		return p.Err() // and not only once the buffer is full
	}
	if len(p.buf)+len(b) > PublishBuffer {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if len(b) >= PublishBuffer {
		if err := p.send(b); err != nil {
			return err
		}
		p.sent.Add(n)
		return nil
	}
	p.append(b)
	p.sent.Add(n)
	return nil
}

// append adds to the buffer and lets the delay begin when it was empty. The caller holds out.
func (p *Producer) append(b []byte) {
	if len(p.buf) == 0 {
		p.wake()
	}
	p.buf = append(p.buf, b...)
}

// Gap says that records are missing here because they were lost upstream; it goes into the ledger at this place of the stream. ErrConfig says that this
// one makes no sense, and nothing of it was sent. Should the gateway refuse it all the same, ProducerConfig.LineRefused is told.
func (p *Producer) Gap(g Gap) error {
	text, err := gapText(g)
	if err != nil {
		return err
	}
	p.out.Lock()
	defer p.out.Unlock()
	if !p.started {
		return fmt.Errorf("%w: call Start before reporting gaps", ErrState)
	}
	p.putText(text)
	return p.flush()
}

// gapText is the in-band form of a gap that a gateway takes.
func gapText(g Gap) (string, error) {
	text, err := g.Text()
	if err == nil {
		_, err = lsg.ParseGap(text)
	}
	if err == nil && g.Schema != "" {
		_, err = ParseSchema(g.Schema)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return text, nil
}

// Flush sends what is buffered. It blocks while the gateway cannot take more.
func (p *Producer) Flush() error {
	p.out.Lock()
	defer p.out.Unlock()
	return p.flush()
}

// WaitAcked flushes and waits until the first n records of the stream are acked.
func (p *Producer) WaitAcked(ctx context.Context, n uint64) error {
	if err := p.Flush(); err != nil && p.Acked() < n { // the ack may have been the last that came before the end
		return err
	}
	return p.await(ctx, func() bool { return p.acked >= n })
}

// Close sends what is buffered, says that no more will come, waits for the last ack and closes the connection. When ctx ends before that, the
// connection is cut and the error says how much was acked. A session that was over already is only cleaned up, and Close returns its error; a
// connection that was lost after everything was acked is none.
func (p *Producer) Close(ctx context.Context) error {
	p.close.Do(func() {
		stop := context.AfterFunc(ctx, func() { p.abort(context.Cause(ctx)) })
		p.closeErr = p.finish(ctx)
		stop()
		p.abort(ErrClosed)
		<-p.done
		<-p.ended
	})
	return p.closeErr
}

// finish ends a session in good order.
func (p *Producer) finish(ctx context.Context) error {
	p.out.Lock()
	started := p.started
	if started {
		p.putText(lsg.EndSession)
	}
	err := p.flush()
	p.out.Unlock()
	sent := p.Sent()
	if err == nil && started {
		err = p.await(ctx, func() bool { return p.acked >= sent })
	}
	if errors.Is(err, ErrLost) && p.Acked() >= sent {
		return nil
	}
	if err != nil {
		return fmt.Errorf("feed: closed with %d of %d records acked: %w", p.Acked(), sent, err)
	}
	return nil
}
