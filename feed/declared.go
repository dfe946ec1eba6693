package feed

import (
	_ "embed" // publishers.json
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"github.com/tapewire/tapewire/feed/lsg"
)

// What a definition says of an instrument that a producer declares.

// The changes of a definition.
const (
	UpdateAdd    byte = 'A'
	UpdateModify byte = 'M'
)

// NewDefinition is the definition of an instrument of which nothing else is known: every field has DBN's undefined value, and sizes count lots one by one.
func NewDefinition(id uint32, symbol string) InstrumentDefMsg {
	const undefined = int64(UndefPrice)
	m := InstrumentDefMsg{
		TsRecv: UndefTimestamp, MinPriceIncrement: UndefPrice, DisplayFactor: undefined, Expiration: UndefTimestamp, Activation: UndefTimestamp,
		HighLimitPrice: UndefPrice, LowLimitPrice: UndefPrice, MaxPriceVariation: UndefPrice, UnitOfMeasureQty: undefined,
		MinPriceIncrementAmount: UndefPrice, PriceRatio: undefined, StrikePrice: UndefPrice, LegPrice: UndefPrice, LegDelta: undefined,
		InstAttribValue: math.MaxInt32, MarketDepthImplied: math.MaxInt32, MarketDepth: math.MaxInt32, MarketSegmentID: math.MaxUint32,
		MaxTradeVol: math.MaxUint32, MinLotSize: math.MaxInt32, MinLotSizeBlock: math.MaxInt32, MinLotSizeRoundLot: 1, MinTradeVol: math.MaxUint32,
		ContractMultiplier: math.MaxInt32, DecayQuantity: math.MaxInt32, OriginalContractSize: math.MaxInt32,
		ApplID: math.MaxInt16, MaturityYear: math.MaxUint16, DecayStartDate: math.MaxUint16, ChannelID: math.MaxUint16,
		MatchAlgorithm: ' ', MainFraction: math.MaxUint8, PriceDisplayFormat: math.MaxUint8, SubFraction: math.MaxUint8, UnderlyingProduct: math.MaxUint8,
		SecurityUpdateAction: UpdateAdd, MaturityMonth: math.MaxUint8, MaturityDay: math.MaxUint8, MaturityWeek: math.MaxUint8,
		UserDefinedInstrument: 'N', ContractMultiplierUnit: math.MaxInt8, FlowScheduleType: math.MaxInt8, TickRule: math.MaxUint8, LegSide: SideNone,
	}
	Init(&m, RTypeInstrumentDef)
	m.InstrumentID, m.TsEvent = id, UndefTimestamp
	setText(m.RawSymbol[:], symbol)
	return m
}

// Declare fills in what in says; what it leaves out stays as it is.
func (m *InstrumentDefMsg) Declare(in Instrument) error {
	if in.PriceIncrement != "" {
		tick, err := lsg.ParseFixed(in.PriceIncrement)
		if err != nil {
			return err
		}
		m.MinPriceIncrement = Price(tick)
	}
	if in.Lot != "" {
		lot, err := lsg.ParseFixed(in.Lot)
		if err != nil {
			return err
		}
		m.UnitOfMeasureQty = lot
	}
	if in.Asset != "" {
		setWhole(m.Asset[:], in.Asset) // a longer one stands in the unit of measure alone
		if in.Lot != "" || m.UnitOfMeasure[0] == 0 {
			setWhole(m.UnitOfMeasure[:], in.Asset)
		}
	}
	if in.Currency != "" {
		setWhole(m.Currency[:], in.Currency) // it holds three letters; a longer one stands in secsubtype
		clear(m.Secsubtype[:])
		if m.Currency[0] == 0 {
			setWhole(m.Secsubtype[:], in.Currency)
		}
	}
	if in.Class != "" {
		m.InstrumentClass = InstrumentClass(in.Class[0])
	}
	if in.Exchange != "" {
		setWhole(m.Exchange[:], in.Exchange)
		m.PublisherID = PublisherOf(in.Exchange)
	}
	if in.PublisherID != 0 {
		m.PublisherID = in.PublisherID
	}
	return nil
}

// Contradicts says whether m names another tick or lot than in does: sizes and prices of the one are not to be read by the other. A definition
// without a lot counts units.
func (m *InstrumentDefMsg) Contradicts(in Instrument) bool {
	tick, err := lsg.ParseFixed(in.PriceIncrement)
	if err == nil && m.MinPriceIncrement != UndefPrice && m.MinPriceIncrement > 0 && m.MinPriceIncrement != Price(tick) {
		return true
	}
	have := m.UnitOfMeasureQty
	if have == int64(UndefPrice) || have <= 0 {
		have = PriceScale
	}
	lot, err := lsg.ParseFixed(in.Lot)
	return err == nil && lot != have
}

// setWhole writes a text that fits and its NULs; one that does not fit leaves the field empty, since part of a name is another name.
func setWhole(dst []byte, s string) {
	clear(dst)
	if len(s) < len(dst) {
		copy(dst, s)
	}
}

// Publisher is an entry of publishers.json, in the form of the Historical API's list: who the publisher_id of a record is.
type Publisher struct {
	PublisherID uint16 `json:"publisher_id"`
	Dataset     string `json:"dataset"`
	Venue       string `json:"venue"`
	Description string `json:"description"`
}

// FirstPublisher is where tapewire's own publisher ids begin; below it they are DBN's.
const FirstPublisher = 60000

//go:embed publishers.json
var publishersJSON []byte

// Publishers are tapewire's own.
var Publishers = sync.OnceValue(func() (list []Publisher) {
	if err := json.Unmarshal(publishersJSON, &list); err != nil {
		panic(fmt.Sprintf("feed: publishers.json: %v", err)) // it is part of the program
	}
	return list
})

// PublisherOf is the id of a venue; 0 when the list does not have it.
func PublisherOf(venue string) uint16 {
	for _, p := range Publishers() {
		if p.Venue == venue {
			return p.PublisherID
		}
	}
	return 0
}
