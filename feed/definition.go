package feed

// InstrumentDefMsg describes an instrument, schema definition (520). Texts are NUL-padded; read them with CString.
// The leg fields describe one leg of a strategy when LegCount is not 0.
type InstrumentDefMsg struct {
	Header
	TsRecv                   uint64
	MinPriceIncrement        Price
	DisplayFactor            int64 // 1e-9
	Expiration               uint64
	Activation               uint64
	HighLimitPrice           Price
	LowLimitPrice            Price
	MaxPriceVariation        Price
	UnitOfMeasureQty         int64 // 1e-9: the lot, what a size of 1 is worth in units of measure
	MinPriceIncrementAmount  Price
	PriceRatio               int64 // 1e-9
	StrikePrice              Price
	RawInstrumentID          uint64
	LegPrice                 Price
	LegDelta                 int64 // 1e-9
	InstAttribValue          int32
	UnderlyingID             uint32
	MarketDepthImplied       int32
	MarketDepth              int32
	MarketSegmentID          uint32
	MaxTradeVol              uint32
	MinLotSize               int32
	MinLotSizeBlock          int32
	MinLotSizeRoundLot       int32
	MinTradeVol              uint32
	ContractMultiplier       int32
	DecayQuantity            int32
	OriginalContractSize     int32
	LegInstrumentID          uint32
	LegRatioPriceNumerator   int32
	LegRatioPriceDenominator int32
	LegRatioQtyNumerator     int32
	LegRatioQtyDenominator   int32
	LegUnderlyingID          uint32
	ApplID                   int16
	MaturityYear             uint16
	DecayStartDate           uint16
	ChannelID                uint16
	LegCount                 uint16
	LegIndex                 uint16
	Currency                 [4]byte
	SettlCurrency            [4]byte
	Secsubtype               [6]byte
	RawSymbol                [symbolFieldSize]byte
	Group                    [21]byte
	Exchange                 [5]byte
	Asset                    [11]byte
	Cfi                      [7]byte
	SecurityType             [7]byte
	UnitOfMeasure            [31]byte
	Underlying               [21]byte
	StrikePriceCurrency      [4]byte
	LegRawSymbol             [symbolFieldSize]byte
	InstrumentClass          InstrumentClass
	MatchAlgorithm           byte
	MainFraction             uint8
	PriceDisplayFormat       uint8
	SubFraction              uint8
	UnderlyingProduct        uint8
	SecurityUpdateAction     byte
	MaturityMonth            uint8
	MaturityDay              uint8
	MaturityWeek             uint8
	UserDefinedInstrument    byte
	ContractMultiplierUnit   int8
	FlowScheduleType         int8
	TickRule                 uint8
	LegInstrumentClass       InstrumentClass
	LegSide                  Side
	Reserved                 [17]byte
}
