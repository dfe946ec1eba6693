package feed

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// layouts are the offsets of the format's description, so that a field that moved is found by its name.
var layouts = []struct {
	message any
	rtypes  []RType
	size    int
	tsRecv  int
	fields  string // name:offset of every field after the header
}{
	{MboMsg{}, []RType{RTypeMbo}, 56, 40, "OrderID:16 Price:24 Size:32 Flags:36 ChannelID:37 Action:38 Side:39 TsRecv:40 TsInDelta:48 Sequence:52"},
	{TradeMsg{}, []RType{RTypeMbp0}, 48, 32, "Price:16 Size:24 Action:28 Side:29 Flags:30 Depth:31 TsRecv:32 TsInDelta:40 Sequence:44"},
	{Mbp1Msg{}, []RType{RTypeMbp1}, 80, 32, "Price:16 Size:24 Action:28 Side:29 Flags:30 Depth:31 TsRecv:32 TsInDelta:40 Sequence:44 Level:48"},
	{Mbp10Msg{}, []RType{RTypeMbp10}, 368, 32, "Price:16 Size:24 Action:28 Side:29 Flags:30 Depth:31 TsRecv:32 TsInDelta:40 Sequence:44 Levels:48"},
	{BboMsg{}, []RType{RTypeBbo1s, RTypeBbo1m}, 80, 32, "Price:16 Size:24 Reserved1:28 Side:29 Flags:30 Reserved2:31 TsRecv:32 Reserved3:40 Sequence:44 Level:48"},
	{Cmbp1Msg{}, []RType{RTypeCmbp1, RTypeTcbbo}, 80, 32, "Price:16 Size:24 Action:28 Side:29 Flags:30 Reserved1:31 TsRecv:32 TsInDelta:40 Reserved2:44 Level:48"},
	{CbboMsg{}, []RType{RTypeCbbo1s, RTypeCbbo1m}, 80, 32, "Price:16 Size:24 Reserved1:28 Side:29 Flags:30 Reserved2:31 TsRecv:32 Reserved3:40 Level:48"},
	{OhlcvMsg{}, []RType{RTypeOhlcv1s, RTypeOhlcv1m, RTypeOhlcv1h, RTypeOhlcv1d, RTypeOhlcvEod, RTypeOhlcvDeprecated}, 56, -1, "Open:16 High:24 Low:32 Close:40 Volume:48"},
	{StatusMsg{}, []RType{RTypeStatus}, 40, 16, "TsRecv:16 Action:24 Reason:26 TradingEvent:28 IsTrading:30 IsQuoting:31 IsShortSellRestricted:32 Reserved:33"},
	{ImbalanceMsg{}, []RType{RTypeImbalance}, 112, 16, "TsRecv:16 RefPrice:24 AuctionTime:32 ContBookClrPrice:40 AuctInterestClrPrice:48 SsrFillingPrice:56 IndMatchPrice:64 UpperCollar:72 " +
		"LowerCollar:80 PairedQty:88 TotalImbalanceQty:92 MarketImbalanceQty:96 UnpairedQty:100 AuctionType:104 Side:105 AuctionStatus:106 FreezeStatus:107 NumExtensions:108 " +
		"UnpairedSide:109 SignificantImbalance:110 Reserved:111"},
	{StatMsg{}, []RType{RTypeStatistics}, 80, 16, "TsRecv:16 TsRef:24 Price:32 Quantity:40 Sequence:48 TsInDelta:52 StatType:56 ChannelID:58 UpdateAction:60 StatFlags:61 Reserved:62"},
	{ErrorMsg{}, []RType{RTypeError}, 320, -1, "Err:16 Code:318 IsLast:319"},
	{SystemMsg{}, []RType{RTypeSystem}, 320, -1, "Msg:16 Code:319"},
	{SymbolMappingMsg{}, []RType{RTypeSymbolMapping}, 176, -1, "StypeIn:16 StypeInSymbol:17 StypeOut:88 StypeOutSymbol:89 StartTs:160 EndTs:168"},
	{InstrumentDefMsg{}, []RType{RTypeInstrumentDef}, 520, 16, "TsRecv:16 MinPriceIncrement:24 DisplayFactor:32 Expiration:40 Activation:48 HighLimitPrice:56 LowLimitPrice:64 " +
		"MaxPriceVariation:72 UnitOfMeasureQty:80 MinPriceIncrementAmount:88 PriceRatio:96 StrikePrice:104 RawInstrumentID:112 LegPrice:120 LegDelta:128 InstAttribValue:136 " +
		"UnderlyingID:140 MarketDepthImplied:144 MarketDepth:148 MarketSegmentID:152 MaxTradeVol:156 MinLotSize:160 MinLotSizeBlock:164 MinLotSizeRoundLot:168 MinTradeVol:172 " +
		"ContractMultiplier:176 DecayQuantity:180 OriginalContractSize:184 LegInstrumentID:188 LegRatioPriceNumerator:192 LegRatioPriceDenominator:196 LegRatioQtyNumerator:200 " +
		"LegRatioQtyDenominator:204 LegUnderlyingID:208 ApplID:212 MaturityYear:214 DecayStartDate:216 ChannelID:218 LegCount:220 LegIndex:222 Currency:224 SettlCurrency:228 " +
		"Secsubtype:232 RawSymbol:238 Group:309 Exchange:330 Asset:335 Cfi:346 SecurityType:353 UnitOfMeasure:360 Underlying:391 StrikePriceCurrency:412 LegRawSymbol:416 " +
		"InstrumentClass:487 MatchAlgorithm:488 MainFraction:489 PriceDisplayFormat:490 SubFraction:491 UnderlyingProduct:492 SecurityUpdateAction:493 MaturityMonth:494 " +
		"MaturityDay:495 MaturityWeek:496 UserDefinedInstrument:497 ContractMultiplierUnit:498 FlowScheduleType:499 TickRule:500 LegInstrumentClass:501 LegSide:502 Reserved:503"},
}

func TestMessagesLieAsTheFormatSays(t *testing.T) {
	seen := 0
	for _, l := range layouts {
		typ := reflect.TypeOf(l.message)
		var fields []string
		at := uintptr(HeaderSize)
		for i := 1; i < typ.NumField(); i++ {
			f := typ.Field(i)
			if f.Offset != at {
				t.Errorf("%v: padding before %s", typ, f.Name)
			}
			at += f.Type.Size()
			fields = append(fields, fmt.Sprintf("%s:%d", f.Name, f.Offset))
		}
		if got := strings.Join(fields, " "); got != l.fields || int(at) != l.size || int(typ.Size()) != l.size {
			t.Errorf("%v: %d bytes\n got %s\nwant %s", typ, typ.Size(), got, l.fields)
		}
		for _, rt := range l.rtypes {
			seen++
			if rt.RecordSize() != l.size || rt.TsRecvOffset() != l.tsRecv || !rt.Known() {
				t.Errorf("%v: size %d, ts_recv at %d, want %d, %d", rt, rt.RecordSize(), rt.TsRecvOffset(), l.size, l.tsRecv)
			}
		}
	}
	known := 0
	for rt := range 256 {
		if RType(rt).Known() {
			known++
		}
	}
	if known != seen || known != 23 {
		t.Errorf("%d known types, %d with a message", known, seen)
	}
	level := reflect.TypeFor[BidAskPair]()
	consolidated := reflect.TypeFor[ConsolidatedBidAskPair]()
	if level.Field(5).Offset != 28 || consolidated.Field(6).Offset != 28 {
		t.Error("levels: the counts, or the ask's publisher, are not where they should be")
	}
}

// viewAs tells which messages a record can be viewed as.
func viewAs(r Record) (names []string) {
	add := func(name string, ok bool) {
		if ok {
			names = append(names, name)
		}
	}
	add(viewed[MboMsg](r))
	add(viewed[TradeMsg](r))
	add(viewed[Mbp1Msg](r))
	add(viewed[Mbp10Msg](r))
	add(viewed[BboMsg](r))
	add(viewed[Cmbp1Msg](r))
	add(viewed[CbboMsg](r))
	add(viewed[OhlcvMsg](r))
	add(viewed[StatusMsg](r))
	add(viewed[ImbalanceMsg](r))
	add(viewed[StatMsg](r))
	add(viewed[InstrumentDefMsg](r))
	add(viewed[ErrorMsg](r))
	add(viewed[SystemMsg](r))
	add(viewed[SymbolMappingMsg](r))
	return names
}

func viewed[M Message](r Record) (string, bool) {
	m, ok := View[M](r)
	if ok && unsafe.Pointer(m) != unsafe.Pointer(unsafe.SliceData(r)) {
		panic("View copied")
	}
	return reflect.TypeFor[M]().Name(), ok
}

// A view of the wrong type would read one field as another without a word.
func TestARecordIsViewedOnlyAsItsOwnMessage(t *testing.T) {
	for _, l := range layouts {
		for _, rt := range l.rtypes {
			for _, size := range []int{l.size, l.size + TsOutSize} {
				r := make(Record, size)
				r[0], r[1] = byte(size/4), byte(rt)
				if got, want := viewAs(r), reflect.TypeOf(l.message).Name(); len(got) != 1 || got[0] != want {
					t.Errorf("%v of %d bytes is viewed as %v, want %s", rt, size, got, want)
				}
				if got := viewAs(r[:size-1]); got != nil {
					t.Errorf("%v cut to %d bytes is viewed as %v", rt, size-1, got)
				}
				for _, wrong := range []int{-1, 1, 3} {
					r[0] = byte(size/4 + wrong)
					if got := viewAs(append(r, make(Record, 16)...)); got != nil {
						t.Errorf("%v with the length of %d bytes is viewed as %v", rt, r.Size(), got)
					}
				}
			}
		}
	}
	if got := viewAs(nil); got != nil {
		t.Errorf("nothing is viewed as %v", got)
	}
	unknown := make(Record, 48)
	unknown[0], unknown[1] = 12, 0x02
	if got := viewAs(unknown); got != nil {
		t.Errorf("an unknown type is viewed as %v", got)
	}
}

func TestARecordSaysItsTimes(t *testing.T) {
	trade := testTrade(7)
	r := Bytes(&trade)
	if r.Size() != 48 || r.RType() != RTypeMbp0 || r.PublisherID() != 2 || r.InstrumentID() != 107 || r.TsEvent() != 1007 || r.TsRecv() != 2007 || r.IndexTime() != 2007 {
		t.Errorf("%d %v %d %d %d %d %d", r.Size(), r.RType(), r.PublisherID(), r.InstrumentID(), r.TsEvent(), r.TsRecv(), r.IndexTime())
	}
	trade.TsRecv = UndefTimestamp
	if r.IndexTime() != 1007 {
		t.Errorf("index time %d without ts_recv", r.IndexTime())
	}
	bar := OhlcvMsg{Header: Header{TsEvent: 5}}
	Init(&bar, RTypeOhlcv1m)
	if b := Bytes(&bar); b.TsRecv() != UndefTimestamp || b.IndexTime() != 5 {
		t.Errorf("bar: %d, %d", b.TsRecv(), b.IndexTime())
	}
	if head := r[:HeaderSize]; head.TsRecv() != UndefTimestamp {
		t.Errorf("a header alone has ts_recv %d", head.TsRecv())
	}
	out := AppendWithTsOut([]byte("x"), r, 99)[1:]
	if m, ok := View[TradeMsg](out); !ok || *m != func() TradeMsg { m := trade; m.Length += 2; return m }() || len(out) != 56 || out[48] != 99 {
		t.Errorf("with ts_out: %v", out)
	}
}

// The values that the data's description gives, read by name.
func TestRealRecordsHaveTheirKnownValues(t *testing.T) {
	dir := dataDir(t)
	first := func(name string, wanted func(Record) bool) Record {
		d, err := OpenFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		for r, err := range d.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if wanted(r) {
				return r
			}
		}
		t.Fatalf("%s: no such record", name)
		return nil
	}
	anyRecord := func(Record) bool { return true }

	trade, ok := View[TradeMsg](first("lean/equs-trades-20131008.dbn.zst", anyRecord))
	if !ok || trade.Price.String() != "167.42" || trade.Size != 210 || FormatTime(trade.TsEvent) != "2013-10-08T08:00:17.034000000Z" {
		t.Errorf("trade %+v", trade)
	}
	order, ok := View[MboMsg](first("nautilus/root/esh4-glbx-mdp3-20231225.mbo.dbn.zst", func(r Record) bool {
		m, ok := View[MboMsg](r)
		return ok && m.OrderID == 6412777162812
	}))
	if !ok || order.InstrumentID != 17077 || order.Price.String() != "4799" || order.Size != 2 || order.Flags != FlagSnapshot|FlagBadTsRecv ||
		order.Action != ActionAdd || order.Side != SideBid || order.TsEvent != 1703422805243925307 || order.Sequence != 682 {
		t.Errorf("order %+v", order)
	}
	bar, ok := View[OhlcvMsg](first("nautilus/historical_bars_catalog/futures_ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst", func(r Record) bool {
		m, ok := View[OhlcvMsg](r)
		return ok && m.InstrumentID == 118 && m.Volume == 180
	}))
	if !ok || bar.Open.String() != "5527.25" || bar.High.String() != "5527.5" || bar.Low.String() != "5527" || bar.Close.String() != "5527.5" {
		t.Errorf("bar %+v", bar)
	}
}
