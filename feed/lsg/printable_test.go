package lsg

import (
	"bytes"
	"strings"
	"testing"
)

// A name from outside must not move a terminal's cursor, set its title or answer
// in the operator's place, whatever the encoding of the control character.
func TestControlCharactersNeverReachATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"AAPL":               "AAPL",
		"Größe €, 株":         "Größe €, 株",
		"\ufffd":             "\ufffd", // a replacement that was there already
		"a\tb\nc":            "a\tb\nc",
		"\x1b[2J":            "?[2J",
		"\u009b2J":           "?2J",  // CSI as one character
		"a\x9b2J":            "a?2J", // and as one byte
		"\u0085\u0090\u009f": "???",
		"\r\b\x00\x7f":       "????",
		"\u202eLPAA\u202c":   "?LPAA?", // reads backwards
		"\u2028":             "?",
		"cut \xe2\x82":       "cut ??",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) is %q, want %q", in, got, want)
		}
		var out bytes.Buffer
		if n, err := (PrintableWriter{&out}).Write([]byte(in)); n != len(in) || err != nil || out.String() != want {
			t.Errorf("written of %q: %q, %d, %v", in, out.String(), n, err)
		}
	}
	if got := Clean("a\u009bb|c\nd"); got != "a b/c d" {
		t.Errorf("prose: %q", got)
	}
	for _, line := range []string{"client=\u009b2J", "client=\x1b", "client=\x7f"} {
		if _, err := Parse(line); err == nil || !strings.Contains(err.Error(), "control character") {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := Parse("symbols=株Â|client=é"); err != nil {
		t.Errorf("letters beyond ASCII: %v", err)
	}
}

// What stands for a character in a reply must show which one it was, and nothing a terminal acts on.
func TestEscapedShowsWhatATerminalWouldActOn(t *testing.T) {
	for given, want := range map[string]string{
		"BTCUSDT": "BTCUSDT", "日本": "日本", "A\x01B": `A\x01B`, "A\u0085B": `A\u0085B`, "A\x85B": `A\x85B`, "\x1b[31m": `\x1b[31m`, "a\tb": `a\tb`, "\u202eevil": `\u202eevil`, "\ufffd": "\ufffd",
	} {
		if got := Escaped(given); got != want || Printable(got) != got {
			t.Errorf("%q becomes %q, want %q", given, got, want)
		}
	}
}
