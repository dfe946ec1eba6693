package feed

import "unsafe"

// Message is any of the DBN version 3 record layouts.
type Message interface {
	MboMsg | TradeMsg | Mbp1Msg | Mbp10Msg | BboMsg | Cmbp1Msg | CbboMsg | OhlcvMsg |
		StatusMsg | ImbalanceMsg | StatMsg | InstrumentDefMsg | ErrorMsg | SystemMsg | SymbolMappingMsg
}

// View gives r as the message type M, in place: no copy, so a change of either is a change of both, and the view is good as
// long as r. It is false when r's type is not one that M stands for, or when r does not hold the v3 size of its type, with
// or without ts_out. r need not be aligned.
func View[M Message](r Record) (*M, bool) {
	var none *M
	size := int(unsafe.Sizeof(*none))
	if len(r) < size || messages[r[offRType]] != any(none) {
		return nil, false
	}
	if got := r.Size(); got != size && got != size+TsOutSize || got > len(r) {
		return nil, false
	}
	return (*M)(unsafe.Pointer(unsafe.SliceData(r))), true
}

// Bytes gives the message as a record, in place: no copy. The record's length byte is whatever Init or the sender set.
func Bytes[M Message](m *M) Record {
	return unsafe.Slice((*byte)(unsafe.Pointer(m)), unsafe.Sizeof(*m))
}

// Init fills the length and the type of a message's header, which a new message lacks. rt is one that M stands for.
func Init[M Message](m *M, rt RType) {
	h := Bytes(m)
	h[0] = byte(unsafe.Sizeof(*m) / lengthUnit)
	h[offRType] = byte(rt)
}

// messages gives the message of each record type as a nil pointer to it; nil for an unknown type. Comparing two of them
// compares types, for which a type switch over all messages takes several times as long.
var messages = [256]any{
	RTypeMbo:             (*MboMsg)(nil),
	RTypeMbp0:            (*TradeMsg)(nil),
	RTypeMbp1:            (*Mbp1Msg)(nil),
	RTypeMbp10:           (*Mbp10Msg)(nil),
	RTypeBbo1s:           (*BboMsg)(nil),
	RTypeBbo1m:           (*BboMsg)(nil),
	RTypeCmbp1:           (*Cmbp1Msg)(nil),
	RTypeTcbbo:           (*Cmbp1Msg)(nil),
	RTypeCbbo1s:          (*CbboMsg)(nil),
	RTypeCbbo1m:          (*CbboMsg)(nil),
	RTypeOhlcvDeprecated: (*OhlcvMsg)(nil),
	RTypeOhlcv1s:         (*OhlcvMsg)(nil),
	RTypeOhlcv1m:         (*OhlcvMsg)(nil),
	RTypeOhlcv1h:         (*OhlcvMsg)(nil),
	RTypeOhlcv1d:         (*OhlcvMsg)(nil),
	RTypeOhlcvEod:        (*OhlcvMsg)(nil),
	RTypeStatus:          (*StatusMsg)(nil),
	RTypeImbalance:       (*ImbalanceMsg)(nil),
	RTypeStatistics:      (*StatMsg)(nil),
	RTypeInstrumentDef:   (*InstrumentDefMsg)(nil),
	RTypeError:           (*ErrorMsg)(nil),
	RTypeSystem:          (*SystemMsg)(nil),
	RTypeSymbolMapping:   (*SymbolMappingMsg)(nil),
}
