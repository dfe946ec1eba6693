package journal

import "testing"

// Earlier versions entered any cause that a producer named.
func TestALedgersProducersCannotBeTakenForTheJournal(t *testing.T) {
	for _, c := range []struct{ producer, cause, want string }{
		{"p", CauseCut, CauseUpstream},
		{"p", CauseExpired, CauseUpstream},
		{"p", CauseDamaged, CauseUpstream},
		{"p", CauseQuarantined, CauseUpstream},
		{"p", "maintenance", "maintenance"},
		{"ann", CauseCorrected, CauseCorrected},
		{"", CauseCut, CauseCut},
		{"", CauseExpired, CauseExpired},
	} {
		g := Gap{Schema: trades, Producer: c.producer, Stream: "s", Cause: c.cause}
		got, err := parseGap(g.append(nil))
		if err != nil || got.Cause != c.want {
			t.Errorf("an entry of %q with cause %s is read as %s, %v, want %s", c.producer, c.cause, got.Cause, err, c.want)
		}
	}
}
