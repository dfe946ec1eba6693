package feed

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// craftedFile is an input of an old version that real data lacks: made from a seed, so that its upgraded bytes can be
// computed by the reference implementation once and compared for ever.
type craftedFile struct {
	name    string
	version uint8
	tsOut   bool
	body    []byte // records
}

// craftSeed is not to be changed: testdata/upgraded.sha256 holds what comes of it.
const craftSeed = 20261122

// craft makes files of versions 1 and 2, with and without ts_out: every layout that changed, with random bytes in every
// field and the values that are treated in a special way.
func craft() []craftedFile {
	var files []craftedFile
	for _, f := range []craftedFile{
		{name: "v1", version: 1},
		{name: "v1-ts-out", version: 1, tsOut: true},
		{name: "v2", version: 2},
		{name: "v2-ts-out", version: 2, tsOut: true},
	} {
		rng := rand.New(rand.NewPCG(craftSeed, uint64(len(files))))
		for _, rt := range []RType{RTypeStatistics, RTypeInstrumentDef, RTypeSymbolMapping, RTypeError, RTypeSystem, RTypeMbo, RTypeMbp0, RTypeStatus} {
			for i := range 20 {
				f.body = append(f.body, f.record(rng, rt, i)...)
			}
		}
		for _, text := range craftedTexts {
			for _, rt := range []RType{RTypeError, RTypeSystem} {
				r := f.record(rng, rt, 0)
				clear(r[16:textSizeV1])
				copy(r[16:16+textSizeV1], text)
				f.body = append(f.body, r...)
			}
		}
		files = append(files, f)
	}
	return files
}

// record makes the i-th record of a type.
func (f craftedFile) record(rng *rand.Rand, rt RType, i int) []byte {
	size, err := recordSize(rt, f.version)
	if err != nil {
		panic(err)
	}
	whole := size
	if f.tsOut {
		whole += TsOutSize
	}
	r := make([]byte, whole)
	for at := range r {
		r[at] = byte(rng.Uint32())
	}
	r[0], r[1] = byte(whole/lengthUnit), byte(rt)
	switch {
	case rt == RTypeStatistics:
		quantities := []int32{math.MaxInt32, math.MinInt32, -1, 0, math.MaxInt32 - 1}
		if i < len(quantities) {
			binary.LittleEndian.PutUint32(r[40:], uint32(quantities[i]))
		}
	case rt == RTypeInstrumentDef && f.version == 1:
		// Bytes that the reference implementation holds as enumerations, which must not have other values.
		r[349], r[353] = 'A', 'Y'
	case rt == RTypeError || rt == RTypeSystem:
		if f.version == 1 {
			r[16+i%textSizeV1] = 0
		} else {
			r[17] = 0
		}
	}
	return r
}

// craftedTexts are texts of error and system records that tell a code, and some that nearly do.
var craftedTexts = []string{
	"Heartbeat", "Heartbeat ", "heartbeat", "",
	"End of interval for ohlcv-1m", "End of interval for ", "End of interval",
	"Subscription request 0 for ohlcv-1m data succeeded", "Subscription request 0 for mbo data failed", "Subscription request  succeeded",
	"Subscription request succeeded",
	"Warning: slow reading, 5 s behind", "Warning: slow readin",
	"Finished ohlcv-1m replay", "Finished  replay", "Finished replay", "Finished mbo replay.",
	"User or API key deactivated", "User or API key deactivated.",
	"User has reached their open connection limit",
	"Failed to resolve symbol 'X'", "Failed to resolve symbols", "Failed to resolve",
	"Internal error", "Internal error: x",
	"Slow client detected for mbp-1. Skipped records", "Slow client detected",
	"Heartbeat\x00with bytes after its end",
	"End of interval for \xff\xfe",
	"Finished a replay of which nothing ends the text: 64 bytes replay",
	"Authentication failed", "Invalid subscription",
}

// input is the whole file: metadata of its version with symbols and mappings, then the records.
func (f craftedFile) input() []byte {
	m := Metadata{
		Version: f.version, Dataset: "XNAS.ITCH", Schema: SchemaNone, Start: 1, End: UndefTimestamp, StypeIn: STypeNone, StypeOut: STypeInstrumentID,
		TsOut: f.tsOut, Symbols: []string{"MSFT", "A", "TWENTY-ONE-CHARACTERS"}, Partial: []string{"A"}, NotFound: []string{"NONE"},
		Mappings: []SymbolMapping{
			{RawSymbol: "MSFT", Intervals: []MappingInterval{{20230101, 20230105, "1"}, {20230105, 20230106, "2"}}},
			{RawSymbol: "A"},
		},
	}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return append(b, f.body...)
}
