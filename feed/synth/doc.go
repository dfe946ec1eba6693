// Package synth makes up a market: quotes and trades that look like a venue's, for demonstrations, tests and benchmarks
// that must not depend on real data.
//
// What it promises: the same seed, options and instruments give the same records for ever, on every machine; times never
// run backwards; a trade is at a price, and of no more than the size, that the quote before it shows on the side it takes
// from; the bid is below the ask; making a record allocates nothing.
//
// What it does not promise: that a strategy which earns money here earns any elsewhere. Prices are a random walk with a
// little momentum, and the book has one level.
package synth
