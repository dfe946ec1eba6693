package feed

import (
	"encoding/binary"
	"strconv"
)

// ScanRun checks the records at the start of b, which are v3 without ts_out, and gives the longest run of whole ones that
// belong to one schema: the first n bytes. declared is the metadata's schema, for SchemaOf.
//
// A run ends at a record of another schema, at a control record and before a record that b does not hold whole. So n is 0
// without an error when b begins with a control record, or holds less than one record; the caller parses the one and waits
// for the rest of the other.
//
// A bad record behind the run comes as a *RecordError that wraps ErrRType or ErrLength, with the record's number from the
// start of b; the n bytes before it are still good. It is found as soon as its first two bytes are there. Without an error
// nothing is allocated; a record costs one comparison.
func ScanRun(b []byte, declared Schema) (schema Schema, n int, err error) {
	if len(b) < 2 {
		return SchemaNone, 0, nil
	}
	rt := RType(b[offRType])
	schema, ok := SchemaOf(rt, declared)
	if !ok {
		return SchemaNone, 0, checkHead(b, 0)
	}
	size := rt.RecordSize()
	if int(b[0])*lengthUnit != size {
		return SchemaNone, 0, checkHead(b, 0)
	}
	head := binary.LittleEndian.Uint16(b)
	for n+size <= len(b) {
		if binary.LittleEndian.Uint16(b[n:]) != head {
			return schema, n, checkHead(b[n:], n/size)
		}
		n += size
	}
	if rest := b[n:]; len(rest) >= 2 && binary.LittleEndian.Uint16(rest) != head {
		err = checkHead(rest, n/size)
	}
	return schema, n, err
}

// checkHead tells whether b, of two bytes or more, begins with a record whose type and length fit version 3. record is its
// number, for the error.
func checkHead(b []byte, record int) error {
	rt := RType(b[offRType])
	if !rt.Known() || rt == RTypeOhlcvDeprecated {
		return &RecordError{Err: ErrRType, Record: record, Want: "a known record type", Got: rt.String()}
	}
	if got := int(b[0]) * lengthUnit; got != rt.RecordSize() {
		return &RecordError{Err: ErrLength, Record: record, Want: bytesOf(rt.RecordSize(), rt), Got: bytesOf(got, rt)}
	}
	return nil
}

// bytesOf words a size for an error.
func bytesOf(size int, rt RType) string {
	return strconv.Itoa(size) + " bytes of " + rt.String()
}
