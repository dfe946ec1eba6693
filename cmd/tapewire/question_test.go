package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// What is there is not called missing because a session that has ended did not see it: it came meanwhile, or lies outside of what that asked for.
func TestAQuestionFindsWhatIsThereAndNothingElse(t *testing.T) {
	addr := startGateway(t)
	bare := filepath.Join(t.TempDir(), "bare.dbn")
	if err := os.WriteFile(bare, namelessTrades("TEST.ONE", 7, 3), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, errors := tapewire(t.Context(), "publish", "--gateway", addr, tradesFile(t, 12), bare); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	ask := func(dataset string, schemas []string, about ...lsg.Waiting) (u unheard) {
		t.Helper()
		for _, w := range about {
			u.wait(w)
		}
		u.tie("AB")
		if err := u.question(t.Context(), feed.SubscriberConfig{Addr: addr, Dataset: dataset}, schemas); err != nil {
			t.Fatal(err)
		}
		return u
	}
	all := []lsg.Waiting{
		{Schema: "trades"}, {Schema: "mbo"}, {Schema: "trades", Symbol: "ALFA"}, {Schema: "mbo", Symbol: "NOPE"}, {InstrumentID: "1"}, {InstrumentID: "7"}, {InstrumentID: "99"},
	}
	u := ask("TEST.ONE", []string{"trades", "mbo"}, all...)
	if !slices.Equal(slices.Collect(maps.Keys(u.Symbols)), []string{"NOPE"}) || !slices.Equal(slices.Collect(maps.Keys(u.IDs)), []uint32{99}) ||
		!slices.Equal(slices.Collect(maps.Values(u.Schemas)), []string{"mbo"}) || !slices.Equal(u.Ties, []string{"AB"}) {
		t.Errorf("of some that is there: %+v", u)
	}
	if u := ask("NO.SUCH", []string{"trades", "mbo"}, all...); len(u.Symbols) != 2 || len(u.IDs) != 3 || len(u.Schemas) != 2 {
		t.Errorf("of a dataset that is not there: %+v", u)
	}
	for _, only := range all[:3] {
		if u := ask("TEST.ONE", []string{"trades", "mbo"}, only); u.open() != btoi(only.Schema == "mbo") {
			t.Errorf("of %+v alone: %+v", only, u)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
