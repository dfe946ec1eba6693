package lsg

import (
	"strconv"
	"strings"
)

// Unresolved is the text of an error record of code 4: a subscription, or one of its symbols, that never comes. The rest of the session goes on.
type Unresolved struct {
	ID     uint64 // of the subscription, where Symbol is ""
	Symbol string // the one that does not come; "": the whole subscription
	Reason string
}

const (
	unresolvedRequest = "Failed to resolve symbols of subscription request "
	unresolvedSymbol  = "Failed to resolve symbol '"
)

// Text returns the text.
func (u Unresolved) Text() string {
	if u.Symbol != "" {
		return unresolvedSymbol + u.Symbol + "': " + u.Reason
	}
	return unresolvedRequest + strconv.FormatUint(u.ID, 10) + ": " + u.Reason
}

// ParseUnresolved reads the text; false: it is another server's.
func ParseUnresolved(text string) (Unresolved, bool) {
	if rest, ok := strings.CutPrefix(text, unresolvedSymbol); ok {
		symbol, reason, ok := strings.Cut(rest, "': ")
		return Unresolved{Symbol: symbol, Reason: reason}, ok && symbol != ""
	}
	rest, ok := strings.CutPrefix(text, unresolvedRequest)
	if !ok {
		return Unresolved{}, false
	}
	number, reason, ok := strings.Cut(rest, ": ")
	id, err := strconv.ParseUint(number, 10, 64)
	return Unresolved{ID: id, Reason: reason}, ok && err == nil
}

// Ambiguous is a symbol that several symbols share but for case: none of them is meant.
func Ambiguous(symbol string, candidates []string) Unresolved {
	const most = 4
	list := strings.Join(candidates[:min(most, len(candidates))], ", ")
	if len(candidates) > most {
		list += " and others"
	}
	return Unresolved{Symbol: symbol, Reason: list + " differ in case alone; ask for one of them as it is written"}
}
