package feed

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// heldRecords are published records that may have to be sent again: the data records of the numbers first to next-1, one behind the other, with
// the control records between them. Its size is bounded by its owner.
type heldRecords struct {
	buf   []byte
	from  int // where the oldest begins in buf
	first uint64
	next  uint64

	mappings map[uint32]Record // the newest symbol mapping of each instrument among what was dropped: every session must be told
}

// size is in bytes.
func (h *heldRecords) size() int { return len(h.buf) - h.from }

// add appends whole records, n data records among them.
func (h *heldRecords) add(b []byte, n uint64) {
	if h.from > len(h.buf)/2 { // so each byte that is moved was paid for by one that was dropped
		h.buf = h.buf[:copy(h.buf, h.buf[h.from:])]
		h.from = 0
	}
	h.buf = append(h.buf, b...)
	h.next += n
}

// drop lets go of all data records below number n, and of the control records before them.
func (h *heldRecords) drop(n uint64) {
	n = min(n, h.next)
	if n > h.first {
		to := h.from + h.skip(n)
		h.mappings = noteMappings(h.mappings, h.buf[h.from:to])
		h.from, h.first = to, n
	}
}

// noteMappings enters the symbol mappings among whole records.
func noteMappings(into map[uint32]Record, b []byte) map[uint32]Record {
	for at := 0; at < len(b); {
		rec := Record(b[at : at+int(b[at])*lengthUnit])
		at += len(rec)
		if rec.RType() == RTypeSymbolMapping {
			if into == nil {
				into = map[uint32]Record{}
			}
			into[rec.InstrumentID()] = append(into[rec.InstrumentID()][:0], rec...)
		}
	}
	return into
}

// mappingsBefore are the mappings that hold at data record n, as far as they were published before it.
func (h *heldRecords) mappingsBefore(n uint64) (b []byte) {
	newest := map[uint32]Record{}
	for id, rec := range h.mappings {
		newest[id] = bytes.Clone(rec)
	}
	for _, id := range slices.Sorted(maps.Keys(noteMappings(newest, h.buf[h.from:h.from+h.skip(n)]))) {
		b = append(b, newest[id]...)
	}
	return b
}

// since returns what was published from data record n on. A control record directly before it is among that, and may so be sent twice: the
// ledger then names one gap twice, which is better than not at all.
func (h *heldRecords) since(n uint64) []byte { return h.buf[h.from+h.skip(n):] }

// skip returns how many bytes lie before the end of data record n-1.
func (h *heldRecords) skip(n uint64) (end int) {
	b := h.buf[h.from:]
	seq, at := h.first, 0
	for seq < n && at < len(b) {
		control := RType(b[at+offRType]).IsControl()
		at += int(b[at]) * lengthUnit
		if !control {
			seq++
			end = at
		}
	}
	return end
}

// dropOldest lets go of the oldest quarter, and returns how many data records that were. A quarter, not one, because each time the gateway must be
// told where the held records begin now.
func (h *heldRecords) dropOldest() uint64 {
	if h.first == h.next { // only control records
		h.mappings = noteMappings(h.mappings, h.buf[h.from:])
		h.from = len(h.buf)
		return 0
	}
	n := (h.next - h.first + 3) / 4
	h.drop(h.first + n)
	return n
}

// countRecords checks that b holds whole records and counts the data records among them.
func countRecords(b []byte) (n uint64, err error) {
	for at := 0; at < len(b); {
		size := int(b[at]) * lengthUnit
		if size < HeaderSize || size > len(b)-at {
			return 0, fmt.Errorf("%w: the record at byte %d says %d bytes, %d are there; publish whole records", ErrLength, at, size, len(b)-at)
		}
		if !RType(b[at+offRType]).IsControl() {
			n++
		}
		at += size
	}
	return n, nil
}
