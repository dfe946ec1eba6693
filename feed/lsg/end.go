package lsg

import (
	"fmt"
	"strings"
)

// End says that a subscription with an end has all that lies before it. It travels only in band, from the server to a subscriber.
type End struct {
	Schema string
	ID     uint64 // of the subscription
	Ts     uint64 // ns, the end that it asked for
}

// IsEnd tells the text from other in-band ones.
func IsEnd(text string) bool { return strings.HasPrefix(text, "end|") }

// Text returns the in-band form.
func (e End) Text() (string, error) {
	var w lineWriter
	if e.Schema == "" {
		return "", fmt.Errorf("%w: schema of an end", ErrMissing)
	}
	w.word("end")
	w.text("schema", e.Schema)
	w.number("id", e.ID)
	w.time("ts", e.Ts)
	return w.inBand()
}

// ParseEnd reads the in-band form.
func ParseEnd(text string) (End, error) {
	f, err := parseInBand("end", text)
	if err != nil {
		return End{}, err
	}
	var e End
	if e.Schema, err = f.need("schema"); err != nil {
		return End{}, err
	}
	if e.ID, _, err = f.number("id"); err != nil {
		return End{}, err
	}
	ok := false
	if e.Ts, ok, err = f.time("ts"); err == nil && !ok {
		err = fmt.Errorf("%w: ts", ErrMissing)
	}
	return e, err
}
