package lsg

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Instrument declares an instrument of a producer. On the text phase it is a line of its own, in band a SystemMsg text.
// Numbers are decimals as text, exact to 1e-9; ParseFixed reads them.
type Instrument struct {
	Symbol         string // the venue's own name
	PriceIncrement string // in quote currency, such as 0.01; "" when not known
	Lot            string // what one unit of a record's size stands for, such as 0.00001; "" means 1
	Currency       string // the quote currency
	Class          string // DBN's instrument class, one letter such as K or F
}

// InstrumentReply tells a producer the ID that its records must carry.
type InstrumentReply struct {
	Symbol string
	ID     uint32
}

// IsInstrument tells whether a line declares an instrument, or answers such a declaration.
func IsInstrument(line string) bool { return strings.HasPrefix(line, "instrument=") }

// ParseInstrument reads the line or the in-band text.
func ParseInstrument(line string) (Instrument, error) {
	f, err := Parse(line)
	if err != nil {
		return Instrument{}, err
	}
	in := Instrument{
		Symbol: f.Get("instrument"), PriceIncrement: f.Get("price_increment"), Lot: f.Get("lot"), Currency: f.Get("currency"), Class: f.Get("class"),
	}
	return in, in.check()
}

func (in Instrument) check() error {
	if in.Symbol == "" {
		return fmt.Errorf("%w: instrument", ErrMissing)
	}
	if err := checkSymbol("instrument", in.Symbol); err != nil {
		return err
	}
	for _, number := range []Field{{"price_increment", in.PriceIncrement}, {"lot", in.Lot}} {
		if number.Value == "" {
			continue
		}
		if n, err := ParseFixed(number.Value); err != nil || n <= 0 {
			return fmt.Errorf("%w: %s=%s; write a positive decimal with at most nine digits of fraction", ErrValue, number.Key, quote(number.Value))
		}
	}
	if len(in.Class) > 1 {
		return fmt.Errorf("%w: class=%s; write DBN's one letter, such as K for a stock or F for a future", ErrValue, quote(in.Class))
	}
	return nil
}

func (in Instrument) write(w *lineWriter) {
	w.err = in.check()
	w.text("instrument", in.Symbol)
	w.optional("price_increment", in.PriceIncrement)
	w.optional("lot", in.Lot)
	w.optional("currency", in.Currency)
	w.optional("class", in.Class)
}

// Append writes the line of the text phase with its newline.
func (in Instrument) Append(dst []byte) ([]byte, error) {
	w := lineWriter{buf: dst, start: len(dst)}
	in.write(&w)
	return w.line()
}

// Text returns the in-band form.
func (in Instrument) Text() (string, error) {
	var w lineWriter
	in.write(&w)
	return w.inBand()
}

// Append writes the line with its newline.
func (r InstrumentReply) Append(dst []byte) ([]byte, error) {
	w := lineWriter{buf: dst, start: len(dst), err: checkSymbol("instrument", r.Symbol)}
	w.text("instrument", r.Symbol)
	w.number("instrument_id", uint64(r.ID))
	return w.line()
}

// ParseInstrumentReply reads the line.
func ParseInstrumentReply(line string) (InstrumentReply, error) {
	f, err := Parse(line)
	if err != nil {
		return InstrumentReply{}, err
	}
	symbol, err := f.need("instrument")
	if err != nil {
		return InstrumentReply{}, err
	}
	id, ok, err := f.number("instrument_id")
	if err != nil || !ok || id > math.MaxUint32 {
		return InstrumentReply{}, fmt.Errorf("%w: instrument_id=%s; it is an unsigned 32-bit decimal", ErrValue, quote(f.Get("instrument_id")))
	}
	return InstrumentReply{Symbol: symbol, ID: uint32(id)}, nil
}

// ParseFixed reads a decimal as a count of 1e-9, DBN's fixed point. It fails with ErrValue for more than nine digits of fraction and for what
// does not fit 64 bits: a number is refused, never rounded.
func ParseFixed(s string) (int64, error) {
	bad := func() (int64, error) {
		return 0, fmt.Errorf("%w: %s; write a decimal with at most nine digits of fraction, below 9.2e9", ErrValue, quote(s))
	}
	unsigned, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(unsigned, ".")
	if whole == "" || point && fraction == "" || len(fraction) > 9 || strings.Trim(whole+fraction, "0123456789") != "" {
		return bad()
	}
	n, err := strconv.ParseInt(whole+fraction+"000000000"[len(fraction):], 10, 64)
	if err != nil {
		return bad()
	}
	if negative {
		n = -n
	}
	return n, nil
}
