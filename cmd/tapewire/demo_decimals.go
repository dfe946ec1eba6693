package main

import (
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// decimals is how many decimals each symbol's price was seen to have: all its prices are shown with as many, so that they do not jump.
type decimals map[string]int

// fewestDecimals are those of most currencies; Price has at most nine.
const fewestDecimals = 2

// write gives a symbol's price.
func (d decimals) write(symbol string, p feed.Price) string {
	if p == feed.UndefPrice {
		return "-"
	}
	whole, fraction, _ := strings.Cut(p.String(), ".")
	n := max(fewestDecimals, len(fraction), d[symbol])
	d[symbol] = n
	return whole + "." + fraction + strings.Repeat("0", n-len(fraction))
}
