package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// told is what a gateway says in the stream.
func told(texts ...string) (b []byte) {
	for _, text := range texts {
		code := SystemUnset
		if strings.HasPrefix(text, "Finished") {
			code = SystemReplayCompleted
		}
		b = AppendSystem(b, 1, code, text)
	}
	return b
}

func named(id uint32, symbol string) []byte {
	return AppendSymbolMapping(nil, SymbolMappingFields{InstrumentID: id, InSymbol: symbol, OutSymbol: symbol})
}

// testSession is one session of a peer: the subscription that it wants to see, what it sends before it hangs up.
type testSession struct {
	want string // how the subscription's line ends
	send []byte
}

// serveSessions plays sessions one after another; the last one stays until the client leaves.
func serveSessions(t *testing.T, sessions ...testSession) (addr string) {
	return servePeers(t, func(p *peer) error {
		if p.nth >= len(sessions) {
			return fmt.Errorf("connection %d was not expected", p.nth)
		}
		s := sessions[p.nth]
		if err := p.admit(0); err != nil {
			return err
		}
		if !p.auth.Position {
			return errors.New("the client does not ask for positions")
		}
		line, err := p.in.line()
		if err != nil {
			return err
		}
		if !strings.HasSuffix(line, s.want) {
			return fmt.Errorf("subscription %q, want it to end in %q", line, s.want)
		}
		if err := p.sendMetadata(p.auth.TsOut); err != nil {
			return err
		}
		if _, err := p.conn.Write(s.send); err != nil {
			return err
		}
		if p.nth == len(sessions)-1 {
			return p.gone()
		}
		return nil
	})
}

func resumingConfig(addr string, sub Subscription) ResumingSubscriberConfig {
	return ResumingSubscriberConfig{SubscriberConfig: SubscriberConfig{Addr: addr, Dataset: "TEST.SET"}, Subscriptions: []Subscription{sub}, pause: 2 * time.Millisecond}
}

// receive collects what a subscriber hands out, in words, until the text "over", which the last session sends, or an error.
func receive(t *testing.T, cfg ResumingSubscriberConfig) (got []string, r *ResumingSubscriber, err error) {
	t.Helper()
	ctx := testContext(t)
	r, err = DialResumingSubscriber(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { r.Close() })
	for rec, err := range r.Records(ctx) {
		if err != nil {
			return got, r, err
		}
		if m, ok := View[SystemMsg](rec); ok {
			text := m.Text()
			if text == "over" {
				return got, r, nil
			}
			if !lsg.IsPosition(text) {
				got = append(got, text)
			}
		} else if m, ok := View[SymbolMappingMsg](rec); ok {
			got = append(got, fmt.Sprintf("%d is %q", m.InstrumentID, m.OutSymbol()))
		} else if m, ok := View[TradeMsg](rec); ok {
			got = append(got, fmt.Sprint(m.Sequence))
		}
	}
	return got, r, nil
}

func wantReceived(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("received %q\nwant     %q", got, want)
	}
}

var liveTrades = Subscription{Schema: SchemaTrades, SType: STypeRawSymbol, Symbols: []string{"A"}}

func TestRecordsComeOnceOverLostSessions(t *testing.T) {
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=100"), testTrades(1, 2), told("position|schema=trades|epoch=1|seq=130"), testTrades(3, 3), testTrades(6, 1)[:20])},
		testSession{"id=1|resume=1:130", slices.Concat(told("position|schema=trades|epoch=1|seq=130"), testTrades(3, 1))}, // lost again before all that came before has come again
		testSession{"id=1|resume=1:130", slices.Concat(told("position|schema=trades|epoch=1|seq=130"), testTrades(3, 5))},
		testSession{"id=1|resume=1:130", slices.Concat(told("position|schema=trades|epoch=1|seq=130"), testTrades(3, 6), told("position|schema=trades|epoch=1|seq=150"), testTrades(9, 1), told("over"))},
	)
	got, r, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "2", "3", "4", "5", "6", "7", "8", "9")
	if p := r.Progress()[0]; p.Epoch != 1 || p.Seq != 150 || p.Records != 1 {
		t.Errorf("progress %+v, want one record behind 1:150", p)
	}
}

func TestProgressGoesOnInAnotherProcess(t *testing.T) {
	position, gap := told("position|schema=trades|epoch=1|seq=10"), told("gap|schema=trades|cause=upstream")
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(position, testTrades(1, 3), gap, told("over"))},
		testSession{"id=1|resume=1:10", slices.Concat(position, testTrades(1, 3), gap, testTrades(4, 1), told("over"))},
	)
	_, r, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(r.Progress())
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cfg := resumingConfig(addr, liveTrades)
	if err := json.Unmarshal(kept, &cfg.Progress); err != nil {
		t.Fatal(err)
	}
	got, _, err := receive(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "4")
}

// A gap that was told stands where it stood when a new session reads over it; one that is new is told, and what a recovery cut does not come again.
func TestGapsAreToldOnceAndWhatWasCutIsNotWaitedFor(t *testing.T) {
	const old, cut = "gap|schema=trades|cause=cut|records=7", "gap|schema=trades|cause=cut|records=2"
	position := func(epoch, seq int) []byte {
		return told(fmt.Sprintf("position|schema=trades|epoch=%d|seq=%d", epoch, seq))
	}
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(position(1, 100), testTrades(1, 1), told(old), testTrades(2, 3))},
		// Two of the four records were cut, others came in their place.
		testSession{"resume=1:100", slices.Concat(position(2, 100), testTrades(1, 1), told(old), testTrades(2, 1), told(cut), testTrades(30, 2))},
		// All of that again, and one more.
		testSession{"resume=1:100", slices.Concat(position(2, 100), testTrades(1, 1), told(old), testTrades(2, 1), told(cut), testTrades(30, 3), position(2, 105), testTrades(33, 1))},
		// Cut below the position: nothing of what came is left to come again.
		testSession{"resume=2:105", slices.Concat(position(3, 50), told("gap|schema=trades|cause=cut|records=56"), testTrades(50, 1), told("over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", old, "2", "3", "4", cut, "30", "31", "32", "33", "gap|schema=trades|cause=cut|records=56", "50")
}

// A gap with a place is one to go on behind: of what expired, is damaged or was skipped.
func TestAHoleIsGoneOnBehind(t *testing.T) {
	all := Subscription{Schema: SchemaTrades}
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=10"), testTrades(10, 4), told("gap|schema=trades|cause=skipped|records=6|epoch=1|seq=20"), testTrades(20, 5))},
		// Two of the five that came have expired: the rest is read over, and no more.
		testSession{"resume=1:20", slices.Concat(told("position|schema=trades|epoch=1|seq=20", "gap|schema=trades|cause=expired|records=2|epoch=1|seq=22"), testTrades(22, 1))},
		testSession{"resume=1:22", slices.Concat(told("position|schema=trades|epoch=1|seq=22"), testTrades(22, 5), told("over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, all))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "10", "11", "12", "13", "gap|schema=trades|cause=skipped|records=6|epoch=1|seq=20", "20", "21", "22", "23", "24",
		"gap|schema=trades|cause=expired|records=2|epoch=1|seq=22", "25", "26")
}

func TestAnotherHistoryIsNoticed(t *testing.T) {
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=10"), testTrades(1, 3))},
		testSession{"resume=1:10", slices.Concat(told("position|schema=trades|epoch=2|seq=10"), testTrades(1, 1), testTrades(7, 2), told("over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, liveTrades))
	if !errors.Is(err, ErrChanged) {
		t.Fatalf("%v, want ErrChanged", err)
	}
	wantText(t, err, "position 1:10", "data directory replaced")
	wantReceived(t, got, "1", "2", "3")
}

// A tape that ends before what came there before is an older copy, also when no position was told yet.
func TestAnOlderCopyIsNoticedAtTheEndOfItsReplay(t *testing.T) {
	over := AppendSystem(nil, 0, SystemReplayCompleted, "Finished trades replay")
	for name, first := range map[string][]byte{"": nil, "behind a position": told("position|schema=trades|epoch=1|seq=10")} {
		line, position := "start=0|id=1", []byte(nil)
		if first != nil {
			line, position = "resume=1:10", told("position|schema=trades|epoch=2|seq=10")
		}
		t.Run(name, func(t *testing.T) {
			addr := serveSessions(t,
				testSession{"start=0|id=1", slices.Concat(first, testTrades(1, 3))},
				testSession{line, slices.Concat(position, testTrades(1, 2), over, testTrades(7, 1), told("over"))},
			)
			got, _, err := receive(t, resumingConfig(addr, Subscription{Schema: SchemaTrades, Start: new(uint64)}))
			if !errors.Is(err, ErrChanged) {
				t.Fatalf("%v, want ErrChanged", err)
			}
			wantText(t, err, "2 of the 3 records", "older copy")
			wantReceived(t, got, "1", "2", "3")
		})
	}
}

// A replay that began by time goes on as one: records before that time, which it leaves out, are left out by who resumes it, until it has finished.
func TestAReplayStaysOneOverALostSession(t *testing.T) {
	from := Subscription{Schema: SchemaTrades, Start: new(uint64(100))}
	begun := told("position|schema=trades|epoch=1|seq=0")
	addr := serveSessions(t,
		testSession{"start=100|id=1", slices.Concat(begun, testTrades(100, 2))},
		testSession{"resume=1:0", slices.Concat(begun, testTrades(100, 1), testTrades(50, 3), testTrades(101, 2), testTrades(50, 1), told("Finished trades replay"), testTrades(103, 1))},
		testSession{"resume=1:0", slices.Concat(begun, testTrades(100, 1), testTrades(50, 3), testTrades(101, 2), testTrades(50, 1), testTrades(103, 1), told("Finished trades replay"),
			testTrades(104, 1), told("position|schema=trades|epoch=1|seq=9"), testTrades(60, 1))},
		testSession{"resume=1:9", slices.Concat(told("position|schema=trades|epoch=1|seq=9"), testTrades(60, 2), told("over"))},
	)
	got, r, err := receive(t, resumingConfig(addr, from))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "100", "101", "102", "Finished trades replay", "103", "104", "60", "61")
	if !r.Progress()[0].Replayed {
		t.Error("the end of the replay is not part of the progress")
	}
}

func TestNamesOfAnEarlierSessionEndWithIt(t *testing.T) {
	const position = "position|schema=trades|epoch=1|seq=1"
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(told(position), named(17, "AAPL"), testTrades(1, 1), named(17, ""), testTrades(2, 1), named(17, "AAPL"), testTrades(3, 1))},
		testSession{"resume=1:1", slices.Concat(told(position), testTrades(1, 4), named(17, "MSFT"), testTrades(5, 1))},
		testSession{"resume=1:1", slices.Concat(told(position), named(17, "MSFT"), testTrades(1, 6), told("over"))},
	)
	got, r, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, `17 is "AAPL"`, "1", `17 is ""`, "2", `17 is "AAPL"`, "3", `17 is ""`, "4", `17 is "MSFT"`, "5", `17 is "MSFT"`, "6")
	if name, ok := r.Name(17); name != "MSFT" || !ok {
		t.Errorf("17 is %q, %t, want MSFT", name, ok)
	}
}

func TestOneFinishedAndUnknownTextsPass(t *testing.T) {
	from := Subscription{Schema: SchemaTrades, Start: new(uint64)}
	addr := serveSessions(t,
		testSession{"start=0|id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 1), told("Finished trades replay", "novelty|schema=trades"))},
		testSession{"resume=1:0", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 1), told("Finished trades replay"), testTrades(2, 1), AppendSystem(nil, 1, 99, "of a newer gateway"), told("over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, from))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "Finished trades replay", "novelty|schema=trades", "2", "of a newer gateway")
}

func TestWhatWaitsForItsFirstRecordMissesNoneOfAnOutage(t *testing.T) {
	addr := serveSessions(t,
		testSession{"id=1", told("waiting|dataset=TEST.SET|schema=trades|text=nothing yet")},
		testSession{"start=0|id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 2), told("Finished trades replay", "over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "waiting|dataset=TEST.SET|schema=trades|text=nothing yet", "1", "2")
}

// Only a whole schema that waits begins with its first record: a symbol that nobody has published brings no past of others.
func TestASymbolThatIsWaitedForBringsNoPast(t *testing.T) {
	addr := serveSessions(t,
		testSession{"id=1", told("waiting|dataset=TEST.SET|schema=trades|symbol=A|text=nobody has published A yet")},
		testSession{"is_last=1|id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=5"), testTrades(1, 1), told("over"))},
	)
	got, _, err := receive(t, resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "waiting|dataset=TEST.SET|schema=trades|symbol=A|text=nobody has published A yet", "1")
}

func TestAnEndThatWasReachedIsNotAskedForAgain(t *testing.T) {
	cfg := resumingConfig("", Subscription{Schema: SchemaTrades, Start: new(uint64), End: new(uint64(50))})
	cfg.Addr = serveSessions(t,
		testSession{"start=0|end=50|id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 1))},
		testSession{"end=50|id=1|resume=1:0", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 2), told("end|schema=trades|id=1|ts=50", "over"))},
	)
	got, r, err := receive(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "2", "end|schema=trades|id=1|ts=50")
	if !r.Progress()[0].Ended {
		t.Error("the end is not part of the progress")
	}
}

// Who comes back after the End has passed still misses what lies before it: that comes
// first, also for one whose past was whole before, and for one that asked for none.
func TestAnEndThatPassedDuringAnOutageIsNotTheEndOfWhatIsMissing(t *testing.T) {
	for name, start := range map[string]*uint64{"past": new(uint64), "live only": nil} {
		t.Run(name, func(t *testing.T) {
			cfg := resumingConfig("", Subscription{Schema: SchemaTrades, Start: start, End: new(uint64(50))})
			cfg.Progress = []Progress{{Schema: "trades", Known: true, Epoch: 1, Seq: 7, Replayed: true}}
			cfg.Addr = serveSessions(t, testSession{"end=50|id=1|resume=1:7", slices.Concat(told("position|schema=trades|epoch=1|seq=7"), testTrades(1, 2),
				told("Finished trades replay", "end|schema=trades|id=1|ts=50", "over"))})
			got, _, err := receive(t, cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"1", "2", "end|schema=trades|id=1|ts=50"}
			if start != nil {
				want = slices.Insert(want, 2, "Finished trades replay")
			}
			wantReceived(t, got, want...)
		})
	}
}

// A gateway of an older version knows no ends: what is wanted is kept to here.
func TestAnEndIsKeptWhateverTheGatewayKnows(t *testing.T) {
	cfg := resumingConfig("", Subscription{Schema: SchemaTrades, Start: new(uint64), End: new(uint64(3))})
	cfg.Addr = serveSessions(t,
		testSession{"start=0|end=3|id=1", slices.Concat(told("position|schema=trades|epoch=1|seq=0"), testTrades(1, 4), testTrades(2, 1), told("Finished trades replay", "end|schema=trades|id=1|ts=3", "over"))},
	)
	got, _, err := receive(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "2", "2", "Finished trades replay", "end|schema=trades|id=1|ts=3")
}

func TestARefusalIsTheHonestEnd(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(0); err != nil || p.nth == 0 {
			return errors.Join(err, lineAndMetadata(p))
		}
		if err := lineAndMetadata(p); err != nil {
			return err
		}
		_, err := p.conn.Write(AppendError(nil, 1, ErrorInvalidSubscription, "resume is beyond the end", true))
		return err
	})
	var lost []error
	cfg := resumingConfig(addr, liveTrades)
	cfg.Lost = func(err error, pause time.Duration) { lost = append(lost, err) }
	_, _, err := receive(t, cfg)
	var ended *SessionError
	if !errors.As(err, &ended) || ended.Code != ErrorInvalidSubscription {
		t.Fatalf("%v, want the gateway's refusal", err)
	}
	if len(lost) != 1 {
		t.Errorf("told of %d lost sessions, want 1: %v", len(lost), lost)
	}
}

func lineAndMetadata(p *peer) error {
	if _, err := p.in.line(); err != nil {
		return err
	}
	return p.sendMetadata(false)
}

func TestTimesOfSendingDoNotMakeRecordsNew(t *testing.T) {
	stamped := func(ts uint64, from, n int) (b []byte) {
		for rec := range slices.Chunk(testTrades(from, n), 48) {
			b = AppendWithTsOut(b, rec, ts)
		}
		return b
	}
	position := AppendWithTsOut(nil, told("position|schema=trades|epoch=1|seq=1"), 5)
	over := AppendWithTsOut(nil, told("over"), 5)
	cfg := resumingConfig("", liveTrades)
	cfg.TsOut = true
	cfg.Addr = serveSessions(t,
		testSession{"id=1", slices.Concat(position, stamped(1000, 1, 2))},
		testSession{"resume=1:1", slices.Concat(position, stamped(2000, 1, 3), over)},
	)
	got, _, err := receive(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "2", "3")
}

func TestCloseEndsTheWaitForAGateway(t *testing.T) {
	waiting := make(chan struct{})
	cfg := resumingConfig("", liveTrades)
	cfg.Addr = servePeers(t, func(p *peer) error {
		if p.nth > 0 {
			return errStop
		}
		return errors.Join(p.admit(0), lineAndMetadata(p))
	})
	cfg.pause = time.Hour
	cfg.Lost = func(error, time.Duration) { close(waiting) }
	r, err := DialResumingSubscriber(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-waiting
		r.Close()
	}()
	for _, err := range r.Records(context.Background()) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
}

func TestALoopThatIsLeftAtAMappingLosesNoRecord(t *testing.T) {
	const position = "position|schema=trades|epoch=1|seq=1"
	addr := serveSessions(t,
		testSession{"id=1", slices.Concat(told(position), named(17, "AAPL"), testTrades(1, 1))},
		testSession{"resume=1:1", slices.Concat(told(position), testTrades(1, 3), told("over"))},
	)
	r, err := DialResumingSubscriber(testContext(t), resumingConfig(addr, liveTrades))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	for over := false; !over; {
		for rec, err := range r.Records(testContext(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if m, ok := View[TradeMsg](rec); ok {
				fmt.Fprint(&got, m.Sequence, " ")
			}
			m, ok := View[SystemMsg](rec)
			over = ok && m.Text() == "over"
			break // after each record
		}
	}
	if got.String() != "1 2 3 " {
		t.Errorf("got trades %s", got.String())
	}
}

// Everything has two names. By either a gap that spares the gateway records must not bring others twice.
func TestAllSymbolsByNameIsTheWholeTape(t *testing.T) {
	r := &ResumingSubscriber{}
	if err := r.add(Subscription{Schema: SchemaTrades, SType: STypeRawSymbol, Symbols: []string{lsg.AllSymbols}}); err != nil {
		t.Fatal(err)
	}
	c := r.courses[0]
	c.Known, c.Records, c.drop = true, 10, 10
	c.lose(lsg.Gap{Records: 4, HasAt: true, At: lsg.Position{Seq: 4}})
	if c.drop != 6 {
		t.Errorf("%d records are still to be left out, want the 6 behind the gap that came before", c.drop)
	}
}
