package journal

import (
	"math/rand/v2"
	"testing"
)

// A sum that was put together from the sums of pieces is the one that recovery
// computes from the bytes.
func TestJoinedSumsAreThoseOfTheBytes(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	for range 200 {
		from := rnd.IntN(len(b))
		to := from + rnd.IntN(len(b)-from+1)
		cut := from + rnd.IntN(to-from+1)
		if got, want := joinCRC(crc32c(b[from:cut]), crc32c(b[cut:to]), xpow8(to-cut)), crc32c(b[from:to]); got != want {
			t.Fatalf("seed %d: [%d, %d) cut at %d: %08x, want %08x", seed, from, to, cut, got, want)
		}
	}
}
