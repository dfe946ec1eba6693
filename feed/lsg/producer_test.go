package lsg

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestProducerLinesOfTheDesignAreUnderstood(t *testing.T) {
	in, err := ParseInstrument("instrument=BTCUSDT|price_increment=0.01|lot=0.00001|asset=BTC|quote=USDT|class=X|exchange=BINA|publisher_id=60001")
	if want := (Instrument{"BTCUSDT", "0.01", "0.00001", "BTC", "USDT", "X", "BINA", 60001}); err != nil || in != want {
		t.Errorf("instrument: %+v, %v", in, err)
	}
	reply, err := ParseInstrumentReply("instrument=BTCUSDT|instrument_id=17")
	if err != nil || reply != (InstrumentReply{"BTCUSDT", 17}) {
		t.Errorf("reply: %+v, %v", reply, err)
	}
	ack, err := ParseAck("ack=4096|level=synced")
	if err != nil || ack != (Ack{4096, AckSynced}) {
		t.Errorf("ack: %+v, %v", ack, err)
	}
	perr, err := ParseProducerError("error=bad_length|record=7|want=48|got=52|retry=never|text=length byte = 13")
	if want := (ProducerError{Code: CodeBadLength, Record: 7, HasRecord: true, Want: "48", Got: "52", Retry: RetryNever, Text: "length byte = 13"}); err != nil || perr != want {
		t.Errorf("error: %+v, %v", perr, err)
	}
	pause, err := ParsePause("pause=disk_full")
	if err != nil || pause != (Pause{"disk_full"}) {
		t.Errorf("pause: %+v, %v", pause, err)
	}
	gap, err := ParseGap("gap|schema=trades|from_ts=5|to_ts=9|cause=upstream")
	if want := (Gap{Schema: "trades", FromTs: 5, ToTs: 9, Cause: CauseUpstream}); err != nil || gap != want {
		t.Errorf("gap: %+v, %v", gap, err)
	}
	position, err := ParsePosition("position|schema=trades|epoch=2|seq=9")
	if err != nil || position != (Position{"trades", 2, 9}) {
		t.Errorf("position: %+v, %v", position, err)
	}
}

func TestProducerLinesReadBack(t *testing.T) {
	line := func(b []byte) string { return strings.TrimSuffix(string(b), "\n") }
	for _, in := range []Instrument{{Symbol: "X"}, {"币安人生USDT", "1000", "0.000000001", "BTC", "USDT", "X", "BINA", math.MaxUint16}} {
		b, err := in.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := in.Text()
		if err != nil || text != line(b) {
			t.Errorf("in-band form %q differs from line %q, %v", text, b, err)
		}
		if got, err := ParseInstrument(text); err != nil || got != in {
			t.Errorf("%q reads back as %+v, %v", text, got, err)
		}
	}
	for _, r := range []InstrumentReply{{"X", 0}, {"Y", math.MaxUint32}} {
		b, _ := r.Append(nil)
		if got, err := ParseInstrumentReply(line(b)); err != nil || got != r {
			t.Errorf("%q reads back as %+v, %v", b, got, err)
		}
	}
	for _, a := range []Ack{{0, AckWritten}, {math.MaxUint64, AckSynced}} {
		if got, err := ParseAck(line(a.Append(nil))); err != nil || got != a {
			t.Errorf("%+v reads back as %+v, %v", a, got, err)
		}
	}
	for _, e := range []ProducerError{{Code: CodeFenced, Retry: RetryNever}, {Code: CodeIDConflict, HasRecord: true, Want: "MSFT", Got: "AAPL", Retry: RetryLater, Text: "a = b"}, {Code: CodeBadSymbol, Instrument: "A,B", Text: "t"}, {Code: CodeBadGap, Line: LineGap, Retry: RetryNever, Text: "t"}} {
		if got, err := ParseProducerError(line(e.Append(nil))); err != nil || got != e {
			t.Errorf("%+v reads back as %+v, %v", e, got, err)
		}
	}
	for _, g := range []Gap{{Cause: CauseCut}, {"mbo", 1, 2, CauseSkipped, 10, Position{Epoch: 1, Seq: 0}, true}} {
		text, err := g.Text()
		if err != nil || !IsGap(text) {
			t.Fatalf("%q, %v", text, err)
		}
		if got, err := ParseGap(text); err != nil || got != g {
			t.Errorf("%q reads back as %+v, %v", text, got, err)
		}
	}
	text, err := Position{"trades", math.MaxUint64, 0}.Text()
	if err != nil || !IsPosition(text) {
		t.Fatalf("%q, %v", text, err)
	}
	if got, err := ParsePosition(text); err != nil || got != (Position{"trades", math.MaxUint64, 0}) {
		t.Errorf("%q reads back as %+v, %v", text, got, err)
	}
}

// A session that guesses the kind of a line wrongly would, for one, take an ack for an error.
func TestLinesOfTheServerAreToldApart(t *testing.T) {
	kinds := []func(string) bool{IsAck, IsError, IsPause, IsResume, IsInstrument, IsGap, IsPosition, IsEndSession}
	for i, line := range []string{
		"ack=1|level=written", "error=fenced", "pause=disk_full", strings.TrimSuffix(string(AppendResume(nil)), "\n"),
		"instrument=X|instrument_id=1", "gap|cause=cut", "position|schema=mbo|epoch=1|seq=2", EndSession,
	} {
		for k, is := range kinds {
			if is(line) != (i == k) {
				t.Errorf("kind %d says %v of %q", k, is(line), line)
			}
		}
	}
}

func TestBadProducerLinesAreRefused(t *testing.T) {
	parse := map[string]func(string) error{
		"instrument": func(s string) error { _, err := ParseInstrument(s); return err },
		"reply":      func(s string) error { _, err := ParseInstrumentReply(s); return err },
		"ack":        func(s string) error { _, err := ParseAck(s); return err },
		"error":      func(s string) error { _, err := ParseProducerError(s); return err },
		"pause":      func(s string) error { _, err := ParsePause(s); return err },
		"gap":        func(s string) error { _, err := ParseGap(s); return err },
		"position":   func(s string) error { _, err := ParsePosition(s); return err },
	}
	for _, c := range []struct {
		kind, line string
		want       error
	}{
		{"instrument", "instrument=", ErrSymbol},
		{"instrument", "instrument=" + strings.Repeat("X", 71), ErrSymbol},
		{"instrument", "instrument=A,B|lot=1", ErrSymbol},
		{"instrument", "instrument=ALL_SYMBOLS", ErrSymbol},
		{"instrument", "instrument= X", ErrSymbol},
		{"instrument", "instrument=X\u0085", ErrLine},
		{"instrument", "instrument=X|tick=0.01", ErrLine},
		{"instrument", "instrument=X|quote=USD|currency=EUR", ErrValue},
		{"instrument", "instrument=X|quote=USDTTT", ErrValue},
		{"instrument", "instrument=X|exchange=BINANCE", ErrValue},
		{"instrument", "instrument=X|class=Q", ErrValue},
		{"instrument", "instrument=X|publisher_id=65536", ErrValue},
		{"instrument", "instrument=X|lot=0.0000000001", ErrValue}, // ten digits: would be rounded to nothing
		{"instrument", "instrument=X|lot=0", ErrValue},
		{"instrument", "instrument=X|price_increment=-0.1", ErrValue},
		{"instrument", "instrument=X|class=KK", ErrValue},
		{"reply", "instrument=X", ErrValue},
		{"reply", "instrument=X|instrument_id=4294967296", ErrValue},
		{"ack", "ack=", ErrValue},
		{"ack", "ack=1|level=maybe", ErrValue},
		{"error", "error=", ErrMissing},
		{"gap", "gap|cause=upstream|records=4611686018427387905", ErrValue},
		{"error", "error=limit|record=x", ErrValue},
		{"error", "error=limit|retry=perhaps", ErrValue},
		{"pause", "pause=", ErrMissing},
		{"gap", "gap|schema=mbo", ErrMissing},
		{"gap", "hole|cause=cut", ErrLine},
		{"gap", "gap|cause=cut|from_ts=9|to_ts=5", ErrValue},
		{"gap", "gap|cause=cut|from_ts=x", ErrTime},
		{"gap", "gap|cause=cut|epoch=1", ErrMissing},
		{"position", "position|schema=mbo", ErrMissing},
		{"position", "position|epoch=1|seq=1", ErrMissing},
	} {
		if err := parse[c.kind](c.line); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.line, err, c.want)
		}
	}
}

func TestInBandTextThatASystemMsgWouldCutIsRefused(t *testing.T) {
	in := Instrument{Symbol: strings.Repeat("S", 70), Lot: strings.Repeat("0", MaxInBand) + "1"}
	if _, err := in.Text(); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
	if _, err := in.Append(nil); err != nil {
		t.Errorf("the same line in the text phase: %v", err)
	}
}

func TestParseFixedIsExactOrFails(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1e9, "0.000000001": 1, "-0.5": -5e8, "9223372036.854775807": math.MaxInt64, "00.10": 1e8, "167.42": 167_420_000_000,
	} {
		if got, err := ParseFixed(text); err != nil || got != want {
			t.Errorf("ParseFixed(%s) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", ".", "1.", ".5", "1.0000000001", "9223372036.854775808", "1e5", "+1", "1,5", "0x1", "--1", "1.-5", "NaN"} {
		if got, err := ParseFixed(text); !errors.Is(err, ErrValue) {
			t.Errorf("ParseFixed(%q) = %d, %v, want ErrValue", text, got, err)
		}
	}
}

func TestAcksCostNoAllocation(t *testing.T) {
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf = Ack{N: 1 << 40, Level: AckWritten}.Append(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations for an ack line", n)
	}
}
