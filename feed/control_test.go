package feed

import (
	"bytes"
	"strings"
	"testing"
)

func TestControlRecordsSayWhatTheyAreGiven(t *testing.T) {
	b := AppendSystem([]byte("x"), 7, SystemSubscriptionAck, "Subscription request 0 for mbo data succeeded")
	system, ok := View[SystemMsg](b[1:])
	if !ok || len(b) != 1+320 || system.TsEvent != 7 || system.Code != SystemSubscriptionAck || system.Text() != "Subscription request 0 for mbo data succeeded" ||
		system.PublisherID != 0 || system.InstrumentID != 0 {
		t.Errorf("system %+v", system)
	}
	b = AppendError(nil, 8, ErrorSymbolResolutionFailed, "Failed to resolve symbol X", true)
	failure, ok := View[ErrorMsg](b)
	if !ok || len(b) != 320 || failure.TsEvent != 8 || failure.Code != ErrorSymbolResolutionFailed || failure.Text() != "Failed to resolve symbol X" || failure.IsLast != 1 {
		t.Errorf("error %+v", failure)
	}
	if failure, _ := View[ErrorMsg](AppendError(nil, 8, ErrorInternal, "", false)); failure.IsLast != 0 {
		t.Errorf("error %+v", failure)
	}
	b = AppendSymbolMapping(nil, SymbolMappingFields{InstrumentID: 17, TsEvent: 9, StypeIn: STypeParent, InSymbol: "ES.FUT", StypeOut: STypeRawSymbol, OutSymbol: "ESH4",
		StartTs: 1, EndTs: UndefTimestamp})
	mapping, ok := View[SymbolMappingMsg](b)
	if !ok || len(b) != 176 || mapping.InstrumentID != 17 || mapping.TsEvent != 9 || mapping.StypeIn != STypeParent || mapping.InSymbol() != "ES.FUT" ||
		mapping.StypeOut != STypeRawSymbol || mapping.OutSymbol() != "ESH4" || mapping.StartTs != 1 || mapping.EndTs != UndefTimestamp {
		t.Errorf("mapping %+v", mapping)
	}
}

// Readers in other languages take the text up to a NUL: without one they fail.
func TestLongTextsAreCutBeforeTheirNul(t *testing.T) {
	long := strings.Repeat("ä", 200) + "z"
	for _, b := range [][]byte{
		AppendSystem(nil, 0, SystemUnset, long),
		AppendError(nil, 0, ErrorUnset, long, true),
		AppendSymbolMapping(nil, SymbolMappingFields{InSymbol: long, OutSymbol: long}),
	} {
		for _, l := range layouts {
			if l.rtypes[0] == Record(b).RType() && len(b) != l.size {
				t.Errorf("%v: %d bytes", l.rtypes[0], len(b))
			}
		}
	}
	system, _ := View[SystemMsg](AppendSystem(nil, 0, SystemUnset, long))
	failure, _ := View[ErrorMsg](AppendError(nil, 0, ErrorUnset, long, true))
	mapping, _ := View[SymbolMappingMsg](AppendSymbolMapping(nil, SymbolMappingFields{InSymbol: long, OutSymbol: long}))
	for _, c := range []struct {
		field []byte
		size  int
	}{{system.Msg[:], 302}, {failure.Err[:], 301}, {mapping.StypeInSymbol[:], 70}, {mapping.StypeOutSymbol[:], 70}} {
		n := bytes.IndexByte(c.field, 0)
		if n < c.size-1 || n > c.size || !strings.HasPrefix(long, string(c.field[:n])) || strings.ToValidUTF8(string(c.field[:n]), "") != string(c.field[:n]) {
			t.Errorf("text of %d bytes, want %d and whole characters: %q", n, c.size, c.field)
		}
	}
}
