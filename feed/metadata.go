package feed

import (
	"encoding/binary"
	"fmt"
)

// Versions of DBN that are read. Version, the newest, is the one written unless metadata says otherwise.
const (
	Version    = 3
	minVersion = 1
)

// Sizes of metadata in bytes.
const (
	// PreludeSize is what MetadataSize needs: "DBN", a version byte and the u32 length of what follows.
	PreludeSize = 8
	// MinMetadataSize is the size of metadata without symbols and mappings, prelude included.
	MinMetadataSize = 128
	// MaxMetadataSize bounds what is read and written, prelude included: room for four million symbols with a mapping each.
	// A server that reads from the network wants a smaller limit, and compares it with what MetadataSize gives.
	MaxMetadataSize = 1 << 30
	// MaxDatasetLen is the longest dataset name.
	MaxDatasetLen = datasetFieldSize - 1
	// MaxSymbolLen is the longest symbol, in metadata and in records of versions 2 and 3.
	MaxSymbolLen = symbolFieldSize - 1

	datasetFieldSize  = 16
	symbolFieldSize   = 71
	symbolFieldSizeV1 = 22
	metadataAlign     = 8

	// recordCountV1 is what v1 metadata holds in its record count, which later versions dropped: not known.
	recordCountV1 = ^uint64(0)
)

// Offsets of fields in the metadata body, which begins after the prelude; v1 has eight more bytes after the limit.
const (
	offMetaSchema    = 16
	offMetaStart     = 18
	offMetaEnd       = 26
	offMetaLimit     = 34
	offMetaStypeIn   = 42
	offMetaStypeInV1 = 50
	offMetaSchemaDef = 100
	offMetaSymbols   = 104
)

// Metadata heads a DBN file or stream.
type Metadata struct {
	Version  uint8  // 1, 2 or 3: how the records that follow are laid out
	Dataset  string // at most MaxDatasetLen bytes
	Schema   Schema // SchemaNone: several
	Start    uint64 // ns, inclusive
	End      uint64 // ns, exclusive; UndefTimestamp: not known
	Limit    uint64 // records; 0: none
	StypeIn  SType  // STypeNone: several
	StypeOut SType
	TsOut    bool // each record has a ts_out after it
	Symbols  []string
	Partial  []string // symbols that were not resolved on every day
	NotFound []string // symbols that were resolved on no day
	Mappings []SymbolMapping
}

// SymbolMapping says what a requested symbol stood for, day by day.
type SymbolMapping struct {
	RawSymbol string
	Intervals []MappingInterval
}

// MappingInterval is a span of days, each written as the number YYYYMMDD; the end is exclusive.
type MappingInterval struct {
	StartDate, EndDate uint32
	Symbol             string // in the metadata's StypeOut
}

// Upgrade turns metadata of any version into what heads the same records after Upgrade: version 3 without ts_out.
func (m *Metadata) Upgrade() {
	m.Version = Version
	m.TsOut = false
}

// MetadataSize gives the whole size in bytes of metadata, prelude included, by its first PreludeSize bytes. ErrShort: fewer
// were given. ErrMetadata: it is not DBN, its version is unknown or its size impossible.
func MetadataSize(prelude []byte) (int, error) {
	if len(prelude) < PreludeSize {
		return 0, fmt.Errorf("%w: metadata begins with %d, got %d", ErrShort, PreludeSize, len(prelude))
	}
	if string(prelude[:3]) != "DBN" {
		return 0, fmt.Errorf("%w: want %q first, got %q", ErrMetadata, "DBN", prelude[:3])
	}
	if v := prelude[3]; v < minVersion || v > Version {
		return 0, fmt.Errorf("%w: %w %d: versions %d to %d are read", ErrMetadata, ErrVersion, v, minVersion, Version)
	}
	size := uint64(binary.LittleEndian.Uint32(prelude[4:])) + PreludeSize
	if size < MinMetadataSize || size > MaxMetadataSize {
		return 0, fmt.Errorf("%w: want %d to %d bytes, got %d", ErrMetadata, MinMetadataSize, MaxMetadataSize, size)
	}
	return int(size), nil
}

// ParseMetadata reads metadata from the start of b, which may go on after it. Strings are copied out of b. ErrShort: b ends
// before the size its prelude gives. ErrMetadata: as MetadataSize, and contents that contradict the size. Memory stays
// within a small multiple of the size, whatever the counts claim.
func ParseMetadata(b []byte) (Metadata, error) {
	size, err := MetadataSize(b)
	if err != nil {
		return Metadata{}, err
	}
	if len(b) < size {
		return Metadata{}, fmt.Errorf("%w: metadata of %d, got %d", ErrShort, size, len(b))
	}
	body := b[PreludeSize:size]
	m := Metadata{
		Version: b[3],
		Dataset: CString(body[:datasetFieldSize]),
		Schema:  Schema(binary.LittleEndian.Uint16(body[offMetaSchema:])),
		Start:   binary.LittleEndian.Uint64(body[offMetaStart:]),
		End:     binary.LittleEndian.Uint64(body[offMetaEnd:]),
		Limit:   binary.LittleEndian.Uint64(body[offMetaLimit:]),
	}
	if m.Schema != SchemaNone && !m.Schema.Valid() {
		return Metadata{}, fmt.Errorf("%w: schema number %d is unknown", ErrMetadata, uint16(m.Schema))
	}
	stypes, width := body[offMetaStypeIn:], symbolFieldSizeV1
	if m.Version == 1 {
		stypes = body[offMetaStypeInV1:]
	} else {
		width = int(binary.LittleEndian.Uint16(stypes[3:]))
	}
	m.StypeIn, m.StypeOut, m.TsOut = SType(stypes[0]), SType(stypes[1]), stypes[2] != 0
	if width < symbolFieldSizeV1 {
		// Also what bounds memory: a string header takes 16 bytes, and a symbol never fewer than that here.
		return Metadata{}, fmt.Errorf("%w: symbol fields of %d bytes, want at least %d", ErrMetadata, width, symbolFieldSizeV1)
	}
	if n := binary.LittleEndian.Uint32(body[offMetaSchemaDef:]); n != 0 {
		return Metadata{}, fmt.Errorf("%w: a schema definition of %d bytes, which nothing defines", ErrMetadata, n)
	}
	lists := metadataReader{rest: string(body[offMetaSymbols:]), width: width}
	m.Symbols = lists.symbols("symbols")
	m.Partial = lists.symbols("partial symbols")
	m.NotFound = lists.symbols("symbols not found")
	m.Mappings = lists.mappings()
	return m, lists.err
}

// metadataReader takes the lists of metadata from the front of rest, one after the other; the first error ends it.
type metadataReader struct {
	rest  string // one copy of the lists; the symbols are pieces of it
	width int    // of a symbol field
	err   error
}

// count takes a list's length; each element takes at least min bytes, so that what the bytes cannot hold is refused
// before anything is allocated for it.
func (r *metadataReader) count(what string, min int) int {
	if r.err != nil {
		return 0
	}
	if len(r.rest) < 4 {
		r.err = fmt.Errorf("%w: ends before the number of %s", ErrMetadata, what)
		return 0
	}
	n := uint64(r.number())
	if n*uint64(min) > uint64(len(r.rest)) {
		r.err = fmt.Errorf("%w: %d %s do not fit the %d bytes left", ErrMetadata, n, what, len(r.rest))
		return 0
	}
	return int(n)
}

// number takes a u32 that is known to be there.
func (r *metadataReader) number() uint32 {
	n := uint32(r.rest[0]) | uint32(r.rest[1])<<8 | uint32(r.rest[2])<<16 | uint32(r.rest[3])<<24
	r.rest = r.rest[4:]
	return n
}

// symbol takes a NUL-padded field that is known to be there.
func (r *metadataReader) symbol() string {
	field := r.rest[:r.width]
	r.rest = r.rest[r.width:]
	return cutAtNul(field)
}

func (r *metadataReader) symbols(what string) []string {
	n := r.count(what, r.width)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.symbol()
	}
	return list
}

func (r *metadataReader) mappings() []SymbolMapping {
	n := r.count("mappings", r.width+4)
	if n == 0 {
		return nil
	}
	list := make([]SymbolMapping, 0, n)
	for range n {
		if len(r.rest) < r.width+4 {
			r.err = fmt.Errorf("%w: ends within mapping %d of %d", ErrMetadata, len(list), n)
			return nil
		}
		m := SymbolMapping{RawSymbol: r.symbol()}
		intervals := r.count("intervals of "+m.RawSymbol, r.width+8)
		if r.err != nil {
			return nil
		}
		if intervals > 0 {
			m.Intervals = make([]MappingInterval, intervals)
		}
		for i := range m.Intervals {
			m.Intervals[i] = MappingInterval{StartDate: r.number(), EndDate: r.number(), Symbol: r.symbol()}
		}
		list = append(list, m)
	}
	return list
}
