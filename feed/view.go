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
	if len(r) < HeaderSize || !isType[M](r.RType()) {
		return nil, false
	}
	if extra := r.Size() - int(unsafe.Sizeof(*new(M))); extra != 0 && extra != TsOutSize || len(r) < r.Size() {
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

// isType reports whether records of type rt have the layout M.
func isType[M Message](rt RType) bool {
	switch any((*M)(nil)).(type) {
	case *MboMsg:
		return rt == RTypeMbo
	case *TradeMsg:
		return rt == RTypeMbp0
	case *Mbp1Msg:
		return rt == RTypeMbp1
	case *Mbp10Msg:
		return rt == RTypeMbp10
	case *BboMsg:
		return rt == RTypeBbo1s || rt == RTypeBbo1m
	case *Cmbp1Msg:
		return rt == RTypeCmbp1 || rt == RTypeTcbbo
	case *CbboMsg:
		return rt == RTypeCbbo1s || rt == RTypeCbbo1m
	case *OhlcvMsg:
		return rt >= RTypeOhlcv1s && rt <= RTypeOhlcvEod || rt == RTypeOhlcvDeprecated
	case *StatusMsg:
		return rt == RTypeStatus
	case *ImbalanceMsg:
		return rt == RTypeImbalance
	case *StatMsg:
		return rt == RTypeStatistics
	case *InstrumentDefMsg:
		return rt == RTypeInstrumentDef
	case *ErrorMsg:
		return rt == RTypeError
	case *SystemMsg:
		return rt == RTypeSystem
	case *SymbolMappingMsg:
		return rt == RTypeSymbolMapping
	}
	return false
}
