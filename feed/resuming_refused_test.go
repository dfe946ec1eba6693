package feed

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed/lsg"
)

// refusingPeer reads two subscriptions and answers each session with one text of what never comes, or several, and a record; the first session is lost.
func refusingPeer(t *testing.T, sessions ...[]lsg.Unresolved) (addr string) {
	return servePeers(t, func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		if _, err := p.in.line(); err != nil {
			return err
		}
		if err := lineAndMetadata(p); err != nil {
			return err
		}
		var b []byte
		for _, u := range sessions[p.nth] {
			b = AppendError(b, 1, ErrorSymbolResolutionFailed, u.Text(), true)
		}
		b = slices.Concat(b, testTrades(1, p.nth+1))
		if p.nth == len(sessions)-1 {
			b = append(b, told("over")...)
		}
		if _, err := p.conn.Write(b); err != nil || p.nth < len(sessions)-1 {
			return err
		}
		return p.gone()
	})
}

func twoSchemas(addr string) ResumingSubscriberConfig {
	cfg := resumingConfig(addr, Subscription{Schema: SchemaTrades, SType: STypeRawSymbol, Symbols: []string{"A", "BB"}})
	cfg.Subscriptions = append(cfg.Subscriptions, Subscription{Schema: SchemaMbo, SType: STypeRawSymbol, Symbols: []string{"BB"}})
	return cfg
}

func TestOneRefusedSubscriptionLeavesTheOthers(t *testing.T) {
	refusal := lsg.Unresolved{ID: 2, Reason: "not served"}
	got, r, err := receive(t, twoSchemas(refusingPeer(t, []lsg.Unresolved{refusal}, []lsg.Unresolved{refusal})))
	if err != nil {
		t.Fatal(err)
	}
	wantReceived(t, got, "1", "2")
	if list := r.Refused(); len(list) != 1 || list[0].Schema != "mbo" || list[0].Text != "not served" {
		t.Errorf("refused: %v", list)
	}
}

func TestASubscriptionThatAnotherSessionServesIsNoLongerRefused(t *testing.T) {
	_, r, err := receive(t, twoSchemas(refusingPeer(t, []lsg.Unresolved{{ID: 2, Reason: "not served"}}, nil)))
	if err != nil || len(r.Refused()) != 0 {
		t.Errorf("%v, refused: %v", err, r.Refused())
	}
}

func TestWhatIsRefusedAsAWholeEndsAndIsNotTriedAgain(t *testing.T) {
	ambiguous := func(symbol string) lsg.Unresolved { return lsg.Ambiguous(symbol, []string{"bB", "Bb"}) }
	for what, texts := range map[string][]lsg.Unresolved{
		"both":                        {{ID: 1, Reason: "not served"}, {ID: 2, Reason: "not served"}},
		"one, and the other's symbol": {{ID: 1, Reason: "not served"}, ambiguous("BB")},
		"each symbol":                 {ambiguous("A"), ambiguous("BB"), ambiguous("BB")},
	} {
		t.Run(what, func(t *testing.T) {
			_, _, err := receive(t, twoSchemas(refusingPeer(t, texts)))
			var refused *SubscriptionError
			if !errors.As(err, &refused) || refused.Schema != "trades" || !IsFinal(err) {
				t.Errorf("%v, want the refusal", err)
			}
		})
	}
}

func TestASymbolThatIsRefusedLeavesTheOthers(t *testing.T) {
	ambiguous := lsg.Ambiguous("BB", []string{"bB", "Bb"})
	got, r, err := receive(t, twoSchemas(refusingPeer(t, []lsg.Unresolved{ambiguous}))) // A can come
	if err != nil || len(r.Refused()) != 1 || r.Refused()[0].Schema != "mbo" || !strings.Contains(r.Refused()[0].Text, "bB, Bb") {
		t.Errorf("%v: %v, refused %v", err, got, r.Refused())
	}
	wantReceived(t, got, "1")
}
