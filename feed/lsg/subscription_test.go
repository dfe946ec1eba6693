package lsg

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The lines are those that the clients send, byte by byte.
func TestEachClientsSubscriptionIsUnderstood(t *testing.T) {
	const ns = 1767323045000000000 // 2026-01-02T03:04:05Z
	for line, want := range map[string]Subscription{
		// Python
		"schema=trades|stype_in=raw_symbol|symbols=MSFT,AAPL|start=1767323045000000000|snapshot=0|id=0|is_last=1": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"MSFT", "AAPL"}, Start: ns, HasStart: true, IsLast: true},
		"schema=mbo|stype_in=parent|symbols=ES.FUT|snapshot=1|is_last=0": {
			Schema: "mbo", StypeIn: "parent", Symbols: []string{"ES.FUT"}, Snapshot: true},
		// Rust
		"schema=mbp-1|stype_in=continuous|symbols=ES.c.0|snapshot=0|is_last=1|start=0|id=3": {
			Schema: "mbp-1", StypeIn: "continuous", Symbols: []string{"ES.c.0"}, HasStart: true, IsLast: true, ID: 3},
		"schema=ohlcv-1s|stype_in=raw_symbol|symbols=ALL_SYMBOLS|snapshot=0|is_last=1": {
			Schema: "ohlcv-1s", StypeIn: "raw_symbol", IsLast: true},
		// C++: a number as start comes before the id, a text after it
		"schema=trades|stype_in=raw_symbol|start=1767323045000000000|id=1|symbols=MSFT|snapshot=0|is_last=1": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"MSFT"}, Start: ns, HasStart: true, IsLast: true, ID: 1},
		"schema=trades|stype_in=raw_symbol|id=1|start=2026-01-02T03:04:05Z|symbols=MSFT|snapshot=0|is_last=1": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"MSFT"}, Start: ns, HasStart: true, IsLast: true, ID: 1},
		// dbn-go
		"schema=trades|stype_in=raw_symbol|symbols=SPY   240119C00480000": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"SPY   240119C00480000"}, IsLast: true},
		"schema=mbo|stype_in=instrument_id|start=1767323045000000000|snapshot=0|symbols=1,2,3": {
			Schema: "mbo", StypeIn: "instrument_id", Symbols: []string{"1", "2", "3"}, Start: ns, HasStart: true, IsLast: true},
		// any order, least fields, ours
		"symbols=X|schema=trades\r": {Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"X"}, IsLast: true},
		"schema=trades|symbols=X|resume=7:123": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"X"}, IsLast: true, Resume: Position{Epoch: 7, Seq: 123}, HasResume: true},
		"end=2026-01-02T03:04:05Z|schema=trades|symbols=X|start=20260102": {
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"X"}, IsLast: true,
			Start: 1767312000000000000, HasStart: true, End: ns, HasEnd: true},
		"resume=7:123|schema=trades|symbols=X|end=020260102": { // ns that look like a date are written so that they are none
			Schema: "trades", StypeIn: "raw_symbol", Symbols: []string{"X"}, IsLast: true, Resume: Position{Epoch: 7, Seq: 123}, HasResume: true,
			End: 20260102, HasEnd: true},
	} {
		got, err := ParseSubscription(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", line, got, err, want)
			continue
		}
		if !IsSubscription(line) || IsStartSession(line) {
			t.Errorf("%s: taken for another kind of line", line)
		}
		again, err := got.Append(nil)
		if err != nil {
			t.Errorf("%s: Append: %v", line, err)
		} else if back, err := ParseSubscription(strings.TrimSuffix(string(again), "\n")); err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("%q reads back as %+v, %v", again, back, err)
		}
	}
}

func TestEachClientsStartSessionIsUnderstood(t *testing.T) {
	for _, line := range []string{"start_session=0", "start_session", "start_session=", "start_session\r"} {
		if !IsStartSession(line) || IsSubscription(line) {
			t.Errorf("%q does not start the session", line)
		}
	}
	for _, line := range []string{"", "start=5|schema=trades|symbols=X", "session_start"} {
		if IsStartSession(line) {
			t.Errorf("%q starts the session", line)
		}
	}
}

func TestBadSubscriptionsAreRefusedByField(t *testing.T) {
	for line, c := range map[string]struct {
		want error
		name string
	}{
		"symbols=X":                                                  {ErrMissing, "schema"},
		"schema=trades":                                              {ErrMissing, "symbols"},
		"schema=trades|symbols=":                                     {ErrMissing, "symbols"},
		"schema=trades|symbols=A,,B":                                 {ErrValue, "empty symbol"},
		"schema=trades|symbols=A,ALL_SYMBOLS":                        {ErrValue, "ALL_SYMBOLS"},
		"schema=trades|symbols=X|start=":                             {ErrTime, "start"},
		"schema=trades|symbols=X|start=tomorrow":                     {ErrTime, "start"},
		"schema=trades|symbols=X|start=1|snapshot=1":                 {ErrValue, "exclude"},
		"schema=trades|symbols=X|start=1|resume=1:2":                 {ErrValue, "exclude"},
		"schema=trades|symbols=X|start=20260102|end=20260102":        {ErrValue, "does not lie after"},
		"schema=trades|symbols=X|end=0":                              {ErrValue, "does not lie after"},
		"schema=trades|symbols=X|end=tomorrow":                       {ErrTime, "end"},
		"schema=trades|symbols=X|snapshot=2":                         {ErrValue, "snapshot"},
		"schema=trades|symbols=X|is_last=":                           {ErrValue, "is_last"},
		"schema=trades|symbols=X|id=one":                             {ErrValue, "id"},
		"schema=trades|symbols=X|resume=12":                          {ErrValue, "resume"},
		"schema=trades|symbols=" + strings.Repeat("X", 71):           {ErrTooLong, "70"},
		"schema=trades|symbols=" + strings.Repeat("X,", 1<<16) + "X": {ErrTooLong, "65536"},
	} {
		_, err := ParseSubscription(line)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%.60s: got %v, want %v naming %s", line, err, c.want, c.name)
		}
	}
}

func TestCommaInASymbolIsRefusedNotSplit(t *testing.T) {
	if _, err := (Subscription{Schema: "trades", Symbols: []string{"A,B"}}).Append(nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
}

func TestAWholeExchangeFitsOneLine(t *testing.T) {
	symbols := make([]string, 12_000)
	for i := range symbols {
		symbols[i] = fmt.Sprintf("SYMBOL%06d", i)
	}
	line, err := Subscription{Schema: "trades", Symbols: symbols, IsLast: true}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	cut, _, err := CutLine(line)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSubscription(string(cut))
	if err != nil || !reflect.DeepEqual(got.Symbols, symbols) {
		t.Errorf("%d symbols came back, %v", len(got.Symbols), err)
	}
}
