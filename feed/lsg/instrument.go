package lsg

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Instrument declares an instrument of a producer. On the text phase it is a line of its own, in band a SystemMsg text.
// Numbers are decimals as text, exact to 1e-9; ParseFixed reads them.
type Instrument struct {
	Symbol         string // the venue's own name
	PriceIncrement string // in quote currency, such as 0.01; "" when not known
	Lot            string // what one unit of a record's size stands for, such as 0.00001; "" means 1
	Asset          string // the base asset, such as BTC: what the lot counts
	Currency       string // the quote currency, such as USDT
	Class          string // DBN's instrument class, one letter: X spot, F future or perpetual, K stock
	Exchange       string // the venue, as DBN's definitions name it
	PublisherID    uint16 // the venue in the records' headers; 0 when not known
}

// The fields of an instrument line. No other is taken: one that is misspelt would be a tick or a lot that nobody learns of.
const (
	keyInstrument     = "instrument"
	keyPriceIncrement = "price_increment"
	keyLot            = "lot"
	keyAsset          = "asset"
	keyQuote          = "quote"
	keyCurrency       = "currency" // what quote was called first
	keyClass          = "class"
	keyExchange       = "exchange"
	keyPublisherID    = "publisher_id"
)

// How long the texts may be: what DBN's definitions hold. A longer quote currency stands in another field than one of three letters.
const (
	maxAsset    = 30
	maxQuote    = 5
	maxExchange = 4
)

// classes are DBN's letters.
const classes = "BCFIKMPSTXY"

// InstrumentReply tells a producer the ID that its records must carry.
type InstrumentReply struct {
	Symbol string
	ID     uint32
}

// IsInstrument tells whether a line declares an instrument, or answers such a declaration.
func IsInstrument(line string) bool { return strings.HasPrefix(line, "instrument=") }

// ParseInstrument reads the line or the in-band text. What it returns beside an error has the symbol, if the line says any.
func ParseInstrument(line string) (Instrument, error) {
	f, err := Parse(line)
	if err != nil {
		symbol, _, _ := strings.Cut(strings.TrimPrefix(line, keyInstrument+"="), "|")
		if controlAt(symbol) >= 0 { // it is the symbol that is wrong, and no field
			err = fmt.Errorf("%w: %w", ErrSymbol, err)
		}
		return Instrument{Symbol: symbol}, err
	}
	in := Instrument{
		Symbol: f.Get(keyInstrument), PriceIncrement: f.Get(keyPriceIncrement), Lot: f.Get(keyLot), Asset: f.Get(keyAsset),
		Currency: f.Get(keyCurrency), Class: f.Get(keyClass), Exchange: f.Get(keyExchange),
	}
	if err := f.only(keyInstrument, keyPriceIncrement, keyLot, keyAsset, keyQuote, keyCurrency, keyClass, keyExchange, keyPublisherID); err != nil {
		return in, err
	}
	if given := f.Get(keyQuote); given != "" {
		if in.Currency != "" && in.Currency != given {
			return in, fmt.Errorf("%w: quote=%s and currency=%s name one thing; send quote alone", ErrValue, quote(given), quote(in.Currency))
		}
		in.Currency = given
	}
	publisher, _, err := f.numberTo(keyPublisherID, math.MaxUint16)
	if err != nil {
		return in, err
	}
	in.PublisherID = uint16(publisher)
	return in, in.check()
}

func (in Instrument) check() error {
	if err := CheckSymbol(in.Symbol); err != nil {
		return err
	}
	for _, number := range []Field{{keyPriceIncrement, in.PriceIncrement}, {keyLot, in.Lot}} {
		if number.Value == "" {
			continue
		}
		if n, err := ParseFixed(number.Value); err != nil || n <= 0 {
			return fmt.Errorf("%w: %s=%s; write a positive decimal with at most nine digits of fraction", ErrValue, number.Key, quote(number.Value))
		}
	}
	for _, text := range []struct {
		Field
		most int
	}{{Field{keyAsset, in.Asset}, maxAsset}, {Field{keyQuote, in.Currency}, maxQuote}, {Field{keyExchange, in.Exchange}, maxExchange}} {
		if len(text.Value) > text.most || !printable(text.Value) {
			return fmt.Errorf("%w: %s=%s; write at most %d letters and digits", ErrValue, text.Key, quote(text.Value), text.most)
		}
	}
	if len(in.Class) > 1 || !strings.Contains(classes, in.Class) {
		return fmt.Errorf("%w: class=%s; write DBN's one letter, such as X for a spot pair, F for a future or K for a stock", ErrValue, quote(in.Class))
	}
	return nil
}

// ErrSymbol is returned for a symbol that no subscription could ask for.
var ErrSymbol = errors.New("symbol that nobody can ask for")

// CheckSymbol says why a symbol cannot be declared: a subscription could not ask for it by name, or no record of DBN could tell it.
func CheckSymbol(symbol string) error {
	switch {
	case symbol == "":
		return fmt.Errorf("%w: it is empty", ErrSymbol)
	case len(symbol) > MaxSymbol:
		return fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrSymbol, quote(symbol), len(symbol), MaxSymbol)
	case strings.ContainsAny(symbol, ",|"):
		return fmt.Errorf("%w: %s has a ',' or '|', which part the symbols and fields of a subscription; leave it out", ErrSymbol, quote(symbol))
	case symbol == AllSymbols:
		return fmt.Errorf("%w: %s means every symbol in a subscription; choose another name", ErrSymbol, symbol)
	case strings.TrimSpace(symbol) != symbol:
		return fmt.Errorf("%w: %s begins or ends with a space; leave it out", ErrSymbol, quote(symbol))
	case !utf8.ValidString(symbol) || strings.ContainsFunc(symbol, unicode.IsControl):
		return fmt.Errorf("%w: %s has control characters or is no UTF-8", ErrSymbol, quote(symbol))
	}
	return nil
}

// printable tells whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func (in Instrument) write(w *lineWriter) {
	w.text(keyInstrument, in.Symbol)
	w.optional(keyPriceIncrement, in.PriceIncrement)
	w.optional(keyLot, in.Lot)
	w.optional(keyAsset, in.Asset)
	w.optional(keyQuote, in.Currency)
	w.optional(keyClass, in.Class)
	w.optional(keyExchange, in.Exchange)
	if in.PublisherID != 0 {
		w.number(keyPublisherID, uint64(in.PublisherID))
	}
	if w.err == nil {
		w.err = in.check()
	}
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
	id, ok, err := f.numberTo("instrument_id", math.MaxUint32)
	if err != nil || !ok {
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
