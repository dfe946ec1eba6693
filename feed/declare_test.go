package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// refusal is the gateway's answer to an instrument line that it does not take.
func refusal(symbol string) string {
	return string(lsg.ProducerError{Code: lsg.CodeBadSymbol, Instrument: symbol, Text: "nobody could ask for it"}.Append(nil))
}

func TestARefusedInstrumentEndsNothing(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		return errors.Join(p.admit(0),
			p.expect("instrument=NEWRULE"), p.send(refusal("NEWRULE")),
			p.expect("instrument=BTCUSDT"), p.send("instrument=BTCUSDT|instrument_id=17\n"),
			p.started(), p.gone())
	})
	p := dialTestProducer(t, addr)
	_, err := p.Instrument(testContext(t), Instrument{Symbol: "NEWRULE"})
	var refused *InstrumentError
	if !errors.As(err, &refused) || *refused != (InstrumentError{"NEWRULE", lsg.CodeBadSymbol, "nobody could ask for it"}) {
		t.Errorf("got %v, want the refusal of the instrument", err)
	}
	wantText(t, err, "NEWRULE", lsg.CodeBadSymbol, "nobody could ask for it")
	if id, err := p.Instrument(testContext(t), Instrument{Symbol: "BTCUSDT"}); err != nil || id != 17 {
		t.Errorf("the next one: %d, %v, want 17", id, err)
	}
	if err := errors.Join(p.Start(Metadata{Schema: SchemaTrades}), p.Err()); err != nil {
		t.Errorf("the session: %v, want it to go on", err)
	}
}

// A thousand instruments must be published though one of them has a name that nobody could ask for.
func TestOneRefusedInstrumentFailsNoDial(t *testing.T) {
	var tape fakeTape
	declared := make(chan []string, 8)
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(tape.count); err != nil {
			return err
		}
		var symbols []string
		for {
			line, err := p.in.line()
			if err != nil || lsg.IsStartSession(line) {
				declared <- symbols
				_, err = p.metadata()
				return errors.Join(err, tape.take(p, max(0, 1-p.nth))) // the first session is lost after a record
			}
			symbol := strings.TrimPrefix(line, "instrument=")
			symbols = append(symbols, symbol)
			reply := fmt.Sprintf("instrument=%s|instrument_id=%d\n", symbol, symbol[0])
			if symbol == "BAD" {
				reply = refusal(symbol)
			}
			if err := p.send(reply); err != nil {
				return err
			}
		}
	})
	var refused []string
	r := dialTestResuming(t, ResumingConfig{
		ProducerConfig: ProducerConfig{Addr: addr},
		Instruments:    []Instrument{{Symbol: "BAD"}, {Symbol: "A,B"}, {Symbol: "LOT", Lot: "x"}, {Symbol: "BTC"}, {Symbol: "ETH"}},
		Refused:        func(e *InstrumentError) { refused = append(refused, e.Symbol+" "+e.Code) },
	})
	if !slices.Equal(refused, []string{"BAD bad_symbol", "A,B bad_symbol", "LOT bad_instrument"}) {
		t.Errorf("told of %q", refused)
	}
	if _, ok := r.InstrumentID("BAD"); ok {
		t.Error("BAD has an ID")
	}
	if id, ok := r.InstrumentID("ETH"); !ok || id != 'E' {
		t.Errorf("ETH has ID %d, %v, want %d", id, ok, 'E')
	}
	if got := <-declared; !slices.Equal(got, []string{"BAD", "BTC", "ETH"}) {
		t.Errorf("declared %q", got)
	}
	if err := errors.Join(r.Publish(testTrades(0, 1)), r.Flush()); err != nil {
		t.Fatal(err)
	}
	<-declared
	if err := errors.Join(r.Publish(testTrades(1, 1)), r.Close(testContext(t))); err != nil {
		t.Fatal(err)
	}
	if tape.count != 2 || len(refused) != 3 {
		t.Errorf("%d records, told %q: want 2, and once of each refusal", tape.count, refused)
	}
}

func TestAnInstrumentDeclaredWithAnotherLotHasAnotherID(t *testing.T) {
	lots := make(chan string, 8)
	addr := servePeers(t, func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		answer := func(text string) error {
			in, err := lsg.ParseInstrument(text)
			lots <- in.Lot
			id := map[string]uint32{"0.001": 17, "0.01": 18}[in.Lot]
			return errors.Join(err, p.send(fmt.Sprintf("instrument=X|instrument_id=%d\n", id)))
		}
		line, err := p.in.line()
		if err := errors.Join(err, answer(line), p.started()); err != nil || p.nth > 0 {
			return errors.Join(err, p.gone())
		}
		text, err := p.text()
		return errors.Join(err, answer(text)) // and is gone
	})
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, Instruments: []Instrument{{Symbol: "X", Lot: "0.001"}}})
	if id, _ := r.InstrumentID("X"); id != 17 {
		t.Errorf("ID %d, want 17", id)
	}
	id, err := r.Instrument(testContext(t), Instrument{Symbol: "X", Lot: "0.01"})
	if err != nil || id != 18 {
		t.Fatalf("with another lot: %d, %v, want 18", id, err)
	}
	// The session after it declares what holds now, and that another ID came is no reason to give up.
	var got []string
	for len(got) < 3 {
		select {
		case lot := <-lots:
			got = append(got, lot)
		case <-r.done:
			t.Fatalf("gave up: %v", r.Err())
		}
	}
	if !slices.Equal(got, []string{"0.001", "0.01", "0.01"}) {
		t.Errorf("declared lots %q", got)
	}
	if id, ok := r.InstrumentID("X"); !ok || id != 18 || r.Err() != nil {
		t.Errorf("ID %d, %v, %v, want 18", id, ok, r.Err())
	}
}

func TestHowAStreamBeganIsAskedAndTold(t *testing.T) {
	ours, theirs := Head{Records: 3}, Head{Records: 2}
	ours.Sum[0], theirs.Sum[31] = 1, 2
	addr := servePeers(t, func(p *peer) error {
		if err := p.greet(); err != nil {
			return err
		}
		if p.auth.Head != ours || !p.auth.Existing {
			return fmt.Errorf("the request has head %v, existing %v", p.auth.Head, p.auth.Existing)
		}
		switch p.nth {
		case 0:
			return errors.Join(p.send(string(lsg.AuthReply{Success: true, SessionID: 1, Accepted: 5, HasAccepted: true, Head: theirs}.Append(nil))), p.gone())
		case 1:
			return p.send("error=no_stream|retry=never|text=nobody published it\n")
		}
		return p.send("error=stream_head|retry=never|text=it began otherwise\n")
	})
	cfg := ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "n", Head: ours, Existing: true}
	p, err := DialProducer(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p.Head() != theirs {
		t.Errorf("the stream began with %v, want %v", p.Head(), theirs)
	}
	discard(p, ErrClosed)
	for _, code := range []string{lsg.CodeNoStream, lsg.CodeStreamHead} {
		_, err := DialProducer(testContext(t), cfg)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != code || !IsFinal(err) {
			t.Errorf("got %v, want a final %s", err, code)
		}
	}
}

// What comes from a file or a pipe cannot be had again: with Wait it waits for the gateway, however long that is away.
func TestWithWaitNothingIsLetGoWhileDown(t *testing.T) {
	const held, total = 100, 1000
	var tape fakeTape
	addr, down, up := tape.awayOnce(t, tape.whole)
	told := make(chan error, 8)
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, MaxHeld: held * 48, Wait: true,
		Lost: func(err error, _ time.Duration) { told <- err }})
	want := testTrades(0, total)
	published := make(chan error, 1)
	go func() {
		for n := 0; n < len(want); n += 48 {
			if err := errors.Join(r.Publish(want[n:n+48]), r.Flush()); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	<-down
	select {
	case err := <-published:
		close(up)
		t.Fatalf("all is published, %v, though the gateway is away and no more than %d records may be held", err, held)
	default:
	}
	close(up)
	if err := errors.Join(<-published, r.Close(testContext(t))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tape.bytes, want) || len(tape.gaps) > 0 || r.Dropped() != 0 {
		t.Errorf("%d records on the tape, want %d once and in order; gaps %v, dropped %d", tape.count, total, tape.gaps, r.Dropped())
	}
	if err := <-told; !errors.Is(err, ErrLost) {
		t.Errorf("told of %v, want ErrLost", err)
	}
}

func TestWhoWaitsForTheGatewayIsNotStuckInClose(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if p.nth == 0 {
			return errors.Join(p.admit(0), p.started())
		}
		return errStop
	})
	r := dialTestResuming(t, ResumingConfig{ProducerConfig: ProducerConfig{Addr: addr}, MaxHeld: 48, Wait: true})
	if err := r.Publish(testTrades(0, 1)); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = r.Publish(testTrades(0, 1))
		}
		published <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want DeadlineExceeded", err)
	}
	if err := <-published; !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrClosed) {
		t.Errorf("Publish: %v", err)
	}
}

// A session that was never told which symbol an ID is may not publish under it.
func TestEverySessionIsToldTheMappingsThatHoldWhereItGoesOn(t *testing.T) {
	named := func(id uint32, symbol string) []byte {
		return AppendSymbolMapping(nil, SymbolMappingFields{InstrumentID: id, OutSymbol: symbol})
	}
	var h heldRecords
	add := func(b []byte) {
		n, err := countRecords(b)
		if err != nil {
			t.Fatal(err)
		}
		h.add(b, n)
	}
	add(named(17, "OLD"))
	add(named(16, "A"))
	add(testTrades(0, 2))
	add(named(17, "NEW"))
	add(testTrades(2, 2))
	add(named(18, "LAST"))
	old, renamed := slices.Concat(named(16, "A"), named(17, "OLD")), slices.Concat(named(16, "A"), named(17, "NEW"))
	check := func(n uint64, want []byte) {
		t.Helper()
		if got := h.mappingsBefore(n); !bytes.Equal(got, want) {
			t.Errorf("at record %d, %d dropped: %d mappings, which differ", n, h.first, len(got)/len(named(1, "X")))
		}
	}
	check(0, nil) // they are sent again themselves
	check(1, old)
	check(2, old)
	check(3, renamed)
	h.drop(1)
	check(1, old)
	check(2, old)
	check(4, renamed)
	h.drop(4)
	check(4, renamed)
	if h.dropOldest(); h.size() != 0 {
		t.Errorf("%d bytes are left", h.size())
	}
	check(4, slices.Concat(renamed, named(18, "LAST")))
}
