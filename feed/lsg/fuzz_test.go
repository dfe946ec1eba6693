package lsg

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzParse feeds any bytes to every parser: none may panic, and what a parser takes must come back the same after formatting.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"lsg_version=0.9.4", "cram=j5pwMHz6vwXruJM4cOwQrQeQE0bImIzT",
		"auth=x-mNUM6|dataset=XNAS.ITCH|encoding=dbn|ts_out=1|compression=zstd|heartbeat_interval_s=30|slow_reader_behavior=skip|client=a b",
		"auth=x|dataset=A|role=producer|producer=p|stream=s|ack=synced|resume=5", "success=1|session_id=5|", "success=0|error=a=b",
		"schema=trades|stype_in=raw_symbol|symbols=A,B|start=2026-01-02T03:04:05Z|snapshot=0|id=1|is_last=1\r", "schema=mbo|symbols=ALL_SYMBOLS|resume=1:2",
		"start_session=0", "instrument=X|price_increment=0.01|lot=1|currency=USDT|class=K", "instrument=X|instrument_id=1",
		"ack=0", "ack=1|level=written", "error=bad_rtype|record=1|want=a|got=b|retry=later|text=t", "pause=x", "resume=1",
		"gap|schema=mbo|from_ts=1|to_ts=2|cause=cut|records=3|epoch=4|seq=5", "position|schema=mbo|epoch=1|seq=2", "end|schema=mbo|id=1|ts=2", "waiting|dataset=A|schema=mbo|symbol=X|instrument_id=1|text=a b", "schema=mbo|symbols=A|start=20260101|end=20260102", "||", "=", "a=\x00", "e\xc2", "a=\u0085",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		roundTrip(t, line, ParseAuthRequest, AuthRequest.Append)
		roundTrip(t, line, ParseSubscription, Subscription.Append)
		roundTrip(t, line, ParseInstrument, Instrument.Append)
		roundTrip(t, line, ParseInstrumentReply, InstrumentReply.Append)
		roundTrip(t, line, Parse, Fields.Append)
		roundTrip(t, line, ParseAck, sure(Ack.Append))
		roundTrip(t, line, ParseGap, texted(Gap.Text))
		roundTrip(t, line, ParsePosition, texted(Position.Text))
		roundTrip(t, line, ParseEnd, texted(End.Text))
		roundTrip(t, line, ParseWaiting, texted(Waiting.Text))
		for _, parse := range []func(string) error{
			func(s string) error { _, err := ParseAuthReply(s); return err },
			func(s string) error { _, err := ParseProducerError(s); return err },
			func(s string) error { _, err := ParsePause(s); return err },
			func(s string) error { _, err := ParseChallenge(s); return err },
		} {
			if err := parse(line); err != nil && strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Fatalf("%q: error %q holds control characters", line, err)
			}
		}
		if cleaned := Clean(line); strings.IndexByte(cleaned, '|') >= 0 || controlAt(cleaned) >= 0 {
			t.Fatalf("Clean(%q) = %q", line, cleaned)
		}
	})
}

// roundTrip parses, formats and parses again. Formatting may fail only for lack of room, which an in-band text has less of than a line.
func roundTrip[T any](t *testing.T, line string, parse func(string) (T, error), format func(T, []byte) ([]byte, error)) {
	t.Helper()
	value, err := parse(line)
	if err != nil {
		return
	}
	formatted, err := format(value, nil)
	if err != nil {
		if len(line) > MaxInBand/2 {
			return
		}
		t.Fatalf("%q parses to %+v, which cannot be formatted: %v", line, value, err)
	}
	back, err := parse(strings.TrimSuffix(string(formatted), "\n"))
	if err != nil || !reflect.DeepEqual(back, value) {
		t.Fatalf("%q parses to %+v, formats to %q, reads back as %+v, %v", line, value, formatted, back, err)
	}
}

func sure[T any](format func(T, []byte) []byte) func(T, []byte) ([]byte, error) {
	return func(v T, dst []byte) ([]byte, error) { return format(v, dst), nil }
}

func texted[T any](format func(T) (string, error)) func(T, []byte) ([]byte, error) {
	return func(v T, dst []byte) ([]byte, error) {
		text, err := format(v)
		return append(dst, text...), err
	}
}
