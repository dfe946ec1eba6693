package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

func dialTestResuming(t *testing.T, cfg ResumingConfig) *ResumingProducer {
	t.Helper()
	cfg.pause = time.Millisecond
	cfg.Dataset, cfg.Name, cfg.Metadata.Schema = "TEST.SET", "adapter", SchemaTrades
	r, err := DialResumingProducer(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Close(ctx)
	})
	return r
}

func TestEveryRecordComesOnceThoughConnectionsKeepBreaking(t *testing.T) {
	for _, level := range []AckLevel{AckWritten, AckSynced} {
		t.Run(string(level), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d; to repeat: put it into this test", seed)
			rnd := rand.New(rand.NewPCG(seed, 1))
			const total = 5000
			want := testTrades(0, total)
			var tape fakeTape
			addr := servePeers(t, func(p *peer) error {
				limit := 1 + rnd.IntN(1000)
				if p.nth > 30 {
					limit = 0 // at some time it may come to an end
				}
				return tape.session(p, limit)
			})
			r := dialTestResuming(t, ResumingConfig{
				ProducerConfig: ProducerConfig{Addr: addr, Ack: level},
				Instruments:    []Instrument{{Symbol: "BTCUSDT"}},
			})
			for rest := want; len(rest) > 0; {
				n := min((1+len(rest)%97)*48, len(rest))
				if _, err := r.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := r.WaitAcked(testContext(t), total/2); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(testContext(t)); err != nil {
				t.Fatal(err)
			}
			tape.mu.Lock()
			defer tape.mu.Unlock()
			if !bytes.Equal(tape.bytes, want) || tape.count != total || len(tape.gaps) > 0 {
				t.Errorf("%d records on the tape, want %d, each once and in order; gaps %v", tape.count, total, tape.gaps)
			}
			if r.Acked() != total || r.Dropped() != 0 {
				t.Errorf("acked %d, dropped %d", r.Acked(), r.Dropped())
			}
			if len(tape.auths) < 2 {
				t.Error("no connection was ever lost, so this test has shown nothing")
			}
			for _, a := range tape.auths[1:] {
				if a.Stream != tape.auths[0].Stream || !a.HasResume {
					t.Errorf("a later session says %+v", a)
				}
			}
		})
	}
}

// A live adapter must not stall while the gateway is down; what it lets go must be told, and the rest must come.
func TestWhatIsLetGoWhileDownBecomesAGap(t *testing.T) {
	const held = 100
	var tape fakeTape
	addr, down, up := tape.awayOnce(t, tape.whole)
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, MaxHeld: held * 48})
	for n := range 10 {
		if err := r.Publish(testTrades(n, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	<-down // the second connection hangs in its handshake
	for n := range 1000 {
		if err := r.Publish(testTrades(10+n, 1)); err != nil {
			t.Fatal(err)
		}
	}
	dropped := r.Dropped()
	if dropped == 0 || r.held.size() > held*48 {
		t.Fatalf("dropped %d, %d bytes held: the bound is %d", dropped, r.held.size(), held*48)
	}
	close(up)
	if err := r.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if r.Missing() != dropped-10 {
		t.Errorf("%d missing, want the %d that were let go and are not on the tape", r.Missing(), dropped-10)
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	// The ten records of the first session were on the tape, though no ack said so, and so were dropped without loss.
	if want := append(testTrades(0, 10), testTrades(int(dropped), 1010-int(dropped))...); !bytes.Equal(tape.bytes, want) {
		t.Errorf("%d bytes on the tape, want %d", len(tape.bytes), len(want))
	}
	if len(tape.gaps) != 1 || tape.gaps[0] != fmt.Sprintf("10..%d", dropped) || tape.count != 1010 {
		t.Errorf("gaps %v, count %d, want one gap 10..%d and 1010", tape.gaps, tape.count, dropped)
	}
}

// What a gateway lacks it says once it has made the gap. A reply that is lost on its way, or a session that ends before its first record, must change nothing.
func TestMissingIsCountedOnceWhateverBecomesOfReplies(t *testing.T) {
	for name, c := range map[string]struct{ lost, again bool }{
		"the reply is lost, and the next one says it again": {lost: true, again: true},
		"the session ends over a declaration":               {again: true},
		"so it does, and no later reply says it again":      {},
	} {
		t.Run(name, func(t *testing.T) {
			var tape fakeTape
			addr, down, up := tape.awayOnce(t, func(p *peer) error { return tape.breakOff(p, c.lost, c.again) })
			r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, MaxHeld: 100 * 48, Instruments: []Instrument{{Symbol: "X"}}})
			if _, err := r.Write(testTrades(0, 10)); err != nil {
				t.Fatal(err)
			}
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
			<-down
			for n := range 1000 {
				if err := r.Publish(testTrades(10+n, 1)); err != nil {
					t.Fatal(err)
				}
			}
			dropped := r.Dropped()
			close(up)
			if err := r.Close(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if got, want := r.Missing(), dropped-10; got != want || want == 0 {
				t.Errorf("%d missing, want the %d that were let go and are not on the tape", got, want)
			}
		})
	}
}

func TestFullWhileConnectedWaitsForAcks(t *testing.T) {
	var tape fakeTape
	addr := servePeers(t, func(p *peer) error { return tape.session(p, 0) })
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, MaxHeld: 500 * 48})
	want := testTrades(0, 5000)
	for n := 0; n < len(want); n += 48 {
		if err := r.Publish(want[n : n+48]); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Publish(make(Record, 0)); err != nil {
		t.Errorf("nothing to publish: %v", err)
	}
	if err := r.Publish(testTrades(0, 501)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than MaxHeld at once: %v, want ErrTooLarge", err)
	}
	if err := r.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if r.Dropped() != 0 || !bytes.Equal(tape.bytes, want) {
		t.Errorf("dropped %d, %d records on the tape", r.Dropped(), tape.count)
	}
	if err := r.Publish(want[:48]); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

func TestFinalErrorsAreNotTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		second func(p *peer) error // what the second session meets
		check  func(err error) bool
	}{
		"fenced": {
			func(p *peer) error {
				return errors.Join(p.admit(0), p.started(), p.send("error=fenced|retry=now|text=a newer session\n"))
			},
			func(err error) bool { var e *ProducerError; return errors.As(err, &e) && e.Code == lsg.CodeFenced },
		},
		"refused": {
			func(p *peer) error { return errors.Join(p.greet(), p.send("success=0|error=key deactivated\n")) },
			func(err error) bool { var e *RefusedError; return errors.As(err, &e) && e.Text == "key deactivated" },
		},
		"stream of another program": {
			func(p *peer) error { return errors.Join(p.admit(99), p.started(), p.gone()) },
			func(err error) bool { return errors.Is(err, ErrChanged) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := servePeers(t, func(p *peer) error {
				switch p.nth {
				case 0:
					return errors.Join(p.admit(0), p.started())
				case 1:
					return c.second(p)
				}
				return errors.New("it dialled a third time")
			})
			r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}})
			<-r.done
			if err := r.Err(); !c.check(err) {
				t.Errorf("gave up with %v", err)
			}
			if err := r.Publish(testTrades(0, 1)); !c.check(err) {
				t.Errorf("Publish: %v", err)
			}
			if err := r.WaitAcked(testContext(t), 1); !c.check(err) {
				t.Errorf("WaitAcked: %v", err)
			}
		})
	}
}

// Records under an ID that now is another symbol's would poison the tapes.
func TestInstrumentWithAnotherIDIsFinal(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		if err := errors.Join(p.expect("instrument=X"), p.send(fmt.Sprintf("instrument=X|instrument_id=%d\n", 17+p.nth))); err != nil {
			return err
		}
		if p.nth == 0 {
			return p.started()
		}
		return p.gone()
	})
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, Instruments: []Instrument{{Symbol: "X"}}})
	if id, ok := r.InstrumentID("X"); !ok || id != 17 {
		t.Errorf("ID %d, %v, want 17", id, ok)
	}
	<-r.done
	if err := r.Err(); !errors.Is(err, ErrChanged) {
		t.Errorf("gave up with %v, want ErrChanged", err)
	}
}

func TestCloseGivesUpWithItsContextWhileTheGatewayIsDown(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if p.nth == 0 {
			return errors.Join(p.admit(0), p.started())
		}
		return errStop
	})
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}})
	if err := r.Publish(testTrades(0, 3)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := r.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want DeadlineExceeded", err)
	}
	wantText(t, err, "0 of 3 records acked")
}

func TestLateInstrumentsAndGapsOutliveTheConnection(t *testing.T) {
	var tape fakeTape
	declared := make(chan string, 4)
	addr := servePeers(t, func(p *peer) error {
		if p.nth > 0 {
			return tape.session(p, 0) // answers the declarations before start_session
		}
		if err := errors.Join(p.admit(0), p.started()); err != nil {
			return err
		}
		text, err := p.text()
		declared <- text
		return errors.Join(err, p.send("instrument=ETH|instrument_id=17\n"))
	})
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}})
	if id, err := r.Instrument(testContext(t), Instrument{Symbol: "ETH"}); err != nil || id != 17 {
		t.Fatalf("ID %d, %v, want 17", id, err)
	}
	if text := <-declared; text != "instrument=ETH" {
		t.Errorf("declared by %q", text)
	}
	if err := errors.Join(r.Gap(Gap{Cause: lsg.CauseUpstream}), r.Publish(testTrades(0, 1))); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	if tape.count != 1 || len(tape.gaps) != 1 || tape.gaps[0] != "gap|cause=upstream" {
		t.Errorf("%d records, gaps %v, want one of each", tape.count, tape.gaps)
	}
}
