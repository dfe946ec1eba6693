package feed

import "unsafe"

// The compiler refuses the program when a message does not have its size in the format: the index is not 0 then.
var exact [1]struct{}

var (
	_ = exact[unsafe.Sizeof(Header{})-HeaderSize]
	_ = exact[unsafe.Sizeof(BidAskPair{})-32]
	_ = exact[unsafe.Sizeof(ConsolidatedBidAskPair{})-32]
	_ = exact[unsafe.Sizeof(MboMsg{})-56]
	_ = exact[unsafe.Sizeof(TradeMsg{})-48]
	_ = exact[unsafe.Sizeof(Mbp1Msg{})-80]
	_ = exact[unsafe.Sizeof(Mbp10Msg{})-368]
	_ = exact[unsafe.Sizeof(BboMsg{})-80]
	_ = exact[unsafe.Sizeof(Cmbp1Msg{})-80]
	_ = exact[unsafe.Sizeof(CbboMsg{})-80]
	_ = exact[unsafe.Sizeof(OhlcvMsg{})-56]
	_ = exact[unsafe.Sizeof(StatusMsg{})-40]
	_ = exact[unsafe.Sizeof(ImbalanceMsg{})-112]
	_ = exact[unsafe.Sizeof(StatMsg{})-80]
	_ = exact[unsafe.Sizeof(InstrumentDefMsg{})-520]
	_ = exact[unsafe.Sizeof(ErrorMsg{})-320]
	_ = exact[unsafe.Sizeof(SystemMsg{})-320]
	_ = exact[unsafe.Sizeof(SymbolMappingMsg{})-176]
)
