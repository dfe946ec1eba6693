package gateway

import (
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// Who waits for two symbols that differ in case alone gets both, whichever comes first; and what comes back is what was asked for, also a long number in hex.
func TestSymbolsThatDifferInCaseAreWaitedForEach(t *testing.T) {
	const token = "0xdac17f958d2ee523a2206206994597c13d831ec7"
	s := serveTest(t)
	publish(t, s, "0", withMapping(metadataOf(feed.SchemaTrades), 9, "OTHER"), trade(9, 0))
	sub := sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"Ab", "aB", token}})
	eventually(t, "the session waits", func() bool { v := s.Sessions(); return len(v) == 1 && v[0].SentBytes > 128+3*320 })
	publish(t, s, "1", withMapping(metadataOf(feed.SchemaTrades), 1, "aB"), trade(1, 0))
	publish(t, s, "2", withMapping(metadataOf(feed.SchemaTrades), 2, "Ab"), trade(2, 1))
	publish(t, s, "3", withMapping(metadataOf(feed.SchemaTrades), 3, token), trade(3, 2))
	names, waited, got := map[uint32]string{}, map[string]bool{}, []string{}
	take(t, sub, func(r feed.Record) bool {
		if m, ok := feed.View[feed.SymbolMappingMsg](r); ok {
			names[m.InstrumentID] = m.OutSymbol()
		}
		if m, ok := feed.View[feed.SystemMsg](r); ok && strings.HasPrefix(m.Text(), "waiting|") {
			if w, err := lsg.ParseWaiting(m.Text()); err == nil {
				waited[w.Symbol] = true
			}
		}
		if r.RType() == feed.RTypeMbp0 {
			got = append(got, names[r.InstrumentID()])
		}
		return len(got) == 3
	})
	if strings.Join(got, ",") != "aB,Ab,"+token {
		t.Errorf("records of %q", got)
	}
	for _, symbol := range []string{"Ab", "aB", token} {
		if !waited[symbol] {
			t.Errorf("%s was asked for, and it was not told so that it is waited for: %v", symbol, waited)
		}
	}
}
