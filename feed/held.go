package feed

import "fmt"

// heldRecords are published records that may have to be sent again: the data records of the numbers first to next-1, one behind the other, with
// the control records between them. Its size is bounded by its owner.
type heldRecords struct {
	buf   []byte
	from  int // where the oldest begins in buf
	first uint64
	next  uint64
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
		h.from += h.skip(n)
		h.first = n
	}
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
