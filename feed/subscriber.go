package feed

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Limits and times of a Subscriber.
const (
	HeartbeatGrace  = 10 * time.Second // silence beyond the heartbeat interval after which a session counts as dead
	MaxLiveMetadata = 1 << 20          // bytes of the metadata at the start of a session
)

// SubscriberConfig says where to subscribe and how.
type SubscriberConfig struct {
	Addr        string // HOST:PORT; DefaultAddr when empty
	Key         string // 32 characters; OpenModeKey when empty
	Dataset     string
	TsOut       bool          // every record ends with the gateway's send time; see TsOut
	Heartbeat   time.Duration // whole seconds, 30 s when 0: the longest silence of the gateway
	SlowReader  string        // lsg.SlowWarn or lsg.SlowSkip; "" is each schema's own default
	Position    bool          // SystemMsg records with position texts tell where to resume; see ParsePosition of package lsg
	Client      string        // what the gateway's log calls this program
	DialTimeout time.Duration // connecting and authenticating together, and again for Start; DefaultDialTimeout when 0
	TLS         *tls.Config   // for a gateway's TLS listener; nil is plain TCP. Addr's host is the ServerName unless that is set
}

// Subscription asks for one schema of some instruments. At most one of Start, Snapshot and Resume may be set.
type Subscription struct {
	Schema   Schema
	SType    SType     // how Symbols are written; the zero value means instrument IDs
	Symbols  []string  // none means all of the dataset, and SType does not count then
	Start    *uint64   // replay from this time on, ns; 0 is everything that is kept; nil is live only. StartAt makes one
	End      *uint64   // the first time that is not wanted any more, ns; nil is no end. That all has come is told by a SystemMsg; see ParseEnd of package lsg
	Snapshot bool      // mbo only: begin with the state of the book
	Resume   *Position // go on exactly there, as a position text said
}

// StartAt is t as the Start or the End of a subscription.
func StartAt(t time.Time) *uint64 { return new(uint64(t.UnixNano())) }

// Subscriber receives records over one connection. Its methods are for one goroutine, but for Subscribe and Close.
type Subscriber struct {
	in      *inbox
	reply   lsg.AuthReply
	timeout time.Duration
	silence time.Duration // the longest time without a byte
	meta    Metadata
	started bool
	fatal   *SessionError // the last error record after which a gateway closes

	closed atomic.Bool

	mu     sync.Mutex // of lastID and of writing
	lastID uint64     // of a subscription
}

// DialSubscriber connects and authenticates. The context bounds only that. It fails with ErrConnect when no session came about, with a
// RefusedError when the gateway says no, and with ErrConfig.
func DialSubscriber(ctx context.Context, cfg SubscriberConfig) (*Subscriber, error) {
	in, reply, err := login{addr: cfg.Addr, key: cfg.Key, timeout: cfg.DialTimeout, tls: cfg.TLS, request: lsg.AuthRequest{
		Dataset: cfg.Dataset, Client: cmp.Or(cfg.Client, clientName), TsOut: cfg.TsOut, Heartbeat: cfg.Heartbeat,
		SlowReader: cfg.SlowReader, Position: cfg.Position,
	}}.open(ctx)
	if err != nil {
		return nil, err
	}
	return &Subscriber{
		in: in, reply: reply, timeout: cmp.Or(cfg.DialTimeout, DefaultDialTimeout),
		silence: cmp.Or(cfg.Heartbeat, lsg.DefaultHeartbeat) + HeartbeatGrace,
	}, nil
}

// SessionID is the gateway's number for this session.
func (s *Subscriber) SessionID() uint64 { return s.reply.SessionID }

// Subscribe sends a subscription, before Start or after it; after it, a Start time has no effect. Whether the gateway takes it comes as a record:
// a SystemMsg when it does, an ErrorMsg when it does not. Subscribe fails with ErrConfig when the subscription has no meaning.
func (s *Subscriber) Subscribe(sub Subscription) error {
	line := lsg.Subscription{Schema: sub.Schema.String(), StypeIn: sub.SType.String(), Snapshot: sub.Snapshot}
	if err := sub.check(); err != nil {
		return err
	}
	if len(sub.Symbols) == 0 {
		line.StypeIn = STypeRawSymbol.String()
	}
	if sub.Start != nil {
		line.Start, line.HasStart = *sub.Start, true
	}
	if sub.End != nil {
		line.End, line.HasEnd = *sub.End, true
	}
	if sub.Resume != nil {
		line.Resume, line.HasResume = *sub.Resume, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	line.ID = s.lastID + 1
	text, err := appendChunks(nil, line, sub.Symbols)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.lastID++
	return s.write(text)
}

func (sub Subscription) check() error {
	if !sub.Schema.Valid() || !sub.SType.Valid() {
		return fmt.Errorf("%w: schema %v by %v; subscribe to one schema and one symbology at a time", ErrConfig, sub.Schema, sub.SType)
	}
	if sub.SType != STypeInstrumentID {
		return nil
	}
	for _, symbol := range sub.Symbols {
		if _, err := strconv.ParseUint(symbol, 10, 32); err != nil {
			return fmt.Errorf("%w: symbol %q is no instrument ID; set SType to STypeRawSymbol or what it is", ErrConfig, symbol)
		}
	}
	return nil
}

// appendChunks writes one line for each lsg.ChunkSymbols symbols, all with the ID of sub, the last one marked.
func appendChunks(dst []byte, sub lsg.Subscription, symbols []string) ([]byte, error) {
	if len(symbols) == 0 {
		sub.IsLast = true
		return sub.Append(dst)
	}
	var err error
	for chunk := range slices.Chunk(symbols, lsg.ChunkSymbols) {
		symbols = symbols[len(chunk):]
		sub.Symbols, sub.IsLast = chunk, len(symbols) == 0
		if dst, err = sub.Append(dst); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// write sends text. The caller holds mu.
func (s *Subscriber) write(text []byte) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if _, err := s.in.conn.Write(text); err != nil {
		return &SessionError{Code: ErrorUnset, Err: err}
	}
	return nil
}

// Start ends the text phase and returns the metadata that every record of the session belongs to. It may take as long as DialTimeout. It fails with
// ErrVersion when the gateway does not send DBN version 3.
func (s *Subscriber) Start() (Metadata, error) {
	if s.started {
		return Metadata{}, fmt.Errorf("%w: the session has started already", ErrState)
	}
	s.mu.Lock()
	err := s.write([]byte(lsg.StartSession + "\n"))
	s.mu.Unlock()
	if err != nil {
		return Metadata{}, err
	}
	s.in.conn.SetReadDeadline(time.Now().Add(s.timeout))
	meta, err := s.readMetadata()
	if err != nil {
		return Metadata{}, s.end(fmt.Errorf("metadata: %w", err))
	}
	s.in.conn.SetReadDeadline(time.Time{})
	s.in.resize(recordBuffer)
	s.meta, s.started = meta, true
	return meta, nil
}

func (s *Subscriber) readMetadata() (Metadata, error) {
	b, err := s.in.take(PreludeSize)
	if err != nil {
		return Metadata{}, err
	}
	size, err := MetadataSize(b)
	if err != nil {
		return Metadata{}, err
	}
	if size > MaxLiveMetadata {
		return Metadata{}, fmt.Errorf("%w: %d bytes, the limit of a live session is %d", ErrTooLarge, size, MaxLiveMetadata)
	}
	s.in.from -= PreludeSize
	if b, err = s.in.take(size); err != nil {
		return Metadata{}, err
	}
	meta, err := ParseMetadata(b)
	if err == nil && meta.Version != Version {
		err = fmt.Errorf("%w: the gateway sends version %d, this client reads version %d", ErrVersion, meta.Version, Version)
	}
	return meta, err
}

// Records iterates over all records, those about the session (SystemMsg, ErrorMsg, SymbolMappingMsg) included, in the order of the stream.
// A record is valid until the next iteration: copy what shall stay. Nothing is allocated for a record.
//
// The iteration ends after one error: that of ctx, after which a new call goes on where this one ended; a SessionError when the gateway ended the
// session, the network failed or the heartbeat stayed out; or ErrClosed. When the loop is left with break, a new call goes on with the next record.
func (s *Subscriber) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if !s.started {
			yield(nil, fmt.Errorf("%w: call Start before Records", ErrState))
			return
		}
		stop := interrupt(ctx, s.in.conn.SetReadDeadline)
		defer stop()
		for {
			rec, err := s.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if rec.RType() == RTypeError {
				s.note(rec)
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// next returns the next record and reads when none is there.
func (s *Subscriber) next(ctx context.Context) (Record, error) {
	for {
		rec, err := s.in.record()
		if err != nil {
			return nil, s.end(err)
		}
		if rec != nil {
			return rec, nil
		}
		s.in.conn.SetReadDeadline(time.Now().Add(s.silence))
		if ctx.Err() != nil { // asked after the deadline was set: interrupt either comes later and wins, or is seen here
			return nil, context.Cause(ctx)
		}
		if err := s.in.fill(); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, s.end(err)
		}
	}
}

// note remembers an error record after which gateways close, for the SessionError that the end will bring.
func (s *Subscriber) note(rec Record) {
	msg, ok := View[ErrorMsg](rec)
	if !ok || !msg.Code.Fatal() {
		return
	}
	s.fatal = &SessionError{Code: msg.Code, Text: msg.Text()}
}

// end makes the error of a session that is over.
func (s *Subscriber) end(err error) error {
	switch {
	case s.closed.Load() && errors.Is(err, net.ErrClosed):
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w within %v; the gateway or the network between is dead", ErrSilent, s.silence)
	case errors.Is(err, io.EOF) && s.in.to > s.in.from:
		err = io.ErrUnexpectedEOF
	}
	ended := SessionError{Code: ErrorUnset, Err: err}
	if s.fatal != nil {
		ended.Code, ended.Text = s.fatal.Code, s.fatal.Text
	}
	return &ended
}

// TsOut returns the time at which the gateway sent rec, in ns, or UndefTimestamp in a session without ts_out. The last eight bytes of rec hold it;
// the record's fields are where they always are.
func (s *Subscriber) TsOut(rec Record) uint64 {
	if !s.meta.TsOut || len(rec) < HeaderSize+TsOutSize {
		return UndefTimestamp
	}
	return binary.LittleEndian.Uint64(rec[len(rec)-TsOutSize:])
}

// Close closes the connection. It may be called from another goroutine, and ends a blocked iteration with ErrClosed.
func (s *Subscriber) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.in.conn.Close()
}
