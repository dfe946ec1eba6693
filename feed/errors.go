package feed

import (
	"errors"
	"fmt"
)

// The errors of this package; each is wrapped with what was found and, where there is one, the remedy.
var (
	// ErrShort: fewer bytes than the thing needs; more may come.
	ErrShort = errors.New("feed: too few bytes")
	// ErrMetadata: the metadata header is not DBN, has an unknown version, or contradicts itself.
	ErrMetadata = errors.New("feed: bad DBN metadata")
	// ErrLength: a record's length byte does not fit its type and version.
	ErrLength = errors.New("feed: bad record length")
	// ErrRType: a record's type is unknown, or not one that can be stored.
	ErrRType = errors.New("feed: bad record type")
	// ErrVersion: a DBN version that this package does not know.
	ErrVersion = errors.New("feed: unknown DBN version")
	// ErrTooLarge: something does not fit the room that the format or the caller gives it.
	ErrTooLarge = errors.New("feed: too large")
	// ErrNotDBN: the input is neither DBN nor zstd-compressed DBN.
	ErrNotDBN = errors.New("feed: not DBN")
	// ErrLegacyDBZ: the input is DBZ, the format before DBN.
	ErrLegacyDBZ = errors.New("feed: legacy DBZ file")
	// ErrSchema: no schema has this name.
	ErrSchema = errors.New("feed: unknown schema")
	// ErrSType: no symbology type has this name.
	ErrSType = errors.New("feed: unknown symbology type")
	// ErrPrice: a text is not a price that fits nine decimals and 64 bits.
	ErrPrice = errors.New("feed: bad price")
)

// RecordError says which record of a run or a file is wrong and how. It wraps ErrLength or ErrRType.
type RecordError struct {
	Err    error
	Record int    // number of the record, from 0, in the bytes that were given
	Want   string // what would have been right
	Got    string // what is there
}

// Error gives all of it on one line.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%v: record %d: want %s, got %s", e.Err, e.Record, e.Want, e.Got)
}

// Unwrap gives the sentinel.
func (e *RecordError) Unwrap() error { return e.Err }
