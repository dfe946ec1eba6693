package main

import (
	"bytes"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// pretty prints one line for each data record: the time that --start means, symbol, schema, and the fields that a person looks for. Columns are wide enough for usual
// values and grow for others; nothing is cut.
type pretty struct {
	*delayedWriter
	schema  feed.Schema // tells tbbo from mbp-1
	symbols feed.SymbolMap
	line    []byte
	shown   []byte // line as a terminal may see it
}

func newPretty(w *delayedWriter, schema feed.Schema) *pretty {
	return &pretty{delayedWriter: w, schema: schema}
}

// Widths of columns, in characters.
const (
	symbolWidth = 10
	schemaWidth = 10
	priceWidth  = 12
	sizeWidth   = 6
)

// Control learns the symbols.
func (p *pretty) Control(rec feed.Record) error {
	p.symbols.Learn(rec)
	return nil
}

// Data prints a record.
func (p *pretty) Data(rec feed.Record) error {
	b := append(p.line[:0], feed.FormatTime(replayTime(rec, p.schema))...)
	symbol, ok := p.symbols.Name(rec.InstrumentID())
	if !ok {
		symbol = "#" + strconv.FormatUint(uint64(rec.InstrumentID()), 10)
	}
	b = padRight(append(b, "  "...), symbol, symbolWidth)
	b = padRight(append(b, ' '), schemaName(rec, p.schema), schemaWidth)
	b = append(bytes.TrimRight(appendFields(append(b, ' '), rec), " "), '\n')
	b, p.line = lsg.AppendPrintable(p.shown[:0], b), b // a field may hold any byte
	p.shown = b
	_, err := p.Write(b)
	return err
}

// replayTime is the time that --start and --end go by.
func replayTime(rec feed.Record, declared feed.Schema) uint64 {
	if schema, ok := feed.SchemaOf(rec.RType(), declared); ok {
		return schema.ReplayTime(rec)
	}
	return rec.IndexTime()
}

func schemaName(rec feed.Record, declared feed.Schema) string {
	if schema, ok := feed.SchemaOf(rec.RType(), declared); ok {
		return schema.String()
	}
	return rec.RType().String()
}

// appendFields appends what is particular to the record's type.
func appendFields(b []byte, rec feed.Record) []byte {
	if m, ok := feed.View[feed.TradeMsg](rec); ok {
		return appendTrade(b, m.Price, m.Size, byte(m.Action), byte(m.Side))
	}
	if m, ok := feed.View[feed.Mbp1Msg](rec); ok {
		return appendLevel(appendTrade(b, m.Price, m.Size, byte(m.Action), byte(m.Side)), m.Level.BidPx, m.Level.BidSz, m.Level.AskPx, m.Level.AskSz)
	}
	if m, ok := feed.View[feed.Mbp10Msg](rec); ok {
		best := m.Levels[0]
		return appendLevel(appendTrade(b, m.Price, m.Size, byte(m.Action), byte(m.Side)), best.BidPx, best.BidSz, best.AskPx, best.AskSz)
	}
	if m, ok := feed.View[feed.MboMsg](rec); ok {
		b = appendTrade(b, m.Price, m.Size, byte(m.Action), byte(m.Side))
		return appendNumber(b, " order ", m.OrderID)
	}
	if m, ok := feed.View[feed.BboMsg](rec); ok {
		return appendLevel(appendTrade(b, m.Price, m.Size, ' ', byte(m.Side)), m.Level.BidPx, m.Level.BidSz, m.Level.AskPx, m.Level.AskSz)
	}
	if m, ok := feed.View[feed.Cmbp1Msg](rec); ok {
		return appendLevel(appendTrade(b, m.Price, m.Size, byte(m.Action), byte(m.Side)), m.Level.BidPx, m.Level.BidSz, m.Level.AskPx, m.Level.AskSz)
	}
	if m, ok := feed.View[feed.CbboMsg](rec); ok {
		return appendLevel(appendTrade(b, m.Price, m.Size, ' ', byte(m.Side)), m.Level.BidPx, m.Level.BidSz, m.Level.AskPx, m.Level.AskSz)
	}
	return appendOther(b, rec)
}

// appendOther is for the types that are not about an order book.
func appendOther(b []byte, rec feed.Record) []byte {
	if m, ok := feed.View[feed.OhlcvMsg](rec); ok {
		for i, price := range []feed.Price{m.Open, m.High, m.Low, m.Close} {
			b = appendPrice(append(b, ' ', "OHLC"[i], ' '), price)
		}
		return appendNumber(b, "  volume ", m.Volume)
	}
	if m, ok := feed.View[feed.InstrumentDefMsg](rec); ok {
		b = append(append(b, "class "...), byte(m.InstrumentClass))
		b = append(append(b, "  tick "...), m.MinPriceIncrement.String()...)
		b = append(append(b, "  currency "...), feed.CString(m.Currency[:])...)
		b = append(append(b, "  expires "...), feed.FormatTime(m.Expiration)...)
		return append(append(b, "  raw symbol "...), feed.CString(m.RawSymbol[:])...)
	}
	if m, ok := feed.View[feed.StatMsg](rec); ok {
		b = appendNumber(b, "type ", uint64(m.StatType))
		if m.Price != feed.UndefPrice {
			b = append(append(b, "  price "...), m.Price.String()...)
		}
		if m.Quantity != feed.UndefStatQuantity {
			b = strconv.AppendInt(append(b, "  quantity "...), m.Quantity, 10)
		}
		return b
	}
	if m, ok := feed.View[feed.StatusMsg](rec); ok {
		b = appendNumber(b, "action ", uint64(m.Action))
		b = appendNumber(b, "  reason ", uint64(m.Reason))
		b = append(append(b, "  trading "...), byte(m.IsTrading))
		return append(append(b, "  quoting "...), byte(m.IsQuoting))
	}
	if m, ok := feed.View[feed.ImbalanceMsg](rec); ok {
		b = append(append(b, "side "...), byte(m.Side), ' ')
		b = append(append(b, " reference "...), m.RefPrice.String()...)
		b = appendNumber(b, "  paired ", uint64(m.PairedQty))
		return appendNumber(b, "  imbalance ", uint64(m.TotalImbalanceQty))
	}
	return append(b, "(no known layout)"...)
}

func appendTrade(b []byte, price feed.Price, size uint32, action, side byte) []byte {
	b = append(b, action, ' ', side, ' ')
	return appendSize(append(appendPrice(b, price), " x "...), size)
}

func appendLevel(b []byte, bid feed.Price, bidSize uint32, ask feed.Price, askSize uint32) []byte {
	b = appendSize(append(appendPrice(append(b, " | "...), bid), " x "...), bidSize)
	return appendSize(append(appendPrice(append(b, " / "...), ask), " x "...), askSize)
}

func appendPrice(b []byte, p feed.Price) []byte {
	if p == feed.UndefPrice {
		return padLeft(b, "-", priceWidth)
	}
	return padLeft(b, p.String(), priceWidth)
}

func appendSize(b []byte, n uint32) []byte {
	if n == feed.UndefOrderSize {
		return padRight(b, "-", sizeWidth)
	}
	return padRight(b, strconv.FormatUint(uint64(n), 10), sizeWidth)
}

func appendNumber(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(b, name...), n, 10)
}

func padRight(b []byte, s string, width int) []byte {
	b = append(b, s...)
	for n := len(s); n < width; n++ {
		b = append(b, ' ')
	}
	return b
}

func padLeft(b []byte, s string, width int) []byte {
	for n := len(s); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, s...)
}
