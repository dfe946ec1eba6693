package main

import (
	"errors"
	"io"

	"github.com/tapewire/tapewire/feed"
)

func tooFew(had uint64, stream string, here uint64) error {
	return usage("the gateway has %d records of stream %s already, but here are only %d: this is something else; give it a --stream of its own", had, stream, here)
}

// skipAccepted reads over the first n data records, which the gateway has, and returns what still matters of the records before the next one:
// the newest symbol mapping of each instrument.
func skipAccepted(next func() (feed.Record, error), n uint64, stream string) ([]feed.Record, error) {
	var mappings []feed.Record
	newest := map[uint32]int{}
	for skipped := uint64(0); skipped < n; {
		rec, err := next()
		if errors.Is(err, io.EOF) {
			return nil, tooFew(n, stream, skipped)
		}
		if err != nil {
			return nil, err
		}
		if !rec.RType().IsControl() {
			skipped++
			continue
		}
		if rec.RType() != feed.RTypeSymbolMapping {
			continue
		}
		at, ok := newest[rec.InstrumentID()]
		if !ok {
			at = len(mappings)
			mappings, newest[rec.InstrumentID()] = append(mappings, nil), at
		}
		mappings[at] = append(mappings[at][:0], rec...)
	}
	return mappings, nil
}
