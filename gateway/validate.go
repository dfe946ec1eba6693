package gateway

import (
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// reject numbers a refusal: record is the offender's place behind what is
// collected already.
func (in *ingest) reject(record int, r *refusal) error {
	r.record, r.hasRecord = in.p.writer.Accepted()+uint64(in.pending+record), true
	return r
}

// badLength refuses a length byte that no record has.
func (in *ingest) badLength(b []byte) error {
	return in.reject(0, &refusal{
		code: lsg.CodeBadLength, want: fmt.Sprintf("%d to %d bytes", feed.HeaderSize, feed.MaxRecordSize),
		got: fmt.Sprint(int(b[0]) * 4), text: "no record has this length; the stream is out of step or not DBN",
	})
}

// badRecord gives a record that feed refused the code it has on the wire.
func (in *ingest) badRecord(err error) error {
	r := &refusal{code: lsg.CodeBadLength, text: err.Error()}
	var detail *feed.RecordError
	if errors.As(err, &detail) {
		r.want, r.got, r.text = detail.Want, detail.Got, detail.Err.Error()
	}
	if errors.Is(err, feed.ErrRType) {
		r.code = lsg.CodeBadRType
	}
	return in.reject(0, r)
}

// idSymbol is an instrument id and what it stands for.
type idSymbol struct {
	id     uint32
	symbol string
}

// mappingsOf gives the instrument ids that metadata names and their symbols,
// each id once: of several symbols that of its newest interval, and of several
// names for the same the first.
func mappingsOf(m *feed.Metadata) iter.Seq[idSymbol] {
	newest := map[uint32]uint32{} // end date of the interval that counts
	symbols := map[uint32]string{}
	var order []uint32
	for _, mapping := range m.Mappings {
		for _, interval := range mapping.Intervals {
			number, symbol := interval.Symbol, mapping.RawSymbol
			if m.StypeIn == feed.STypeInstrumentID {
				number, symbol = symbol, number
			}
			n, err := strconv.ParseUint(number, 10, 32)
			if err != nil || symbol == "" {
				continue // a mapping between two kinds of names: nothing about ids
			}
			id := uint32(n)
			end, seen := newest[id]
			if seen && interval.EndDate <= end {
				continue
			}
			if !seen {
				order = append(order, id)
			}
			newest[id], symbols[id] = interval.EndDate, symbol
		}
	}
	return func(yield func(idSymbol) bool) {
		for _, id := range order {
			if !yield(idSymbol{id, symbols[id]}) {
				return
			}
		}
	}
}
