package feed

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Price is a fixed-point price in units of 1e-9.
type Price int64

// The unit of prices, and the values that stand for "not known" in the format's integer fields.
const (
	// PriceScale is how many units one whole is.
	PriceScale = 1_000_000_000
	// UndefPrice stands for a price that is not known.
	UndefPrice Price = math.MaxInt64
	// UndefOrderSize stands for an order's size that is not known.
	UndefOrderSize uint32 = math.MaxUint32
	// UndefStatQuantity stands for a statistic without a quantity.
	UndefStatQuantity int64 = math.MaxInt64

	priceDecimals = 9
)

// Float64 is the price as a float, for display and rough arithmetic: 53 bits do not hold every price. NaN when undefined.
func (p Price) Float64() float64 {
	if p == UndefPrice {
		return math.NaN()
	}
	return float64(p) / PriceScale
}

// String writes the exact value without trailing zeros, such as "167.42" or "-0.5"; "undefined" for UndefPrice.
func (p Price) String() string {
	if p == UndefPrice {
		return "undefined"
	}
	return string(p.Append(make([]byte, 0, 24)))
}

// Append appends what String gives, without allocating when dst has room for 24 bytes.
func (p Price) Append(dst []byte) []byte {
	if p == UndefPrice {
		return append(dst, "undefined"...)
	}
	u := uint64(p)
	if p < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = strconv.AppendUint(dst, u/PriceScale, 10)
	frac := u % PriceScale
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := uint64(PriceScale / 10); frac > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}

// ParsePrice reads a decimal text such as "-12.5" exactly. ErrPrice: it is not a plain decimal number, has more than nine
// decimals that are not zero, or does not fit; nothing is ever rounded.
func ParsePrice(s string) (Price, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, hasPoint := strings.Cut(digits, ".")
	frac = strings.TrimRight(frac, "0")
	if whole == "" || hasPoint && strings.HasSuffix(digits, ".") {
		return 0, fmt.Errorf("%w %q: want a decimal number such as 12.5", ErrPrice, s)
	}
	if len(frac) > priceDecimals {
		return 0, fmt.Errorf("%w %q: more than %d decimals would be rounded; choose a larger unit", ErrPrice, s, priceDecimals)
	}
	const maxWhole = uint64(math.MaxInt64) / PriceScale
	w, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || w > maxWhole {
		return 0, fmt.Errorf("%w %q: want digits, and a whole part of at most %d", ErrPrice, s, maxWhole)
	}
	f := uint64(0)
	if frac != "" {
		if f, err = strconv.ParseUint(frac, 10, 64); err != nil {
			return 0, fmt.Errorf("%w %q: want digits after the point", ErrPrice, s)
		}
	}
	for range priceDecimals - len(frac) {
		f *= 10
	}
	u := w*PriceScale + f
	if u >= math.MaxInt64 {
		return 0, fmt.Errorf("%w %q: the largest price is %v", ErrPrice, s, UndefPrice-1)
	}
	if negative {
		return -Price(u), nil
	}
	return Price(u), nil
}
