package feed

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// goldenHeader is the header of a live session: dataset XNAS.ITCH, start 0x0123456789ABCDEF; zeros follow to 128 bytes.
const goldenHeader = "44424e0378000000" + "584e41532e495443" + "4800000000000000" + "ffffefcdab896745" +
	"2301ffffffffffff" + "ffff000000000000" + "0000ff0000470000"

func sessionMetadata() Metadata {
	return Metadata{Version: 3, Dataset: "XNAS.ITCH", Schema: SchemaNone, Start: 0x0123456789ABCDEF, End: UndefTimestamp, StypeIn: STypeNone}
}

// A header that differs in a byte ends the session of one client or another.
func TestSessionHeaderIsGolden(t *testing.T) {
	want, err := hex.DecodeString(goldenHeader)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, make([]byte, 128-len(want))...)
	m := sessionMetadata()
	got, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
	parsed, err := ParseMetadata(want)
	if err != nil || !reflect.DeepEqual(parsed, m) {
		t.Errorf("parsed %+v, %v", parsed, err)
	}
}

func fullMetadata(version uint8) Metadata {
	return Metadata{
		Version: version, Dataset: "GLBX.MDP3-15-BY", Schema: SchemaMbp1, Start: 1, End: 2, Limit: 3, StypeIn: STypeParent, StypeOut: STypeInstrumentID,
		TsOut: true, Symbols: []string{"ES.FUT", "NQ.FUT"}, Partial: []string{"NQ.FUT"}, NotFound: []string{"TWENTY-ONE-CHARACTERS"},
		Mappings: []SymbolMapping{
			{RawSymbol: "ES.FUT", Intervals: []MappingInterval{{20240101, 20240102, "ESH4"}, {20240102, 20240103, "ESM4"}}},
			{RawSymbol: "NQ.FUT"},
		},
	}
}

func TestMetadataComesBackInEveryVersion(t *testing.T) {
	for version := uint8(1); version <= 3; version++ {
		m := fullMetadata(version)
		b, err := m.Append([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		b = b[len("before"):]
		if version == 3 && len(b)%8 != 0 {
			t.Errorf("version 3 takes %d bytes, not a multiple of 8", len(b))
		}
		if size, err := MetadataSize(b[:PreludeSize]); err != nil || size != len(b) {
			t.Errorf("version %d: size %d, %v, want %d", version, size, err, len(b))
		}
		got, err := ParseMetadata(append(b, "after"...))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("version %d: got %+v, %v\nwant %+v", version, got, err, m)
		}
		m.Upgrade()
		if m.Version != 3 || m.TsOut {
			t.Errorf("upgraded to %+v", m)
		}
	}
}

// Padding is where a tape's symbols are filled in later: it may change neither what is read nor where records begin.
func TestPaddedMetadataReadsAsUnpadded(t *testing.T) {
	m := fullMetadata(3)
	plain, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, total := range []int{len(plain), len(plain) + 8, 4096} {
		b, err := m.AppendPadded(nil, total)
		if err != nil || len(b) != total {
			t.Fatalf("%d bytes, %v, want %d", len(b), err, total)
		}
		if !bytes.Equal(b[PreludeSize:len(plain)], plain[PreludeSize:]) || len(bytes.Trim(b[len(plain):], "\x00")) != 0 {
			t.Errorf("padding to %d changes more than the length", total)
		}
		if got, err := ParseMetadata(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for _, total := range []int{0, len(plain) - 8, len(plain) + 4, MaxMetadataSize + 8} {
		if b, err := m.AppendPadded(nil, total); !errors.Is(err, ErrTooLarge) || len(b) != 0 {
			t.Errorf("padding to %d: %d bytes, %v", total, len(b), err)
		}
	}
	m.Version = 2
	if _, err := m.AppendPadded(nil, 4096); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2 padded: %v", err)
	}
}

func TestMetadataThatCannotBeWrittenIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Metadata)
		want   error
	}{
		{"version 0", func(m *Metadata) { m.Version = 0 }, ErrVersion},
		{"version 4", func(m *Metadata) { m.Version = 4 }, ErrVersion},
		{"dataset of 16", func(m *Metadata) { m.Dataset = strings.Repeat("D", 16) }, ErrTooLarge},
		{"symbol of 71", func(m *Metadata) { m.Symbols = []string{strings.Repeat("S", 71)} }, ErrTooLarge},
		{"symbol of 22 in version 1", func(m *Metadata) { m.Version, m.Partial = 1, []string{strings.Repeat("S", 22)} }, ErrTooLarge},
		{"mapping of 71", func(m *Metadata) { m.Mappings = []SymbolMapping{{RawSymbol: strings.Repeat("S", 71)}} }, ErrTooLarge},
		{"interval of 71", func(m *Metadata) {
			m.Mappings = []SymbolMapping{{RawSymbol: "A", Intervals: []MappingInterval{{Symbol: strings.Repeat("S", 71)}}}}
		}, ErrTooLarge},
	} {
		m := sessionMetadata()
		c.change(&m)
		if b, err := m.Append([]byte("x")); !errors.Is(err, c.want) || string(b) != "x" {
			t.Errorf("%s: %q, %v, want %v", c.name, b, err, c.want)
		}
	}
}

// Counts come from the network: each is held against the bytes that are there before anything is made for it.
func TestHostileMetadataIsRefusedWithoutMemory(t *testing.T) {
	m := fullMetadata(3)
	good, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	u16, u32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	mappings := 8 + 104 + 4 + 2*71 + 4 + 71 + 4 + 71
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"nothing", func(b []byte) []byte { return nil }, ErrShort},
		{"7 bytes", func(b []byte) []byte { return b[:7] }, ErrShort},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, ErrShort},
		{"not DBN", func(b []byte) []byte { b[0] = 'd'; return b }, ErrMetadata},
		{"version 0", func(b []byte) []byte { b[3] = 0; return b }, ErrVersion},
		{"version 4", func(b []byte) []byte { b[3] = 4; return b }, ErrMetadata},
		{"length 0", func(b []byte) []byte { u32(b[4:], 0); return b }, ErrMetadata},
		{"length 119", func(b []byte) []byte { u32(b[4:], 119); return b }, ErrMetadata},
		{"length 4 GiB", func(b []byte) []byte { u32(b[4:], 1<<32-1); return b }, ErrMetadata},
		{"length at the limit", func(b []byte) []byte { u32(b[4:], MaxMetadataSize-8); return b }, ErrShort},
		{"schema 20", func(b []byte) []byte { u16(b[8+16:], 20); return b }, ErrMetadata},
		{"symbol width 0", func(b []byte) []byte { u16(b[8+45:], 0); return b }, ErrMetadata},
		{"symbol width 21", func(b []byte) []byte { u16(b[8+45:], 21); return b }, ErrMetadata},
		{"symbol width 65535", func(b []byte) []byte { u16(b[8+45:], 65535); return b }, ErrMetadata},
		{"schema definition", func(b []byte) []byte { u32(b[8+100:], 1); return b }, ErrMetadata},
		{"4 billion symbols", func(b []byte) []byte { u32(b[8+104:], 1<<32-1); return b }, ErrMetadata},
		{"one symbol too many", func(b []byte) []byte { u32(b[8+104:], 11); return b }, ErrMetadata},
		{"4 billion mappings", func(b []byte) []byte { u32(b[mappings:], 1<<32-1); return b }, ErrMetadata},
		{"4 billion intervals", func(b []byte) []byte { u32(b[mappings+4+71:], 1<<32-1); return b }, ErrMetadata},
		{"lists that end early", func(b []byte) []byte { u32(b[4:], 120); return b[:128] }, ErrMetadata},
	} {
		b := c.change(bytes.Clone(good))
		if _, err := ParseMetadata(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		allocated := bytesAllocated(func() { _, _ = ParseMetadata(b) })
		if allocated > uint64(8*len(good)) {
			t.Errorf("%s: %d bytes allocated for %d bytes of input", c.name, allocated, len(b))
		}
	}
}

// bytesAllocated is how much memory f takes, whether it gives it back or not.
func bytesAllocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
