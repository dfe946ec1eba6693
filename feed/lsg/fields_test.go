package lsg

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseKeepsOrderAndValuesWithEqualsAndSpaces(t *testing.T) {
	got, err := Parse("error=bad a=b|text= spaced out |start_session|sym=币安人生USDT")
	want := Fields{{"error", "bad a=b"}, {"text", " spaced out "}, {"start_session", ""}, {"sym", "币安人生USDT"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestParseToleratesWhatRealPeersSend(t *testing.T) {
	for _, line := range []string{"a=1|b=2", "a=1|b=2\r", "a=1|b=2|", "a=1|b=2|\r"} {
		got, err := Parse(line)
		if err != nil || !reflect.DeepEqual(got, Fields{{"a", "1"}, {"b", "2"}}) {
			t.Errorf("Parse(%q) = %q, %v", line, got, err)
		}
	}
}

func TestParseRefusesMalformedLines(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want error
	}{
		"empty":           {"", ErrLine},
		"only CR":         {"\r", ErrLine},
		"only pipe":       {"|", ErrLine},
		"no key":          {"a=1||b=2", ErrLine},
		"equals only":     {"=1", ErrLine},
		"newline inside":  {"a=1\nb=2", ErrLine},
		"NUL":             {"a=\x00", ErrLine},
		"escape sequence": {"a=\x1b[31m", ErrLine},
		"repeated key":    {"auth=x|dataset=A|auth=y", ErrLine},
		"line too long":   {"a=" + strings.Repeat("x", MaxLine), ErrTooLong},
		"too many fields": {strings.Repeat("a=1|", MaxFields) + "b=2", ErrTooLong},
	} {
		if _, err := Parse(c.line); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestAppendRefusesValuesThatWouldForgeAFieldOrALine(t *testing.T) {
	before := []byte("kept")
	for _, value := range []string{"a|role=producer", "a\nauth=x", "a\r", "a\x00"} {
		for name, appendTo := range map[string]func([]byte) ([]byte, error){
			"Fields":       Fields{{"k", "v"}, {"client", value}}.Append,
			"AuthRequest":  AuthRequest{Auth: "r", Dataset: "D", Client: value}.Append,
			"Subscription": Subscription{Schema: "trades", Symbols: []string{"A", value}}.Append,
			"Instrument":   Instrument{Symbol: value}.Append,
			"Reply":        InstrumentReply{Symbol: value, ID: 1}.Append,
		} {
			got, err := appendTo(before)
			if !errors.Is(err, ErrForbidden) || string(got) != "kept" {
				t.Errorf("%s with %q: got %q, %v, want the buffer as it was and ErrForbidden", name, value, got, err)
			}
		}
		if _, err := (Gap{Cause: value}).Text(); !errors.Is(err, ErrForbidden) {
			t.Errorf("Gap with %q: got %v, want ErrForbidden", value, err)
		}
	}
}

func TestErrorProseIsCleanedBecauseItMustGetOut(t *testing.T) {
	const prose = "symbol \"A|B\"\nis not\tknown"
	reply := string(AuthReply{Error: prose}.Append(nil))
	if reply != "success=0|error=symbol \"A/B\" is not known\n" {
		t.Errorf("reply is %q", reply)
	}
	long := AuthReply{Error: strings.Repeat("é", MaxProse)}.Append(nil)
	if len(long) > MaxProse+32 || strings.ContainsRune(string(long), '\uFFFD') {
		t.Errorf("long prose: %d bytes, or a character cut in two", len(long))
	}
}

func TestErrorsNeverEchoMuchOfTheInput(t *testing.T) {
	_, err := ParseAuthRequest("auth=r|dataset=D|ts_out=" + strings.Repeat("z", 10_000))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("got %v", err)
	}
}

func TestCutLineWaitsForTheNewlineAndGivesUpAtTheLimit(t *testing.T) {
	if line, n, err := CutLine([]byte("abc")); line != nil || n != 0 || err != nil {
		t.Errorf("half a line: %q, %d, %v", line, n, err)
	}
	if line, n, err := CutLine([]byte("abc\ndef\n")); string(line) != "abc" || n != 4 || err != nil {
		t.Errorf("two lines: %q, %d, %v", line, n, err)
	}
	longest := append(make([]byte, MaxLine), '\n')
	if line, n, err := CutLine(longest); len(line) != MaxLine || n != MaxLine+1 || err != nil {
		t.Errorf("longest line: %d bytes, %d, %v", len(line), n, err)
	}
	if _, _, err := CutLine(make([]byte, MaxLine+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("endless line: %v, want ErrTooLong", err)
	}
}

func TestAppendKeepsWhatTheBufferHeld(t *testing.T) {
	got, err := Fields{{"a", "1"}, {"b", ""}}.Append([]byte("x=1\n"))
	if err != nil || string(got) != "x=1\na=1|b=\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
