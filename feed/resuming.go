package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Limits and times of a ResumingProducer.
const (
	DefaultMaxHeld = 64 << 20              // bytes of records that are published and not acked
	RedialFirst    = 50 * time.Millisecond // the first pause before dialling again; it doubles
	RedialLongest  = 5 * time.Second       // the longest pause
)

// ResumingConfig says what a ResumingProducer publishes. Resume must be nil: it is computed.
type ResumingConfig struct {
	ProducerConfig
	Metadata    Metadata     // as for Producer.Start
	Instruments []Instrument // declared in every session before Start
	MaxHeld     int          // bytes; DefaultMaxHeld when 0
	Wait        bool         // what cannot be held waits for the gateway, which suits a file or a pipe; a live adapter lets go of the oldest instead

	// Refused is told of each of Instruments that was refused; the session goes on without it, and InstrumentID does not know it.
	Refused func(*InstrumentError)
	// Lost is told why a session ended, or could not be had, and how long it will be until the next one is dialled. It must not call the producer.
	Lost func(err error, pause time.Duration)

	pause time.Duration // RedialFirst, but for tests
}

// ResumingProducer is a Producer that outlives its connection: it keeps what is not acked, dials again when the connection is lost, and sends from
// the record on that the gateway lacks. The tapes get every record once.
//
// What it holds is bounded by MaxHeld. While it is connected, Publish waits for acks when that is full. While it is not, the oldest quarter of the
// records is let go, so that a live adapter never stalls for a gateway that is down; the gateway learns of it and writes a gap into its ledger,
// and Dropped counts them. With Wait nothing is let go.
//
// All methods may be called from several goroutines. They wait for one another: while Publish waits for the gateway, so does Acked.
type ResumingProducer struct {
	ctx    context.Context // ends when the producer is closed or aborted
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the goroutine that dials has ended

	mu      sync.Mutex // held while sending, so that records leave in the order of their numbers
	cfg     ResumingConfig
	changed chan struct{} // closed and replaced when there is a new connection, or err
	p       *Producer     // nil while there is no connection
	held    heldRecords
	ids     map[string]learned
	acked   uint64 // over the sessions before p
	dropped uint64
	missing uint64
	counted [2]uint64 // the stretch of the stream that was taken into missing last, exclusive
	closing bool
	err     error // why it gave up

	close    sync.Once
	closeErr error
}

// DialResumingProducer connects, authenticates, declares the instruments and starts the session. The context bounds only that. A failure of this
// first session is returned, since it is most often a wrong setting; later ones are tried again unless the gateway says that this is of no use.
func DialResumingProducer(ctx context.Context, cfg ResumingConfig) (*ResumingProducer, error) {
	if cfg.Resume != nil {
		return nil, fmt.Errorf("%w: Resume is set; a ResumingProducer computes it", ErrConfig)
	}
	var err error
	if cfg.ProducerConfig, err = cfg.ProducerConfig.withDefaults(); err != nil {
		return nil, err
	}
	cfg.MaxHeld, cfg.pause = cmp.Or(cfg.MaxHeld, DefaultMaxHeld), cmp.Or(cfg.pause, RedialFirst)
	r := &ResumingProducer{cfg: cfg, ids: map[string]learned{}, done: make(chan struct{}), changed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	p, err := r.dial(ctx, cfg.ProducerConfig)
	if err != nil {
		r.cancel(err)
		return nil, err
	}
	r.held.first, r.held.next, r.acked = p.Accepted(), p.Accepted(), p.Acked()
	r.p = p
	go r.keep(p)
	return r, nil
}

// Stream is the stream's ID, which the configuration may have left open.
func (r *ResumingProducer) Stream() string { return r.cfg.Stream }

// Sent is the number that the next published record will have; right after dialling it is what the gateway had of the stream before.
func (r *ResumingProducer) Sent() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held.next
}

// Acked is how many records of the stream the gateway keeps, at the level that was asked for.
func (r *ResumingProducer) Acked() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteAcked()
	return r.acked
}

// Dropped is how many records were let go while there was no connection. Those of them that the gateway lacks are Missing once there is one again.
func (r *ResumingProducer) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Missing is how many records of the stream are not on the tapes, and a gap in the ledger: the gateway lacked them, and they were held no more. They were let
// go while there was no connection, or the gateway lost what it had acknowledged: a power cut takes what is written and not synced, and an older copy of
// its data directory what came after that. It is exact also where connections broke, but for one thing: a gap that the ledger had no room for is not told again
// when the reply that told of it was lost.
func (r *ResumingProducer) Missing() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missing
}

// Paused is why the gateway asked to wait, or "" when it takes records or there is no connection.
func (r *ResumingProducer) Paused() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p == nil {
		return ""
	}
	return r.p.Paused()
}

// Err is why the producer gave up, nil while it goes on.
func (r *ResumingProducer) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// InstrumentID is the ID of a declared instrument.
func (r *ResumingProducer) InstrumentID(symbol string) (uint32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.ids[symbol]
	return known.id, ok
}

// Instrument declares one more instrument, in this session and all later ones. It waits for a connection. Declared again with another tick or lot, the
// instrument has a new ID from then on; records that were published before keep the old one. An InstrumentError says that the gateway refused it.
func (r *ResumingProducer) Instrument(ctx context.Context, in Instrument) (id uint32, err error) {
	if _, err := in.Text(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	r.declareLater(in) // first, so that a session that begins meanwhile declares it too
	var refused *InstrumentError
	err = r.withConnection(ctx, func(p *Producer) error {
		if id, err = p.Instrument(ctx, in); errors.As(err, &refused) {
			return nil // not the connection's fault
		}
		return err
	})
	if refused != nil {
		r.forget(in)
		return 0, refused
	}
	if err != nil {
		return 0, err
	}
	return id, r.learn(in, id)
}

// learned is the ID that a declaration got.
type learned struct {
	id uint32
	in Instrument
}

// declareLater has later sessions declare the instrument, in place of what was declared of its symbol before.
func (r *ResumingProducer) declareLater(in Instrument) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Instruments = slices.DeleteFunc(slices.Clone(r.cfg.Instruments), func(old Instrument) bool { return old.Symbol == in.Symbol })
	r.cfg.Instruments = append(r.cfg.Instruments, in)
}

// forget leaves an instrument out that the gateway refused.
func (r *ResumingProducer) forget(in Instrument) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Instruments = slices.DeleteFunc(slices.Clone(r.cfg.Instruments), func(old Instrument) bool { return old == in })
	if known, ok := r.ids[in.Symbol]; ok && known.in == in { // an earlier session had it
		delete(r.ids, in.Symbol)
	}
}

// Publish sends whole records, and keeps them until they are acked. It fails with ErrLength, publishing nothing, when one of them is not whole;
// with ErrTooLarge when they exceed MaxHeld; and with Err when the producer gave up. A lost connection is no error.
func (r *ResumingProducer) Publish(recs ...Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range recs {
		if _, err := countRecords(rec); err != nil {
			return err
		}
	}
	for _, rec := range recs {
		if err := r.publish(rec); err != nil {
			return err
		}
	}
	return nil
}

// Write is Publish for records that lie one behind the other. It takes all of b or nothing.
func (r *ResumingProducer) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.publish(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Gap says that records are missing here because they were lost upstream. ErrConfig says that this one makes no sense.
func (r *ResumingProducer) Gap(g Gap) error {
	text, err := gapText(g)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publish(AppendSystem(nil, now(), SystemUnset, text))
}

// Flush sends what is buffered, when there is a connection.
func (r *ResumingProducer) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if r.p != nil && r.p.Flush() != nil {
		r.lost(r.p)
	}
	return nil
}

// WaitAcked waits until the first n records of the stream are acked, over as many connections as that takes.
func (r *ResumingProducer) WaitAcked(ctx context.Context, n uint64) error {
	if r.Acked() >= n {
		return nil
	}
	return r.withConnection(ctx, func(p *Producer) error { return p.WaitAcked(ctx, n) })
}

// Close waits until everything is acked, over as many connections as that takes, and ends the session. When ctx ends before that, everything is
// cut and the error says how much was acked.
func (r *ResumingProducer) Close(ctx context.Context) error {
	r.close.Do(func() {
		stop := context.AfterFunc(ctx, func() { r.cancel(context.Cause(ctx)) })
		defer stop()
		r.mu.Lock()
		r.closing = true
		r.mu.Unlock()
		err := r.withConnection(ctx, func(p *Producer) error { return p.Close(ctx) })
		r.cancel(ErrClosed)
		<-r.done
		if err != nil {
			r.closeErr = fmt.Errorf("feed: closed with %d of %d records acked: %w", r.Acked(), r.Sent(), err)
		}
	})
	return r.closeErr
}
