package feed

// Message types: one struct for each layout of DBN version 3 (protocol names; sizes in bytes). They have no padding: every
// byte of a record is in a field, so that a copied struct is a copied record. Prices are in 1e-9, times in ns since 1970.

// BidAskPair is a price level (32). Counts are orders.
type BidAskPair struct {
	BidPx, AskPx Price
	BidSz, AskSz uint32
	BidCt, AskCt uint32
}

// ConsolidatedBidAskPair is a price level over several venues, and who quotes it (32).
type ConsolidatedBidAskPair struct {
	BidPx, AskPx Price
	BidSz, AskSz uint32
	BidPb        uint16 // publisher of the bid
	Reserved1    [2]byte
	AskPb        uint16 // publisher of the ask
	Reserved2    [2]byte
}

// MboMsg is one order's event, schema mbo (56).
type MboMsg struct {
	Header
	OrderID   uint64
	Price     Price
	Size      uint32
	Flags     Flags
	ChannelID uint8
	Action    Action
	Side      Side
	TsRecv    uint64
	TsInDelta int32 // ns that ts_recv lies after the venue's sending
	Sequence  uint32
}

// TradeMsg is a trade, schema trades (48).
type TradeMsg struct {
	Header
	Price     Price
	Size      uint32
	Action    Action
	Side      Side
	Flags     Flags
	Depth     uint8
	TsRecv    uint64
	TsInDelta int32
	Sequence  uint32
}

// Mbp1Msg is a change of the best level or a trade with it, schemas mbp-1 and tbbo (80).
type Mbp1Msg struct {
	Header
	Price     Price
	Size      uint32
	Action    Action
	Side      Side
	Flags     Flags
	Depth     uint8
	TsRecv    uint64
	TsInDelta int32
	Sequence  uint32
	Level     BidAskPair
}

// Mbp10Msg is a change of the ten best levels, schema mbp-10 (368).
type Mbp10Msg struct {
	Header
	Price     Price
	Size      uint32
	Action    Action
	Side      Side
	Flags     Flags
	Depth     uint8
	TsRecv    uint64
	TsInDelta int32
	Sequence  uint32
	Levels    [10]BidAskPair
}

// BboMsg is the best level at the end of an interval with the last trade in it, schemas bbo-1s and bbo-1m (80). TsRecv is
// the interval's end, TsEvent the last trade's time.
type BboMsg struct {
	Header
	Price     Price
	Size      uint32
	Reserved1 [1]byte
	Side      Side
	Flags     Flags
	Reserved2 [1]byte
	TsRecv    uint64
	Reserved3 [4]byte
	Sequence  uint32
	Level     BidAskPair
}

// Cmbp1Msg is a change of the consolidated best level, schemas cmbp-1 and tcbbo (80).
type Cmbp1Msg struct {
	Header
	Price     Price
	Size      uint32
	Action    Action
	Side      Side
	Flags     Flags
	Reserved1 [1]byte
	TsRecv    uint64
	TsInDelta int32
	Reserved2 [4]byte
	Level     ConsolidatedBidAskPair
}

// CbboMsg is the consolidated best level at the end of an interval, schemas cbbo-1s and cbbo-1m (80).
type CbboMsg struct {
	Header
	Price     Price
	Size      uint32
	Reserved1 [1]byte
	Side      Side
	Flags     Flags
	Reserved2 [1]byte
	TsRecv    uint64
	Reserved3 [8]byte
	Level     ConsolidatedBidAskPair
}

// OhlcvMsg is a bar, schemas ohlcv-1s to ohlcv-eod (56). TsEvent is the bar's start, inclusive.
type OhlcvMsg struct {
	Header
	Open, High, Low, Close Price
	Volume                 uint64
}

// StatusMsg is a change of an instrument's trading status, schema status (40).
type StatusMsg struct {
	Header
	TsRecv                uint64
	Action                StatusAction
	Reason                uint16
	TradingEvent          uint16
	IsTrading             TriState
	IsQuoting             TriState
	IsShortSellRestricted TriState
	Reserved              [7]byte
}

// ImbalanceMsg is an auction's imbalance, schema imbalance (112).
type ImbalanceMsg struct {
	Header
	TsRecv               uint64
	RefPrice             Price
	AuctionTime          uint64
	ContBookClrPrice     Price
	AuctInterestClrPrice Price
	SsrFillingPrice      Price
	IndMatchPrice        Price
	UpperCollar          Price
	LowerCollar          Price
	PairedQty            uint32
	TotalImbalanceQty    uint32
	MarketImbalanceQty   uint32
	UnpairedQty          uint32
	AuctionType          byte
	Side                 Side
	AuctionStatus        uint8
	FreezeStatus         uint8
	NumExtensions        uint8
	UnpairedSide         Side
	SignificantImbalance byte
	Reserved             [1]byte
}

// StatMsg is a statistic of a venue, schema statistics (80).
type StatMsg struct {
	Header
	TsRecv       uint64
	TsRef        uint64 // what time the value is for; UndefTimestamp: none
	Price        Price
	Quantity     int64 // UndefStatQuantity: none
	Sequence     uint32
	TsInDelta    int32
	StatType     StatType
	ChannelID    uint16
	UpdateAction uint8
	StatFlags    uint8
	Reserved     [18]byte
}
