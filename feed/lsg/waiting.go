package lsg

import "strings"

// Waiting says that nobody has published yet what was subscribed; it follows once somebody does. It travels only in band, from the server to a
// subscriber.
type Waiting struct {
	Dataset      string
	Schema       string // "" when it is not about one
	Symbol       string // "" when it is not about one
	InstrumentID string // "" when it is not about one; with neither, the whole schema or the dataset is waited for
	Words        string // the same for a person
}

// IsWaiting tells the text from other in-band ones.
func IsWaiting(text string) bool { return strings.HasPrefix(text, "waiting|") }

// Text returns the in-band form.
func (w Waiting) Text() (string, error) {
	var l lineWriter
	l.word("waiting")
	l.optional("dataset", w.Dataset)
	l.optional("schema", w.Schema)
	l.optional("symbol", w.Symbol)
	l.optional("instrument_id", w.InstrumentID)
	l.optional("text", w.Words)
	return l.inBand()
}

// ParseWaiting reads the in-band form.
func ParseWaiting(text string) (Waiting, error) {
	f, err := parseInBand("waiting", text)
	if err != nil {
		return Waiting{}, err
	}
	return Waiting{
		Dataset: f.Get("dataset"), Schema: f.Get("schema"), Symbol: f.Get("symbol"), InstrumentID: f.Get("instrument_id"), Words: f.Get("text"),
	}, nil
}
