package feed

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// sendMetadata begins the session of a subscriber.
func (p *peer) sendMetadata(tsOut bool) error {
	if err := p.expect(lsg.StartSession); err != nil {
		return err
	}
	meta := Metadata{Version: Version, Dataset: "TEST.SET", Schema: SchemaNone, End: UndefTimestamp, StypeIn: STypeNone, TsOut: tsOut}
	b, err := meta.Append(nil)
	if err != nil {
		return err
	}
	_, err = p.conn.Write(b)
	return err
}

func dialTestSubscriber(t *testing.T, cfg SubscriberConfig) *Subscriber {
	t.Helper()
	cfg.Dataset = "TEST.SET"
	s, err := DialSubscriber(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func startTestSubscriber(t *testing.T, addr string) *Subscriber {
	t.Helper()
	s := dialTestSubscriber(t, SubscriberConfig{Addr: addr})
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordsSurviveAnySplitOfTheStream(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; to repeat: put it into this test", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var want []byte
	for len(want) < 3*recordBuffer {
		switch rnd.IntN(3) {
		case 0:
			want = append(want, testTrades(len(want), 1+rnd.IntN(100))...)
		case 1:
			want = AppendSystem(want, 1, SystemHeartbeat, "Heartbeat")
		default:
			want = AppendSymbolMapping(want, SymbolMappingFields{InstrumentID: 1, InSymbol: "A", OutSymbol: "A"})
		}
	}
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.sendMetadata(false)); err != nil {
			return err
		}
		for rest := want; len(rest) > 0; {
			n := min(1+rnd.IntN(1<<rnd.IntN(18)), len(rest))
			if _, err := p.conn.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	s := startTestSubscriber(t, addr)
	var got []byte
	var end error
	for rec, err := range s.Records(testContext(t)) {
		if end = err; err == nil {
			got = append(got, rec...)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of records that differ from the %d sent", len(got), len(want))
	}
	var ended *SessionError
	if !errors.As(end, &ended) || !errors.Is(end, io.EOF) || ended.Code != ErrorUnset {
		t.Errorf("the stream ended with %v, want a SessionError of io.EOF", end)
	}
}

func TestSubscriptionsAreChunkedUnderOneID(t *testing.T) {
	symbols := make([]string, 1001)
	for i := range symbols {
		symbols[i] = fmt.Sprintf("S%d", i)
	}
	var got []lsg.Subscription
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		for range 5 {
			line, err := p.in.line()
			if err != nil {
				return err
			}
			sub, err := lsg.ParseSubscription(line)
			if err != nil {
				return err
			}
			got = append(got, sub)
		}
		return p.sendMetadata(false)
	})
	s := dialTestSubscriber(t, SubscriberConfig{Addr: addr})
	for _, sub := range []Subscription{
		{Schema: SchemaMbp1, SType: STypeRawSymbol, Symbols: symbols, Start: StartAt(time.Unix(1, 5))},
		{Schema: SchemaTrades},
		{Schema: SchemaMbo, Symbols: []string{"17"}, Resume: &Position{Epoch: 3, Seq: 9}},
	} {
		if err := s.Subscribe(sub); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := s.Start()
	if err != nil || meta.Dataset != "TEST.SET" || meta.Schema != SchemaNone {
		t.Fatalf("metadata %+v, %v", meta, err)
	}
	var joined []string
	for i, sub := range got[:3] {
		if sub.ID != 1 || sub.IsLast != (i == 2) || sub.Start != 1e9+5 || sub.StypeIn != "raw_symbol" || len(sub.Symbols) > lsg.ChunkSymbols {
			t.Errorf("chunk %d: id %d, last %v, start %d, %d symbols by %s", i, sub.ID, sub.IsLast, sub.Start, len(sub.Symbols), sub.StypeIn)
		}
		joined = append(joined, sub.Symbols...)
	}
	if !slices.Equal(joined, symbols) {
		t.Error("the chunks do not make the list")
	}
	if all := got[3]; all.Symbols != nil || all.ID != 2 || all.StypeIn != "raw_symbol" || all.HasStart || !all.IsLast {
		t.Errorf("whole dataset: %+v", all)
	}
	if last := got[4]; last.ID != 3 || last.StypeIn != "instrument_id" || !last.HasResume || last.Resume != (Position{Epoch: 3, Seq: 9}) {
		t.Errorf("resume: %+v", last)
	}
}

func TestMeaninglessSubscriptionsAreRefusedHere(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.gone()) })
	s := dialTestSubscriber(t, SubscriberConfig{Addr: addr})
	for remedy, sub := range map[string]Subscription{
		"STypeRawSymbol": {Schema: SchemaTrades, Symbols: []string{"BTCUSDT"}},
		"one schema":     {Schema: SchemaNone},
		"comma":          {Schema: SchemaTrades, SType: STypeRawSymbol, Symbols: []string{"A,B"}},
		"exclude":        {Schema: SchemaMbo, Start: new(uint64(0)), Snapshot: true},
	} {
		err := s.Subscribe(sub)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("got %v, want ErrConfig that says %q", err, remedy)
		}
	}
	for _, err := range s.Records(testContext(t)) {
		if !errors.Is(err, ErrState) {
			t.Errorf("Records before Start: %v, want ErrState", err)
		}
	}
}

func TestIterationEndsWithItsContextAndGoesOnWithTheNext(t *testing.T) {
	more := make(chan struct{})
	trades := testTrades(0, 4)
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.sendMetadata(false)); err != nil {
			return err
		}
		if _, err := p.conn.Write(trades[:2*48+20]); err != nil { // two records and a part
			return err
		}
		<-more
		if _, err := p.conn.Write(trades[2*48+20:]); err != nil {
			return err
		}
		return p.gone()
	})
	s := startTestSubscriber(t, addr)
	var got []byte
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	cause := errors.New("enough")
	for rec, err := range s.Records(ctx) {
		if err != nil {
			if !errors.Is(err, cause) {
				t.Fatalf("got %v, want %v", err, cause)
			}
			break
		}
		got = append(got, rec...)
		if len(got) == 2*48 {
			time.AfterFunc(time.Millisecond, func() { cancel(cause) }) // most often while the loop waits for bytes
		}
	}
	close(more)
	for rec, err := range s.Records(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec...)
		if len(got) >= 3*48 {
			break
		}
	}
	for rec, err := range s.Records(testContext(t)) { // after a break it is the next one
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec...)
		break
	}
	if !bytes.Equal(got, trades) {
		t.Errorf("%d bytes differ from the %d sent", len(got), len(trades))
	}
}

func TestCloseEndsABlockedIteration(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.sendMetadata(false), p.gone()) })
	s := startTestSubscriber(t, addr)
	time.AfterFunc(time.Millisecond, func() { s.Close() })
	for _, err := range s.Records(context.Background()) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if err := s.Subscribe(Subscription{Schema: SchemaTrades}); !errors.Is(err, ErrClosed) {
		t.Errorf("Subscribe: got %v, want ErrClosed", err)
	}
}

func TestSilenceBeyondTheHeartbeatIsAnError(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.sendMetadata(false), p.gone()) })
	s := dialTestSubscriber(t, SubscriberConfig{Addr: addr, Heartbeat: 5 * time.Second})
	if s.silence != 5*time.Second+HeartbeatGrace {
		t.Errorf("silence is %v", s.silence)
	}
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.silence = time.Millisecond
	for _, err := range s.Records(context.Background()) {
		var ended *SessionError
		if !errors.Is(err, ErrSilent) || !errors.As(err, &ended) {
			t.Errorf("got %v, want ErrSilent", err)
		}
	}
}

func TestEndOfSessionSaysWhy(t *testing.T) {
	fatal := AppendError(nil, 1, ErrorInternal, "the gateway restarts", true)
	unresolved := AppendError(nil, 1, ErrorSymbolResolutionFailed, "Failed to resolve symbol X", true)
	skipped := AppendError(nil, 1, ErrorSkippedRecords, "Skipped", true)
	for name, c := range map[string]struct {
		stream  []byte
		records int
		want    SessionError
	}{
		"no word":           {testTrades(0, 1), 1, SessionError{Code: ErrorUnset, Err: io.EOF}},
		"fatal error":       {fatal, 1, SessionError{Code: ErrorInternal, Text: "the gateway restarts", Err: io.EOF}},
		"non-fatal errors":  {append(bytes.Clone(unresolved), skipped...), 2, SessionError{Code: ErrorUnset, Err: io.EOF}},
		"error with ts_out": {AppendWithTsOut(nil, fatal, 5), 1, SessionError{Code: ErrorInternal, Text: "the gateway restarts", Err: io.EOF}},
		"cut record":        {testTrades(0, 2)[:90], 1, SessionError{Code: ErrorUnset, Err: io.ErrUnexpectedEOF}},
		"impossible length": {make([]byte, 16), 0, SessionError{Code: ErrorUnset, Err: ErrLength}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := servePeers(t, func(p *peer) error {
				if err := errors.Join(p.admit(0), p.sendMetadata(false)); err != nil {
					return err
				}
				_, err := p.conn.Write(c.stream)
				return err
			})
			s := startTestSubscriber(t, addr)
			records := 0
			for _, err := range s.Records(testContext(t)) {
				if err == nil {
					records++
					continue
				}
				var got *SessionError
				if !errors.As(err, &got) || got.Code != c.want.Code || got.Text != c.want.Text || !errors.Is(err, c.want.Err) {
					t.Errorf("got %v, want %v", err, &c.want)
				}
			}
			if records != c.records {
				t.Errorf("%d records, want %d", records, c.records)
			}
		})
	}
}

func TestMetadataThatNeverComesEndsStart(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		want   error
	}{
		"closed":  {"", io.EOF},
		"cut":     {"DBN\x03", io.ErrUnexpectedEOF},
		"not DBN": {"error=unknown\n", ErrMetadata},
		"huge":    {"DBN\x03\xf8\xff\xff\x0f", ErrTooLarge},
		"old DBN": {"DBN\x01\x78\x00\x00\x00TEST\x00" + strings.Repeat("\x00", 115), ErrVersion},
		"newer":   {"DBN\x09\x78\x00\x00\x00", ErrMetadata},
	} {
		t.Run(name, func(t *testing.T) {
			addr := servePeers(t, func(p *peer) error {
				return errors.Join(p.admit(0), p.expect(lsg.StartSession), p.send(c.stream))
			})
			s := dialTestSubscriber(t, SubscriberConfig{Addr: addr})
			_, err := s.Start()
			var ended *SessionError
			if !errors.Is(err, c.want) || !errors.As(err, &ended) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestTsOutIsFoundBehindTheRecord(t *testing.T) {
	trade := testTrades(7, 1)
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.sendMetadata(true)); err != nil {
			return err
		}
		if !p.auth.TsOut {
			return errors.New("ts_out was not asked for")
		}
		_, err := p.conn.Write(AppendWithTsOut(AppendWithTsOut(nil, trade, 12345), trade, 12346))
		return err
	})
	s := dialTestSubscriber(t, SubscriberConfig{Addr: addr, TsOut: true})
	if got := s.TsOut(trade); got != UndefTimestamp {
		t.Errorf("ts_out %d before the session says that there is one", got)
	}
	if _, err := s.Start(); err != nil {
		t.Fatal(err)
	}
	want := uint64(12345)
	for rec, err := range s.Records(testContext(t)) {
		if err != nil {
			break
		}
		msg, ok := View[TradeMsg](rec)
		if !ok || msg.Sequence != 7 || s.TsOut(rec) != want || binary.LittleEndian.Uint64(rec[48:]) != want {
			t.Errorf("record % x, ts_out %d, want %d", rec, s.TsOut(rec), want)
		}
		want++
	}
	if want != 12347 {
		t.Errorf("%d records, want 2", want-12345)
	}
}

func TestIterationCostsNoAllocationARecord(t *testing.T) {
	const total = 50_000
	trades := testTrades(0, total)
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.sendMetadata(false)); err != nil {
			return err
		}
		if _, err := p.conn.Write(trades); err != nil {
			return err
		}
		return p.gone()
	})
	s := startTestSubscriber(t, addr)
	ctx, n, sum := testContext(t), 0, uint64(0)
	allocs := testing.AllocsPerRun(1, func() { // runs twice
		for rec, err := range s.Records(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			sum += uint64(rec.InstrumentID())
			if n++; n%(total/2) == 0 {
				break
			}
		}
	})
	if n != total || sum != 17*total || allocs > total/100 {
		t.Errorf("%d records, sum %d, %v allocations for half of them", n, sum, allocs)
	}
}

func TestResetIsASessionError(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.sendMetadata(false)); err != nil {
			return err
		}
		return p.conn.(*net.TCPConn).SetLinger(0)
	})
	s := startTestSubscriber(t, addr)
	for _, err := range s.Records(testContext(t)) {
		var ended *SessionError
		if !errors.As(err, &ended) {
			t.Errorf("got %v, want a SessionError", err)
		}
	}
}
