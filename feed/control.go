package feed

// Room for texts in control records, in bytes; one of them stays a NUL.
const (
	errorTextSize  = 302
	systemTextSize = 303
)

// ErrorMsg tells of an error in the session (320).
type ErrorMsg struct {
	Header
	Err    [errorTextSize]byte
	Code   ErrorCode
	IsLast uint8 // 1: the last of a series; 0: more follow
}

// Text is the message; it allocates.
func (m *ErrorMsg) Text() string { return CString(m.Err[:]) }

// SystemMsg is a notice about the session (320).
type SystemMsg struct {
	Header
	Msg  [systemTextSize]byte
	Code SystemCode
}

// Text is the message; it allocates.
func (m *SystemMsg) Text() string { return CString(m.Msg[:]) }

// SymbolMappingMsg says which symbol an instrument id stands for (176): StypeOutSymbol is the one to show, StypeInSymbol the
// one asked for.
type SymbolMappingMsg struct {
	Header
	StypeIn        SType
	StypeInSymbol  [symbolFieldSize]byte
	StypeOut       SType
	StypeOutSymbol [symbolFieldSize]byte
	StartTs        uint64 // ns; UndefTimestamp: open
	EndTs          uint64 // ns; UndefTimestamp: open
}

// InSymbol is the symbol that was asked for; it allocates.
func (m *SymbolMappingMsg) InSymbol() string { return CString(m.StypeInSymbol[:]) }

// OutSymbol is the symbol of the instrument; it allocates.
func (m *SymbolMappingMsg) OutSymbol() string { return CString(m.StypeOutSymbol[:]) }

// AppendSystem appends a system record of 320 bytes at time ts (ns). The text is cut to 302 bytes.
func AppendSystem(dst []byte, ts uint64, code SystemCode, text string) []byte {
	var m SystemMsg
	Init(&m, RTypeSystem)
	m.TsEvent, m.Code = ts, code
	setText(m.Msg[:], text)
	return append(dst, Bytes(&m)...)
}

// AppendError appends an error record of 320 bytes at time ts (ns); last: no more of the same series follow. The text is
// cut to 301 bytes.
func AppendError(dst []byte, ts uint64, code ErrorCode, text string, last bool) []byte {
	var m ErrorMsg
	Init(&m, RTypeError)
	m.TsEvent, m.Code = ts, code
	if last {
		m.IsLast = 1
	}
	setText(m.Err[:], text)
	return append(dst, Bytes(&m)...)
}

// SymbolMappingFields is what a symbol mapping record says. Symbols are at most MaxSymbolLen bytes and cut there.
type SymbolMappingFields struct {
	InstrumentID   uint32
	TsEvent        uint64 // ns
	StypeIn        SType
	InSymbol       string
	StypeOut       SType
	OutSymbol      string
	StartTs, EndTs uint64 // ns; UndefTimestamp: open
}

// AppendSymbolMapping appends a symbol mapping record of 176 bytes.
func AppendSymbolMapping(dst []byte, f SymbolMappingFields) []byte {
	var m SymbolMappingMsg
	Init(&m, RTypeSymbolMapping)
	m.InstrumentID, m.TsEvent = f.InstrumentID, f.TsEvent
	m.StypeIn, m.StypeOut = f.StypeIn, f.StypeOut
	setText(m.StypeInSymbol[:], f.InSymbol)
	setText(m.StypeOutSymbol[:], f.OutSymbol)
	m.StartTs, m.EndTs = f.StartTs, f.EndTs
	return append(dst, Bytes(&m)...)
}
