package feed

import "fmt"

// RType is the record type in a record's header. It fixes the record's layout for a DBN version.
type RType uint8

// The record types of DBN. RTypeMbp1 stands for both mbp-1 and tbbo records; RTypeOhlcvDeprecated was written before each
// bar length had a type of its own, and says too little to be stored.
const (
	RTypeMbp0            RType = 0x00 // trades
	RTypeMbp1            RType = 0x01 // mbp-1 and tbbo
	RTypeMbp10           RType = 0x0A
	RTypeOhlcvDeprecated RType = 0x11
	RTypeStatus          RType = 0x12
	RTypeInstrumentDef   RType = 0x13
	RTypeImbalance       RType = 0x14
	RTypeError           RType = 0x15
	RTypeSymbolMapping   RType = 0x16
	RTypeSystem          RType = 0x17
	RTypeStatistics      RType = 0x18
	RTypeOhlcv1s         RType = 0x20
	RTypeOhlcv1m         RType = 0x21
	RTypeOhlcv1h         RType = 0x22
	RTypeOhlcv1d         RType = 0x23
	RTypeOhlcvEod        RType = 0x24
	RTypeMbo             RType = 0xA0
	RTypeCmbp1           RType = 0xB1
	RTypeCbbo1s          RType = 0xC0
	RTypeCbbo1m          RType = 0xC1
	RTypeTcbbo           RType = 0xC2
	RTypeBbo1s           RType = 0xC3
	RTypeBbo1m           RType = 0xC4
)

// rtypeInfo is what a record type fixes.
type rtypeInfo struct {
	name   string
	size   uint16 // bytes of the v3 record without ts_out; 0: unknown type
	tsRecv uint8  // offset of ts_recv; 0: none
	flags  uint8  // offset of the flags; 0: none
	schema Schema // SchemaNone: not a data record that can be stored
}

// rtypes is indexed by every possible type byte, so that a look-up needs no bounds check.
var rtypes = func() (t [256]rtypeInfo) {
	for i := range t {
		t[i].schema = SchemaNone
	}
	t[RTypeMbp0] = rtypeInfo{"mbp-0", 48, 32, 30, SchemaTrades}
	t[RTypeMbp1] = rtypeInfo{"mbp-1", 80, 32, 30, SchemaMbp1}
	t[RTypeMbp10] = rtypeInfo{"mbp-10", 368, 32, 30, SchemaMbp10}
	t[RTypeOhlcvDeprecated] = rtypeInfo{"ohlcv-deprecated", 56, 0, 0, SchemaNone}
	t[RTypeStatus] = rtypeInfo{"status", 40, 16, 0, SchemaStatus}
	t[RTypeInstrumentDef] = rtypeInfo{"instrument-def", 520, 16, 0, SchemaDefinition}
	t[RTypeImbalance] = rtypeInfo{"imbalance", 112, 16, 0, SchemaImbalance}
	t[RTypeError] = rtypeInfo{"error", 320, 0, 0, SchemaNone}
	t[RTypeSymbolMapping] = rtypeInfo{"symbol-mapping", 176, 0, 0, SchemaNone}
	t[RTypeSystem] = rtypeInfo{"system", 320, 0, 0, SchemaNone}
	t[RTypeStatistics] = rtypeInfo{"statistics", 80, 16, 0, SchemaStatistics}
	t[RTypeOhlcv1s] = rtypeInfo{"ohlcv-1s", 56, 0, 0, SchemaOhlcv1s}
	t[RTypeOhlcv1m] = rtypeInfo{"ohlcv-1m", 56, 0, 0, SchemaOhlcv1m}
	t[RTypeOhlcv1h] = rtypeInfo{"ohlcv-1h", 56, 0, 0, SchemaOhlcv1h}
	t[RTypeOhlcv1d] = rtypeInfo{"ohlcv-1d", 56, 0, 0, SchemaOhlcv1d}
	t[RTypeOhlcvEod] = rtypeInfo{"ohlcv-eod", 56, 0, 0, SchemaOhlcvEod}
	t[RTypeMbo] = rtypeInfo{"mbo", 56, 40, 36, SchemaMbo}
	t[RTypeCmbp1] = rtypeInfo{"cmbp-1", 80, 32, 30, SchemaCmbp1}
	t[RTypeCbbo1s] = rtypeInfo{"cbbo-1s", 80, 32, 30, SchemaCbbo1s}
	t[RTypeCbbo1m] = rtypeInfo{"cbbo-1m", 80, 32, 30, SchemaCbbo1m}
	t[RTypeTcbbo] = rtypeInfo{"tcbbo", 80, 32, 30, SchemaTcbbo}
	t[RTypeBbo1s] = rtypeInfo{"bbo-1s", 80, 32, 30, SchemaBbo1s}
	t[RTypeBbo1m] = rtypeInfo{"bbo-1m", 80, 32, 30, SchemaBbo1m}
	return t
}()

// IsControl reports whether records of this type speak about the session and not about the market: error, symbol mapping
// and system records. They are never stored on a tape and never counted.
func (rt RType) IsControl() bool { return rt >= RTypeError && rt <= RTypeSystem }

// Known reports whether DBN has this type, the deprecated one included.
func (rt RType) Known() bool { return rtypes[rt].size != 0 }

// RecordSize is the size in bytes of a v3 record of this type without ts_out; 0 for an unknown type.
func (rt RType) RecordSize() int { return int(rtypes[rt].size) }

// TsRecvOffset is where ts_recv lies in a record of this type, in bytes from the record's start; -1 where it has none.
func (rt RType) TsRecvOffset() int {
	if off := int(rtypes[rt].tsRecv); off != 0 {
		return off
	}
	return -1
}

// String is the standard name, such as "mbp-0"; "rtype 0xNN" for an unknown one.
func (rt RType) String() string {
	if rt.Known() {
		return rtypes[rt].name
	}
	return fmt.Sprintf("rtype 0x%02X", uint8(rt))
}

// SchemaOf routes a data record: the schema whose tape holds records of type rt when the metadata declared the given
// schema. Type 0x01 is mbp-1 unless tbbo was declared. It is false for control records, for unknown types and for the
// deprecated 0x11, which does not say its bar length.
func SchemaOf(rt RType, declared Schema) (Schema, bool) {
	s := rtypes[rt].schema
	if declared == SchemaTbbo && rt == RTypeMbp1 {
		s = SchemaTbbo
	}
	return s, s != SchemaNone
}
