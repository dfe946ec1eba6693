package synth

import (
	"math"
	"math/rand/v2"
)

// dice draws integers only: floating point may differ in the last bit between machines, and with it every record after.
type dice struct{ pcg *rand.PCG }

// below draws from 0 .. n-1. The slight favour of small numbers does not matter here, and costs no loop.
func (d *dice) below(n uint64) uint64 { return (d.pcg.Uint64() >> 32) * n >> 32 }

// quantiles are those of the exponential distribution with mean 1, in units of 1/quantileUnit.
var quantiles = func() (q [1024]uint64) {
	for i := range q {
		q[i] = uint64(math.Round(-math.Log((float64(i)+0.5)/float64(len(q))) * quantileUnit))
	}
	return q
}()

const quantileUnit = 1 << 12

// exponential draws from the exponential distribution with a mean of up to 2^48.
func (d *dice) exponential(mean uint64) uint64 {
	return mean * quantiles[d.below(uint64(len(quantiles)))] / quantileUnit
}
