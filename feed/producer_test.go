package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed/lsg"
)

func TestProducerSpeaksTheWholeSessionOfTheDesign(t *testing.T) {
	trades := testTrades(5, 3)
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(5); err != nil {
			return err
		}
		if want := (lsg.AuthRequest{
			Auth: p.auth.Auth, Dataset: "TEST.SET", Encoding: "dbn", Compression: "none", Client: clientName, Heartbeat: ProducerInterval,
			Role: "producer", Producer: "adapter", Stream: "s1", Ack: "written",
		}); p.auth != want {
			return fmt.Errorf("auth line says %+v, want %+v", p.auth, want)
		}
		if err := p.expect("instrument=BTCUSDT|price_increment=0.01|lot=0.00001|asset=BTC|quote=USDT|class=X"); err != nil {
			return err
		}
		if err := p.send("instrument=BTCUSDT|instrument_id=17\n"); err != nil {
			return err
		}
		if err := p.expect("start_session"); err != nil {
			return err
		}
		if meta, err := p.metadata(); err != nil || meta.Dataset != "TEST.SET" || meta.Version != 3 || meta.Schema != SchemaTrades {
			return fmt.Errorf("metadata %+v, %v", meta, err)
		}
		got, err := p.records(3)
		if err != nil || !bytes.Equal(got, trades) {
			return fmt.Errorf("%d bytes of records, want %d, %v", len(got), len(trades), err)
		}
		if text, err := p.text(); err != nil || text != lsg.EndSession {
			return fmt.Errorf("in-band text %q, %v, want end_session", text, err)
		}
		return p.ack(8)
	})
	p := dialTestProducer(t, addr)
	if p.Accepted() != 5 || p.Sent() != 5 || p.Acked() != 5 || p.SessionID() != 41 {
		t.Errorf("accepted %d, sent %d, acked %d, session %d", p.Accepted(), p.Sent(), p.Acked(), p.SessionID())
	}
	id, err := p.Instrument(testContext(t), Instrument{Symbol: "BTCUSDT", PriceIncrement: "0.01", Lot: "0.00001", Asset: "BTC", Currency: "USDT", Class: "X"})
	if err != nil || id != 17 {
		t.Fatalf("instrument: %d, %v", id, err)
	}
	if err := p.Start(Metadata{Schema: SchemaTrades}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(trades); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if p.Sent() != 8 || p.Acked() != 8 {
		t.Errorf("sent %d, acked %d, want 8", p.Sent(), p.Acked())
	}
	if err := p.Publish(trades[:48]); err == nil {
		t.Error("a closed producer takes records")
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestTrickleIsNotStuckInTheBuffer(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		for n := range uint64(3) { // each record is sent only after the one before was acked
			if _, err := p.records(1); err != nil {
				return err
			}
			if err := p.ack(n + 1); err != nil {
				return err
			}
		}
		return p.gone()
	})
	p := startTestProducer(t, addr)
	for n := range 3 {
		if err := p.Publish(testTrades(n, 1)); err != nil {
			t.Fatal(err)
		}
		if err := p.await(testContext(t), func() bool { return p.acked == uint64(n)+1 }); err != nil { // WaitAcked would flush
			t.Fatalf("record %d: %v", n, err)
		}
	}
}

func TestLargeAndSmallPiecesArriveInOrder(t *testing.T) {
	const total = 10_000 // 480 kB: several buffers
	trades := testTrades(0, total)
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		got, err := p.records(total)
		if err != nil || !bytes.Equal(got, trades) {
			return fmt.Errorf("%d bytes that differ from the %d published, %v", len(got), len(trades), err)
		}
		return p.ack(total)
	})
	p := startTestProducer(t, addr)
	rest := trades
	for _, n := range []int{1, 2, 1000, 1, 1365, 1366, 3000} {
		if n%2 == 0 {
			for r := range slices.Chunk(rest[:n*48], 48) {
				if err := p.Publish(Record(r)); err != nil {
					t.Fatal(err)
				}
			}
		} else if _, err := p.Write(rest[:n*48]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n*48:]
	}
	if _, err := p.Write(rest); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitAcked(testContext(t), total); err != nil {
		t.Fatal(err)
	}
}

func TestPartOfARecordIsRefusedBeforeAnythingIsSent(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.started(), p.gone()) })
	p := startTestProducer(t, addr)
	two := testTrades(0, 2)
	for name, b := range map[string][]byte{"cut": two[:95], "header only": two[:16], "zero length": make([]byte, 48)} {
		if _, err := p.Write(b); !errors.Is(err, ErrLength) {
			t.Errorf("%s: got %v, want ErrLength", name, err)
		}
		if err := p.Publish(two[:48], b); !errors.Is(err, ErrLength) {
			t.Errorf("%s: got %v, want ErrLength", name, err)
		}
	}
	if p.Sent() != 0 || p.Err() != nil {
		t.Errorf("sent %d, %v: want nothing and a live session", p.Sent(), p.Err())
	}
}

func TestControlRecordsAreNotNumbered(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.started(), p.gone()) })
	p := startTestProducer(t, addr)
	mixed := AppendSystem(testTrades(0, 1), 1, SystemEndOfInterval, "x")
	mixed = AppendSymbolMapping(mixed, SymbolMappingFields{InstrumentID: 17, OutSymbol: "X"})
	mixed = append(mixed, testTrades(1, 1)...)
	if _, err := p.Write(mixed); err != nil || p.Sent() != 2 {
		t.Errorf("sent %d, %v, want 2", p.Sent(), err)
	}
}

func TestAckLinesMaySplitAnywhereAndSkipLevels(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(2), p.started()); err != nil {
			return err
		}
		for _, piece := range []string{"ack=9|level=written\nack=", "3|lev", "el=sy", "nced\nack=4|level=synced", "\n", "unknown=1\nack=3|level=synced\n"} {
			if err := p.send(piece); err != nil {
				return err
			}
		}
		return p.gone()
	})
	p, err := DialProducer(testContext(t), ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "n", Ack: AckSynced})
	if err != nil {
		t.Fatal(err)
	}
	defer discard(p, ErrClosed)
	if p.Acked() != 0 || p.Sent() != 2 {
		t.Errorf("acked %d, sent %d: what is accepted is not yet synced", p.Acked(), p.Sent())
	}
	if err := p.Start(Metadata{Schema: SchemaTrades}); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitAcked(testContext(t), 4); err != nil {
		t.Fatal(err)
	}
	if got := p.Acked(); got != 4 {
		t.Errorf("acked %d, want 4: acks of another level or an older number count", got)
	}
}

func TestErrorLineIsHeardThoughWritesFail(t *testing.T) {
	want := ProducerError{Code: lsg.CodeBadLength, Record: 1, HasRecord: true, Want: "48", Got: "52", Retry: lsg.RetryNever, Text: "length byte = 13"}
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		if _, err := p.records(1); err != nil {
			return err
		}
		return p.send(string(lsg.ProducerError(want).Append(nil))) // and closes with much unread, so that the peer sees a reset
	})
	p := startTestProducer(t, addr)
	trades := testTrades(0, 1000)
	var err error
	for err == nil {
		_, err = p.Write(trades)
	}
	var got *ProducerError
	if !errors.As(err, &got) || *got != want {
		t.Fatalf("got %v, want %v", err, &want)
	}
	if !IsFinal(err) || !errors.As(p.Err(), &got) || !errors.As(p.WaitAcked(testContext(t), 1), &got) || !errors.As(p.Close(testContext(t)), &got) {
		t.Error("later calls do not say why the session ended")
	}
	wantText(t, err, "bad_length", "record 1", "want 48, got 52", "length byte = 13", "never")
}

func TestLostConnectionIsNotFinal(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.started()) })
	p := startTestProducer(t, addr)
	<-p.Done()
	if err := p.Err(); !errors.Is(err, ErrLost) || IsFinal(err) {
		t.Errorf("got %v, want ErrLost", err)
	}
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.gone()) })
	p := dialTestProducer(t, addr)
	cause := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := p.Instrument(ctx, Instrument{Symbol: "X"}); !errors.Is(err, cause) {
		t.Errorf("Instrument: got %v, want %v", err, cause)
	}
	if err := p.WaitAcked(ctx, 1); !errors.Is(err, cause) {
		t.Errorf("WaitAcked: got %v, want %v", err, cause)
	}
	if p.Err() != nil {
		t.Errorf("the session ended with a caller's context: %v", p.Err())
	}
}

func TestCloseCutsABlockedWrite(t *testing.T) {
	began := make(chan struct{})
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		if _, err := p.record(); err != nil {
			return err
		}
		close(began)
		<-t.Context().Done() // reads no more
		return errStop
	})
	p := startTestProducer(t, addr)
	published := make(chan error)
	go func() {
		_, err := p.Write(bytes.Repeat(testTrades(0, 1000), 1000)) // 48 MB, more than sockets hold: it blocks
		published <- err
	}()
	<-began
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("shutdown deadline")
	cancel(cause)
	err := p.Close(ctx)
	if !errors.Is(err, cause) {
		t.Errorf("Close: got %v, want %v", err, cause)
	}
	wantText(t, err, "with 0 of ")
	if err := <-published; !errors.Is(err, cause) {
		t.Errorf("the blocked Write: got %v, want %v", err, cause)
	}
}

func TestPauseHoldsRecordsBackUntilResume(t *testing.T) {
	resume := make(chan struct{})
	trades := testTrades(0, 2000) // more than one buffer
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started(), p.send("pause=disk_full\n")); err != nil {
			return err
		}
		<-resume
		if p.unread() {
			return errors.New("records came during the pause")
		}
		if err := p.send("resume=1\n"); err != nil {
			return err
		}
		got, err := p.records(2000)
		if err != nil || !bytes.Equal(got, trades) {
			return fmt.Errorf("%d bytes, %v", len(got), err)
		}
		return p.ack(2000)
	})
	p := startTestProducer(t, addr)
	if err := p.await(testContext(t), func() bool { return p.paused == "disk_full" }); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(trades[:48]); err != nil {
		t.Fatal(err)
	}
	p.sendLate(false)
	p.sendLate(true)
	p.out.Lock()
	if len(p.buf) != 48 {
		t.Errorf("%d bytes in the buffer during a pause, want the one record", len(p.buf))
	}
	p.out.Unlock()
	done := make(chan error, 1)
	go func() {
		_, err := p.Write(trades[48:]) // does not fit, so it waits
		done <- err
	}()
	close(resume)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := p.WaitAcked(testContext(t), 2000); err != nil || p.Paused() != "" {
		t.Errorf("%v, paused %q", err, p.Paused())
	}
}

func TestHeartbeatOnlyWhenNothingElseWasSent(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		var kinds []string
		for range 3 {
			rec, err := p.record()
			if err != nil {
				return err
			}
			kinds = append(kinds, rec.RType().String())
			if msg, ok := View[SystemMsg](rec); ok && (msg.Code != SystemHeartbeat || msg.TsEvent == 0) {
				return fmt.Errorf("no heartbeat: code %v, ts_event %d", msg.Code, msg.TsEvent)
			}
		}
		if got := strings.Join(kinds, " "); got != "system mbp-0 system" {
			return fmt.Errorf("got %s", got)
		}
		return p.ack(1)
	})
	p := startTestProducer(t, addr)
	p.sendLate(true) // metadata was just sent
	p.sendLate(true) // silent since the last tick: a heartbeat
	if err := errors.Join(p.Publish(testTrades(0, 1)), p.Flush()); err != nil {
		t.Fatal(err)
	}
	p.sendLate(true)
	p.sendLate(true)
	if err := p.WaitAcked(testContext(t), 1); err != nil {
		t.Fatal(err)
	}
}

func TestTextsTravelInBandAfterStart(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		for _, want := range []string{"gap|schema=trades|from_ts=5|to_ts=9|cause=upstream", "instrument=ETHUSDT"} {
			if text, err := p.text(); err != nil || text != want {
				return fmt.Errorf("got %q, %v, want %q", text, err, want)
			}
		}
		return errors.Join(p.send("instrument=ETHUSDT|instrument_id=18\n"), p.gone())
	})
	p := dialTestProducer(t, addr)
	gap := Gap{Schema: "trades", FromTs: 5, ToTs: 9, Cause: lsg.CauseUpstream}
	if err := p.Gap(gap); !errors.Is(err, ErrState) {
		t.Errorf("a gap before Start: %v, want ErrState", err)
	}
	if err := p.Publish(testTrades(0, 1)); !errors.Is(err, ErrState) {
		t.Errorf("a record before Start: %v, want ErrState", err)
	}
	if err := p.Start(Metadata{Schema: SchemaNone}); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(Metadata{}); !errors.Is(err, ErrState) {
		t.Errorf("a second Start: %v, want ErrState", err)
	}
	if err := p.Gap(gap); err != nil {
		t.Fatal(err)
	}
	if err := p.Gap(Gap{Cause: "a|b"}); !errors.Is(err, ErrConfig) {
		t.Errorf("a forged gap: %v, want ErrConfig", err)
	}
	if id, err := p.Instrument(testContext(t), Instrument{Symbol: "ETHUSDT"}); err != nil || id != 18 {
		t.Errorf("instrument %d, %v", id, err)
	}
}

func TestResumeBeyondTheTapesNumbersOnFromThere(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(3); err != nil {
			return err
		}
		if !p.auth.HasResume || p.auth.Resume != 10 {
			return fmt.Errorf("auth says resume %d, %v", p.auth.Resume, p.auth.HasResume)
		}
		return p.gone()
	})
	p, err := DialProducer(testContext(t), ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "n", Resume: new(uint64(10))})
	if err != nil {
		t.Fatal(err)
	}
	defer discard(p, ErrClosed)
	if p.Accepted() != 10 || p.Sent() != 10 {
		t.Errorf("accepted %d, sent %d, want 10", p.Accepted(), p.Sent())
	}
}

func TestPublishingCostsNoAllocation(t *testing.T) {
	addr := servePeers(t, func(p *peer) error { return errors.Join(p.admit(0), p.started(), p.gone()) })
	p := startTestProducer(t, addr)
	rec := Record(testTrades(0, 1))
	if n := testing.AllocsPerRun(20_000, func() {
		if err := p.Publish(rec); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations a record", n)
	}
}

// Gateways close after the last ack, so the end may be known before the ack is asked for.
func TestAckCountsThoughTheConnectionEndedAfterIt(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		if _, err := p.records(1); err != nil {
			return err
		}
		return p.ack(1)
	})
	p := startTestProducer(t, addr)
	if err := errors.Join(p.Publish(testTrades(0, 1)), p.Flush()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.WaitAcked(testContext(t), 1); err != nil {
		t.Errorf("WaitAcked: %v", err)
	}
	if err := p.WaitAcked(testContext(t), 2); !errors.Is(err, ErrLost) {
		t.Errorf("WaitAcked beyond the end: %v, want ErrLost", err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
}
