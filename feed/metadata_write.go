package feed

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Append appends the metadata in the layout of m.Version, prelude included; version 3 is padded with zeros to a multiple of
// 8 bytes. ErrVersion: m.Version is none of 1 to 3. ErrTooLarge: the dataset or a symbol does not fit its field, or the
// whole exceeds MaxMetadataSize. dst is returned unchanged on an error.
func (m *Metadata) Append(dst []byte) ([]byte, error) {
	size, err := m.size()
	if err != nil {
		return dst, err
	}
	if m.Version == Version {
		size = (size + metadataAlign - 1) / metadataAlign * metadataAlign
	}
	return m.append(dst, size), nil
}

// AppendPadded appends version 3 metadata padded with zeros so that the whole, prelude included, is total bytes. DBN readers
// skip the padding; it leaves room to fill in symbols and mappings later without moving the records. ErrTooLarge: it does
// not fit total bytes, or total is not a multiple of 8 up to MaxMetadataSize. ErrVersion: m.Version is not 3.
func (m *Metadata) AppendPadded(dst []byte, total int) ([]byte, error) {
	if m.Version != Version {
		return dst, fmt.Errorf("%w %d: only version %d is padded", ErrVersion, m.Version, Version)
	}
	size, err := m.size()
	if err != nil {
		return dst, err
	}
	if size > total || total%metadataAlign != 0 || total > MaxMetadataSize {
		return dst, fmt.Errorf("%w: metadata of %d bytes into %d, a multiple of %d up to %d", ErrTooLarge, size, total, metadataAlign, MaxMetadataSize)
	}
	return m.append(dst, total), nil
}

// symbolWidth is the size of a symbol field in the metadata of m's version.
func (m *Metadata) symbolWidth() int {
	if m.Version == 1 {
		return symbolFieldSizeV1
	}
	return symbolFieldSize
}

// size is the size before padding, prelude included. It also checks everything that append relies on.
func (m *Metadata) size() (int, error) {
	if m.Version < minVersion || m.Version > Version {
		return 0, fmt.Errorf("%w %d: versions %d to %d are written", ErrVersion, m.Version, minVersion, Version)
	}
	if len(m.Dataset) > MaxDatasetLen {
		return 0, fmt.Errorf("%w: dataset %q of %d bytes, want at most %d", ErrTooLarge, m.Dataset, len(m.Dataset), MaxDatasetLen)
	}
	width := m.symbolWidth()
	size := PreludeSize + offMetaSymbols + 4*4
	var tooLong string
	field := func(symbol string) {
		size += width
		if len(symbol) >= width {
			tooLong = symbol
		}
	}
	for _, list := range [][]string{m.Symbols, m.Partial, m.NotFound} {
		for _, s := range list {
			field(s)
		}
	}
	for _, mapping := range m.Mappings {
		field(mapping.RawSymbol)
		size += 4
		for _, interval := range mapping.Intervals {
			field(interval.Symbol)
			size += 8
		}
	}
	if tooLong != "" {
		return 0, fmt.Errorf("%w: symbol %q of %d bytes, want at most %d in version %d", ErrTooLarge, tooLong, len(tooLong), width-1, m.Version)
	}
	if size > MaxMetadataSize-metadataAlign {
		return 0, fmt.Errorf("%w: metadata of %d bytes, want at most %d", ErrTooLarge, size, MaxMetadataSize)
	}
	return size, nil
}

// append writes the metadata and zeros up to size bytes; what does not fit a field was refused by m.size.
func (m *Metadata) append(dst []byte, size int) []byte {
	start := len(dst)
	end := start + size
	le := binary.LittleEndian
	dst = append(slices.Grow(dst, size), "DBN"...)
	dst = append(dst, m.Version)
	dst = le.AppendUint32(dst, uint32(size-PreludeSize))
	dst = appendField(dst, m.Dataset, datasetFieldSize)
	dst = le.AppendUint16(dst, uint16(m.Schema))
	dst = le.AppendUint64(dst, m.Start)
	dst = le.AppendUint64(dst, m.End)
	dst = le.AppendUint64(dst, m.Limit)
	if m.Version == 1 {
		dst = le.AppendUint64(dst, recordCountV1)
	}
	dst = append(dst, byte(m.StypeIn), byte(m.StypeOut), 0)
	if m.TsOut {
		dst[len(dst)-1] = 1
	}
	width := m.symbolWidth()
	if m.Version > 1 {
		dst = le.AppendUint16(dst, uint16(width))
	}
	dst = appendZeros(dst, start+PreludeSize+offMetaSymbols-len(dst)) // reserved bytes and no schema definition
	for _, list := range [][]string{m.Symbols, m.Partial, m.NotFound} {
		dst = le.AppendUint32(dst, uint32(len(list)))
		for _, s := range list {
			dst = appendField(dst, s, width)
		}
	}
	dst = le.AppendUint32(dst, uint32(len(m.Mappings)))
	for _, mapping := range m.Mappings {
		dst = appendField(dst, mapping.RawSymbol, width)
		dst = le.AppendUint32(dst, uint32(len(mapping.Intervals)))
		for _, interval := range mapping.Intervals {
			dst = le.AppendUint32(dst, interval.StartDate)
			dst = le.AppendUint32(dst, interval.EndDate)
			dst = appendField(dst, interval.Symbol, width)
		}
	}
	return appendZeros(dst, end-len(dst))
}
