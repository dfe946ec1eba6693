package feed

import (
	"errors"
	"testing"
)

func TestSchemasHaveTheirStandardNumbersAndNames(t *testing.T) {
	names := []string{"mbo", "mbp-1", "mbp-10", "tbbo", "trades", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "definition", "statistics", "status",
		"imbalance", "ohlcv-eod", "cmbp-1", "cbbo-1s", "cbbo-1m", "tcbbo", "bbo-1s", "bbo-1m"}
	if len(names) != NumSchemas {
		t.Fatal(len(names))
	}
	skips := map[string]bool{"mbp-1": true, "mbp-10": true, "bbo-1s": true, "bbo-1m": true, "cmbp-1": true, "cbbo-1s": true, "cbbo-1m": true}
	recv := map[string]bool{"definition": true, "bbo-1s": true, "bbo-1m": true, "cbbo-1s": true, "cbbo-1m": true}
	for i, name := range names {
		s, err := ParseSchema(name)
		if err != nil || int(s) != i || s.String() != name || !s.Valid() {
			t.Errorf("%s: %d, %v, %v", name, s, s, err)
		}
		if s.SkipsWhenSlow() != skips[name] || (s.ReplayClock() == ClockRecv) != recv[name] {
			t.Errorf("%s: skips %v, clock %v", name, s.SkipsWhenSlow(), s.ReplayClock())
		}
		if routed, ok := SchemaOf(s.RType(), s); !ok || routed != s || s.RecordSize()%8 != 0 || s.RecordSize() == 0 {
			t.Errorf("%s: a record of type %v goes to %v", name, s.RType(), routed)
		}
	}
	for _, name := range []string{"", "none", "MBO", "mbp", "ohlcv"} {
		if s, err := ParseSchema(name); !errors.Is(err, ErrSchema) || s != SchemaNone {
			t.Errorf("%q: %v, %v", name, s, err)
		}
	}
	if SchemaNone.Valid() || SchemaNone.String() != "none" || Schema(20).Valid() || Schema(20).String() != "schema 20" {
		t.Error("a schema that is none passes for one")
	}
}

func TestRecordsAreRoutedByTypeAndDeclaredSchema(t *testing.T) {
	for _, c := range []struct {
		rt       RType
		declared Schema
		want     Schema
	}{
		{RTypeMbp1, SchemaNone, SchemaMbp1},
		{RTypeMbp1, SchemaMbp1, SchemaMbp1},
		{RTypeMbp1, SchemaTbbo, SchemaTbbo},
		{RTypeMbp0, SchemaTbbo, SchemaTrades},
		{RTypeTcbbo, SchemaNone, SchemaTcbbo},
		{RTypeOhlcvDeprecated, SchemaOhlcv1m, SchemaNone},
		{RTypeError, SchemaNone, SchemaNone},
		{RTypeSymbolMapping, SchemaNone, SchemaNone},
		{RTypeSystem, SchemaTrades, SchemaNone},
		{0x02, SchemaTrades, SchemaNone},
	} {
		if got, ok := SchemaOf(c.rt, c.declared); got != c.want || ok != (c.want != SchemaNone) {
			t.Errorf("%v declared as %v: %v, %v, want %v", c.rt, c.declared, got, ok, c.want)
		}
	}
	for rt := range 256 {
		control := rt >= 0x15 && rt <= 0x17
		if RType(rt).IsControl() != control {
			t.Errorf("%v: control is %v", RType(rt), !control)
		}
	}
}

func TestSymbologyTypesHaveTheirStandardNumbersAndNames(t *testing.T) {
	for i, name := range []string{"instrument_id", "raw_symbol", "smart", "continuous", "parent", "nasdaq_symbol", "cms_symbol", "isin", "us_code", "bbg_comp_id",
		"bbg_comp_ticker", "figi", "figi_ticker", "listing_id", "issuer_id", "security_id"} {
		if st, err := ParseSType(name); err != nil || int(st) != i || st.String() != name || !st.Valid() {
			t.Errorf("%s: %d, %v, %v", name, st, st, err)
		}
	}
	for name, want := range map[string]SType{"native": STypeRawSymbol, "product_id": STypeInstrumentID} {
		if st, err := ParseSType(name); err != nil || st != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if st, err := ParseSType("none"); !errors.Is(err, ErrSType) || st != STypeNone || st.Valid() || st.String() != "none" || SType(16).Valid() {
		t.Errorf("none: %v, %v", st, err)
	}
}
