package feed

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestPricesAreExactText(t *testing.T) {
	for text, want := range map[string]Price{
		"0": 0, "167.42": 167_420_000_000, "-0.5": -500_000_000, "0.000000001": 1, "-0.000000001": -1, "5527.25": 5_527_250_000_000,
		"9223372036.854775806": UndefPrice - 1, "-9223372036.854775806": -UndefPrice + 1, "100": 100_000_000_000,
	} {
		if got, err := ParsePrice(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %d, %v, %s", text, got, err, got)
		}
	}
	for text, want := range map[string]Price{"1.50": 1_500_000_000, "007": 7 * PriceScale, "1.0000000000000": PriceScale, "-0": 0} {
		if got, err := ParsePrice(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	if UndefPrice.String() != "undefined" || !math.IsNaN(UndefPrice.Float64()) || Price(167_420_000_000).Float64() != 167.42 {
		t.Error("undefined, or 167.42 as a float")
	}
}

// What does not fit is refused, never rounded.
func TestPricesThatDoNotFitAreRefused(t *testing.T) {
	for _, text := range []string{"", "-", ".", "1.", ".5", "+1", "1e3", "1,5", "0x10", "--1", "-+1", "1.2.3", "1.-2", " 1", "NaN", "1_000",
		"0.0000000001", "9223372036.854775807", "9223372037", "99999999999999999999", "1.0000000001"} {
		if got, err := ParsePrice(text); !errors.Is(err, ErrPrice) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestEveryPriceComesBackFromItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Price(rapid.Int64Range(-math.MaxInt64+1, math.MaxInt64-1).Draw(t, "price"))
		if got, err := ParsePrice(p.String()); err != nil || got != p {
			t.Fatalf("%d is %s is %d, %v", p, p, got, err)
		}
	})
	if got := Price(math.MinInt64).String(); got != "-9223372036.854775808" {
		t.Error(got)
	}
}
