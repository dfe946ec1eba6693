package lsg

import (
	"strings"
)

// Waiting says that nobody has published yet what was subscribed; it follows once somebody does. It travels only in band, from the server to a
// subscriber.
type Waiting struct {
	Schema string // "" when it is not about one
	Symbol string // "" when the whole schema, or the dataset, is waited for
	Words  string // the same for a person
}

// IsWaiting tells the text from other in-band ones.
func IsWaiting(text string) bool { return strings.HasPrefix(text, "waiting|") }

// ParseWaiting reads the in-band form.
func ParseWaiting(text string) (Waiting, error) {
	f, err := parseInBand("waiting", text)
	if err != nil {
		return Waiting{}, err
	}
	return Waiting{Schema: f.Get("schema"), Symbol: f.Get("symbol"), Words: f.Get("text")}, nil
}
