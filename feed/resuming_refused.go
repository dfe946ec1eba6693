package feed

import (
	"slices"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Refused is which subscriptions the present session refused: nothing of them comes in it. When all are, Records ends with the first of these errors.
func (r *ResumingSubscriber) Refused() (list []*SubscriptionError) {
	for _, c := range r.courses {
		if c.refused != nil {
			list = append(list, c.refused)
		}
	}
	return list
}

// unresolved takes the text of what never comes. A symbol means the same in all subscriptions of a session.
func (r *ResumingSubscriber) unresolved(text string) {
	u, ok := lsg.ParseUnresolved(text)
	if !ok {
		return
	}
	if u.Symbol != "" {
		r.never[u.Symbol] = struct{}{}
	}
	for _, c := range r.courses {
		c.takeUnresolved(u, r.never)
	}
}

// takeUnresolved takes what never comes. A subscription all of whose symbols never come is refused as if it had been told of it alone.
func (c *course) takeUnresolved(u lsg.Unresolved, symbols map[string]struct{}) {
	switch {
	case c.Ended || c.refused != nil:
		return
	case u.Symbol == "" && c.id == u.ID:
		c.refused = &SubscriptionError{Schema: c.Schema, Text: u.Reason}
		return
	case u.Symbol == "" || len(c.sub.Symbols) == 0:
		return
	}
	for _, symbol := range slices.Backward(c.sub.Symbols) { // they are told in their order: most often the last is not yet among them
		if _, ok := symbols[symbol]; !ok {
			return
		}
	}
	c.refused = &SubscriptionError{Schema: c.Schema, Text: u.Text()}
}
