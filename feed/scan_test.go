package feed

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// wire is n records of a type as they arrive.
func wire(rt RType, n int) []byte {
	var b []byte
	for range n {
		r := make([]byte, rt.RecordSize())
		r[0], r[1] = byte(len(r)/4), byte(rt)
		b = append(b, r...)
	}
	return b
}

func TestARunEndsWhereItsSchemaEnds(t *testing.T) {
	trades := wire(RTypeMbp0, 3)
	for _, c := range []struct {
		name     string
		b        []byte
		declared Schema
		schema   Schema
		n        int
	}{
		{"nothing", nil, SchemaNone, SchemaNone, 0},
		{"one byte", trades[:1], SchemaNone, SchemaNone, 0},
		{"less than a record", trades[:47], SchemaNone, SchemaTrades, 0},
		{"one record", trades[:48], SchemaNone, SchemaTrades, 48},
		{"two and a half", trades[:120], SchemaNone, SchemaTrades, 96},
		{"two and one byte", trades[:97], SchemaNone, SchemaTrades, 96},
		{"another schema", slices.Concat(trades, wire(RTypeMbp1, 1)), SchemaNone, SchemaTrades, 144},
		{"a part of another schema", slices.Concat(trades, wire(RTypeMbp1, 1)[:2]), SchemaNone, SchemaTrades, 144},
		{"a control record", slices.Concat(trades, wire(RTypeSystem, 1)), SchemaNone, SchemaTrades, 144},
		{"a control record first", slices.Concat(wire(RTypeSystem, 1), trades), SchemaNone, SchemaNone, 0},
		{"a mapping first", wire(RTypeSymbolMapping, 1), SchemaNone, SchemaNone, 0},
		{"tbbo", wire(RTypeMbp1, 2), SchemaTbbo, SchemaTbbo, 160},
		{"bars of two lengths", slices.Concat(wire(RTypeOhlcv1s, 2), wire(RTypeOhlcv1m, 1)), SchemaNone, SchemaOhlcv1s, 112},
	} {
		if schema, n, err := ScanRun(c.b, c.declared); schema != c.schema || n != c.n || err != nil {
			t.Errorf("%s: %v, %d, %v, want %v, %d", c.name, schema, n, err, c.schema, c.n)
		}
	}
}

func TestABadRecordIsNamedAndWhatIsBeforeItKept(t *testing.T) {
	bad := func(change func(r []byte)) []byte {
		r := wire(RTypeMbp0, 1)
		change(r)
		return r
	}
	for _, c := range []struct {
		name string
		r    []byte
		want error
		text string
	}{
		{"length 0", bad(func(r []byte) { r[0] = 0 }), ErrLength, "want 48 bytes of mbp-0, got 0 bytes of mbp-0"},
		{"too long by a word", bad(func(r []byte) { r[0]++ }), ErrLength, "want 48 bytes of mbp-0, got 52 bytes of mbp-0"},
		{"with ts_out", bad(func(r []byte) { r[0] += 2 }), ErrLength, "got 56 bytes"},
		{"an unknown type", bad(func(r []byte) { r[1] = 0x33 }), ErrRType, "want a known record type, got rtype 0x33"},
		{"the deprecated type", bad(func(r []byte) { r[0], r[1] = 14, 0x11 }), ErrRType, "got ohlcv-deprecated"},
		{"a system record of version 1", bad(func(r []byte) { r[0], r[1] = 20, 0x17 }), ErrLength, "want 320 bytes of system, got 80 bytes of system"},
	} {
		for _, before := range []int{0, 1, 5} {
			for _, there := range []int{2, len(c.r)} {
				b := slices.Concat(wire(RTypeMbp0, before), c.r[:there])
				_, n, err := ScanRun(b, SchemaNone)
				bad, ok := errors.AsType[*RecordError](err)
				if !ok || !errors.Is(err, c.want) || bad.Record != before || n != 48*before || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s after %d: %d, %v", c.name, before, n, err)
				}
			}
		}
	}
}

func TestUpgradeLeavesVersion3AsItIs(t *testing.T) {
	for _, l := range layouts {
		for _, rt := range l.rtypes {
			r := Record(wire(rt, 1))
			for i := HeaderSize; i < len(r); i++ {
				r[i] = byte(i * 7)
			}
			got, err := Upgrade([]byte("before"), r, 3, false)
			if err != nil || string(got) != "before"+string(r) {
				t.Errorf("%v: %v", rt, err)
			}
			if got, err = Upgrade(nil, AppendWithTsOut(nil, r, 5), 3, true); err != nil || string(got) != string(r) {
				t.Errorf("%v with ts_out: %v", rt, err)
			}
		}
	}
}

func TestUpgradeRefusesWhatDoesNotFitTheVersion(t *testing.T) {
	trade, definition := Record(wire(RTypeMbp0, 1)), Record(wire(RTypeInstrumentDef, 1))
	unknown := Record(wire(RTypeMbp0, 1))
	unknown[1] = 0x33
	for _, c := range []struct {
		name    string
		r       Record
		version uint8
		tsOut   bool
		want    error
	}{
		{"nothing", nil, 3, false, ErrShort},
		{"15 bytes", trade[:15], 3, false, ErrShort},
		{"cut", trade[:47], 3, false, ErrShort},
		{"version 0", trade, 0, false, ErrVersion},
		{"version 4", trade, 4, false, ErrVersion},
		{"unknown type", unknown, 1, false, ErrRType},
		{"ts_out that is not there", trade, 3, true, ErrLength},
		{"ts_out that was not declared", AppendWithTsOut(nil, trade, 1), 3, false, ErrLength},
		{"a definition of version 3 in version 2", definition, 2, false, ErrLength},
		{"a definition of version 3 in version 1", definition, 1, false, ErrLength},
	} {
		if got, err := Upgrade([]byte("before"), c.r, c.version, c.tsOut); !errors.Is(err, c.want) || string(got) != "before" {
			t.Errorf("%s: %q, %v, want %v", c.name, got, err, c.want)
		}
	}
}
