package feed

import "encoding/binary"

// Sizes and limits of records, in bytes.
const (
	// HeaderSize is the size of the header that every record begins with.
	HeaderSize = 16
	// TsOutSize is what ts_out adds to the end of each record of a session that asked for it.
	TsOutSize = 8
	// MaxRecordSize is the largest record of any DBN version: a v3 definition with ts_out.
	MaxRecordSize = 520 + TsOutSize

	// lengthUnit is what the header's length counts in.
	lengthUnit = 4

	offRType        = 1
	offPublisherID  = 2
	offInstrumentID = 4
	offTsEvent      = 8
)

// Record is one whole DBN record, header first. It may alias a buffer, so it is only good as long as that buffer's owner
// says. The accessors need at least HeaderSize bytes and panic below; they never allocate.
type Record []byte

// Header is what every record begins with (16 bytes).
type Header struct {
	Length       uint8 // of the whole record, in words of 4 bytes
	RType        RType
	PublisherID  uint16 // the venue
	InstrumentID uint32
	TsEvent      uint64 // ns
}

// Size is the record's size in bytes by its header: it may differ from len(r) when r was not cut at its end.
func (r Record) Size() int { return int(r[0]) * lengthUnit }

// RType is the record's type.
func (r Record) RType() RType { return RType(r[offRType]) }

// PublisherID is the venue's number; 0 in control records.
func (r Record) PublisherID() uint16 { return binary.LittleEndian.Uint16(r[offPublisherID:]) }

// InstrumentID is the instrument's number; 0 where the record is about none.
func (r Record) InstrumentID() uint32 { return binary.LittleEndian.Uint32(r[offInstrumentID:]) }

// TsEvent is the venue's time in ns; UndefTimestamp when it is not known.
func (r Record) TsEvent() uint64 { return binary.LittleEndian.Uint64(r[offTsEvent:]) }

// TsRecv is the time of receipt in ns; UndefTimestamp when it is not known or the type carries none.
func (r Record) TsRecv() uint64 {
	off := int(rtypes[r[offRType]].tsRecv)
	if off == 0 || len(r) < off+8 {
		return UndefTimestamp
	}
	return binary.LittleEndian.Uint64(r[off:])
}

// IndexTime is the time that orders records of several types: ts_recv where there is a defined one, else ts_event.
func (r Record) IndexTime() uint64 {
	if ts := r.TsRecv(); ts != UndefTimestamp {
		return ts
	}
	return r.TsEvent()
}

// AppendWithTsOut appends r and tsOut (ns), with the header's length grown to hold it. r carries no ts_out yet.
func AppendWithTsOut(dst []byte, r Record, tsOut uint64) []byte {
	at := len(dst)
	dst = append(dst, r...)
	dst = binary.LittleEndian.AppendUint64(dst, tsOut)
	dst[at] += TsOutSize / lengthUnit
	return dst
}
