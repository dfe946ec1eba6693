package feed

import (
	"encoding/binary"
	"fmt"
)

// Schema is a kind of market data; all records of one schema have one layout and one size.
type Schema uint16

// The schemas of DBN by their numbers in the metadata.
const (
	SchemaMbo Schema = iota
	SchemaMbp1
	SchemaMbp10
	SchemaTbbo
	SchemaTrades
	SchemaOhlcv1s
	SchemaOhlcv1m
	SchemaOhlcv1h
	SchemaOhlcv1d
	SchemaDefinition
	SchemaStatistics
	SchemaStatus
	SchemaImbalance
	SchemaOhlcvEod
	SchemaCmbp1
	SchemaCbbo1s
	SchemaCbbo1m
	SchemaTcbbo
	SchemaBbo1s
	SchemaBbo1m

	// NumSchemas is how many there are; valid schemas are 0 .. NumSchemas-1.
	NumSchemas = 20

	// SchemaNone in metadata says that the records are of several schemas.
	SchemaNone Schema = 0xFFFF
)

// schemaInfo is what a schema fixes; size and offsets come from its record type.
type schemaInfo struct {
	name  string
	rtype RType
	skips bool
	clock Clock
}

var schemas = [NumSchemas]schemaInfo{
	SchemaMbo:        {"mbo", RTypeMbo, false, ClockEvent},
	SchemaMbp1:       {"mbp-1", RTypeMbp1, true, ClockEvent},
	SchemaMbp10:      {"mbp-10", RTypeMbp10, true, ClockEvent},
	SchemaTbbo:       {"tbbo", RTypeMbp1, false, ClockEvent},
	SchemaTrades:     {"trades", RTypeMbp0, false, ClockEvent},
	SchemaOhlcv1s:    {"ohlcv-1s", RTypeOhlcv1s, false, ClockEvent},
	SchemaOhlcv1m:    {"ohlcv-1m", RTypeOhlcv1m, false, ClockEvent},
	SchemaOhlcv1h:    {"ohlcv-1h", RTypeOhlcv1h, false, ClockEvent},
	SchemaOhlcv1d:    {"ohlcv-1d", RTypeOhlcv1d, false, ClockEvent},
	SchemaDefinition: {"definition", RTypeInstrumentDef, false, ClockRecv},
	SchemaStatistics: {"statistics", RTypeStatistics, false, ClockEvent},
	SchemaStatus:     {"status", RTypeStatus, false, ClockEvent},
	SchemaImbalance:  {"imbalance", RTypeImbalance, false, ClockEvent},
	SchemaOhlcvEod:   {"ohlcv-eod", RTypeOhlcvEod, false, ClockEvent},
	SchemaCmbp1:      {"cmbp-1", RTypeCmbp1, true, ClockEvent},
	SchemaCbbo1s:     {"cbbo-1s", RTypeCbbo1s, true, ClockRecv},
	SchemaCbbo1m:     {"cbbo-1m", RTypeCbbo1m, true, ClockRecv},
	SchemaTcbbo:      {"tcbbo", RTypeTcbbo, false, ClockEvent},
	SchemaBbo1s:      {"bbo-1s", RTypeBbo1s, true, ClockRecv},
	SchemaBbo1m:      {"bbo-1m", RTypeBbo1m, true, ClockRecv},
}

// ParseSchema gives the schema of a standard name such as "mbp-1". ErrSchema: there is none; "none" is not one.
func ParseSchema(name string) (Schema, error) {
	for s := range schemas {
		if schemas[s].name == name {
			return Schema(s), nil
		}
	}
	return SchemaNone, fmt.Errorf("%w %q: one of mbo, mbp-1, mbp-10, tbbo, trades, ohlcv-1s, ohlcv-1m, ohlcv-1h, ohlcv-1d, ohlcv-eod, "+
		"definition, statistics, status, imbalance, cmbp-1, cbbo-1s, cbbo-1m, tcbbo, bbo-1s, bbo-1m", ErrSchema, name)
}

// Valid reports whether s is a schema of its own; SchemaNone is not.
func (s Schema) Valid() bool { return s < NumSchemas }

// String is the standard name; "none" for SchemaNone, "schema N" for an unknown number.
func (s Schema) String() string {
	switch {
	case s.Valid():
		return schemas[s].name
	case s == SchemaNone:
		return "none"
	}
	return fmt.Sprintf("schema %d", uint16(s))
}

// RType is the record type of the schema's records. s must be valid, as for the methods below; they panic otherwise.
func (s Schema) RType() RType { return schemas[s].rtype }

// RecordSize is the size in bytes of each v3 record of the schema, without ts_out.
func (s Schema) RecordSize() int { return s.RType().RecordSize() }

// TsRecvOffset is where ts_recv lies in a record of the schema, in bytes from the record's start; -1 where it has none.
func (s Schema) TsRecvOffset() int { return s.RType().TsRecvOffset() }

// ReplayClock is the clock by which start= and end= select records that do not say otherwise, see ReplayTime: ts_recv for definitions and for the sampled BBO
// and CBBO schemas, whose ts_event is the last trade's, and ts_event for all others.
func (s Schema) ReplayClock() Clock { return schemas[s].clock }

// FlagsOffset is where the flags lie in a record of the schema, in bytes from the record's start; -1 where it has none.
func (s Schema) FlagsOffset() int {
	if off := int(rtypes[s.RType()].flags); off != 0 {
		return off
	}
	return -1
}

// ReplayTime is the time in ns by which start= and end= select a record of the schema: ts_recv for definitions, BBO, CBBO and records with the SNAPSHOT flag
// (those of a midnight carry the times at which their orders came), else ts_event. Where that one is undefined it is the other one; UndefTimestamp when both are.
func (s Schema) ReplayTime(r Record) uint64 {
	event, recv := r.TsEvent(), UndefTimestamp
	if off := s.TsRecvOffset(); off >= 0 {
		recv = binary.LittleEndian.Uint64(r[off:])
	}
	byRecv := schemas[s].clock == ClockRecv || event == UndefTimestamp
	if off := s.FlagsOffset(); off >= 0 {
		byRecv = byRecv || Flags(r[off])&FlagSnapshot != 0
	}
	if byRecv && recv != UndefTimestamp {
		return recv
	}
	return event
}

// SkipsWhenSlow is what a slow reader gets who asked for nothing else: true where the newest record replaces the older
// ones (book state), false where losing one record would lose information.
func (s Schema) SkipsWhenSlow() bool { return schemas[s].skips }
