package journal

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tapewire/tapewire/feed"
)

// span is the least and greatest defined time of each clock in a stretch of records. A clock without any has min > max.
type span struct{ minEvent, maxEvent, minRecv, maxRecv uint64 }

var emptySpan = span{minEvent: undefTime, minRecv: undefTime}

// block is one entry of the block index: about blockBytes of records.
type block struct {
	first uint64
	count uint32
	crc   uint32
	span  span
}

const (
	indexMagic   = "TWBLOCKS"
	indexVersion = 1
	indexHeader  = 96
	indexEntry   = 48
)

// has says whether any record of the stretch has a time of the clock that is not before ts.
func (s *span) has(c feed.Clock, ts uint64) bool {
	if c == feed.ClockRecv {
		return s.minRecv <= s.maxRecv && s.maxRecv >= ts
	}
	return s.minEvent <= s.maxEvent && s.maxEvent >= ts
}

func (s *span) add(o span) {
	s.minEvent, s.maxEvent = min(s.minEvent, o.minEvent), max(s.maxEvent, o.maxEvent)
	s.minRecv, s.maxRecv = min(s.minRecv, o.minRecv), max(s.maxRecv, o.maxRecv)
}

// index is the span by which DBN orders records: ts_recv where there is one.
func (s *span) index() (from, to uint64) {
	if s.minRecv <= s.maxRecv {
		return s.minRecv, s.maxRecv
	}
	return s.minEvent, s.maxEvent
}

// blockRecords is how many records a block has; at least one.
func blockRecords(size int) uint64 { return uint64(max(blockBytes/size, 1)) }

// sumPiece is how many bytes of a block are summed up at once. The look at the times, one line of the cache after the other, brings them in as fast as
// memory goes; CRC32C, which reads at three places at a time, would wait for each.
const sumPiece = 8 << 10

// makeBlock sums up b, whole records of s beginning with record first.
func makeBlock(first uint64, b []byte, s feed.Schema, size int) block {
	recv := s.TsRecvOffset()
	k := block{first: first, count: uint32(len(b) / size), span: emptySpan}
	for piece := max(sumPiece/size, 1) * size; len(b) > 0; {
		part := b[:min(piece, len(b))]
		k.span.cover(part, recv, size)
		k.crc = updateCRC(k.crc, part)
		b = b[len(part):]
	}
	return k
}

// cover adds the times of whole records; recv is where their ts_recv lies, negative when they have none.
func (s *span) cover(b []byte, recv, size int) {
	le, k := binary.LittleEndian, *s
	for ; len(b) >= size; b = b[size:] {
		if ts := le.Uint64(b[eventOffset:]); ts != undefTime {
			k.minEvent, k.maxEvent = min(k.minEvent, ts), max(k.maxEvent, ts)
		}
		if recv < 0 {
			continue
		}
		if ts := le.Uint64(b[recv:]); ts != undefTime {
			k.minRecv, k.maxRecv = min(k.minRecv, ts), max(k.maxRecv, ts)
		}
	}
	*s = k
}

// eventOffset is where ts_event lies in every record.
const eventOffset = 8

// makeBlocks sums up records [from, to) of a segment file, read in blocks.
func makeBlocks(f io.ReaderAt, info segmentInfo, from, to uint64) ([]block, error) {
	var list []block
	per := blockRecords(info.recordSize)
	buf := make([]byte, int(per)*info.recordSize)
	for ; from < to; from += per {
		b := buf[:min(per, to-from)*uint64(info.recordSize)]
		if _, err := f.ReadAt(b, info.header+int64(from-info.base)*int64(info.recordSize)); err != nil {
			return nil, fmt.Errorf("index segment %d of %s: %w", info.ordinal, info.schema, err)
		}
		list = append(list, makeBlock(from, b, info.schema, info.recordSize))
	}
	return list, nil
}

func totalSpan(blocks []block) span {
	total := emptySpan
	for i := range blocks {
		total.add(blocks[i].span)
	}
	return total
}

func appendSpan(dst []byte, s span) []byte {
	for _, v := range []uint64{s.minEvent, s.maxEvent, s.minRecv, s.maxRecv} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// appendIndex writes an index file: a header, one entry per block.
func appendIndex(dst []byte, info segmentInfo, blocks []block) []byte {
	le := binary.LittleEndian
	var entries []byte
	for _, k := range blocks {
		entries = le.AppendUint64(entries, k.first)
		entries = appendSpan(entries, k.span)
		entries = le.AppendUint32(entries, k.count)
		entries = le.AppendUint32(entries, k.crc)
	}
	at := len(dst)
	dst = append(dst, indexMagic...)
	dst = le.AppendUint32(dst, indexVersion)
	dst = le.AppendUint16(dst, uint16(info.schema))
	dst = le.AppendUint16(dst, uint16(info.recordSize))
	dst = le.AppendUint32(dst, uint32(info.ordinal))
	dst = le.AppendUint32(dst, uint32(len(blocks)))
	dst = le.AppendUint64(dst, info.base)
	dst = le.AppendUint64(dst, info.records)
	dst = appendSpan(dst, totalSpan(blocks))
	dst = append(dst, make([]byte, indexHeader-(len(dst)-at)-8)...)
	dst = le.AppendUint32(dst, crc32c(entries))
	dst = le.AppendUint32(dst, crc32c(dst[at:]))
	return append(dst, entries...)
}

// parseIndex reads an index file that must be the one of the given segment; entries is false when only the header is there and wanted.
func parseIndex(b []byte, info segmentInfo, entries bool) (span, []block, error) {
	bad := fmt.Errorf("%w: block index of segment %d of %s", ErrCorrupt, info.ordinal, info.schema)
	le := binary.LittleEndian
	if len(b) < indexHeader || string(b[:8]) != indexMagic || le.Uint32(b[indexHeader-4:]) != crc32c(b[:indexHeader-4]) {
		return span{}, nil, bad
	}
	if v := le.Uint32(b[8:]); v != indexVersion {
		return span{}, nil, otherVersion(segmentPath(info.schema.String(), info.ordinal, indexSuffix), v, indexVersion)
	}
	n := int(le.Uint32(b[20:]))
	if feed.Schema(le.Uint16(b[12:])) != info.schema || le.Uint64(b[24:]) != info.base || le.Uint64(b[32:]) != info.records {
		return span{}, nil, bad
	}
	total := parseSpan(b[40:])
	if !entries {
		return total, nil, nil
	}
	if len(b) != indexHeader+n*indexEntry || le.Uint32(b[indexHeader-8:]) != crc32c(b[indexHeader:]) {
		return span{}, nil, bad
	}
	list := make([]block, 0, n)
	for b = b[indexHeader:]; len(b) > 0; b = b[indexEntry:] {
		list = append(list, block{first: le.Uint64(b), span: parseSpan(b[8:]), count: le.Uint32(b[40:]), crc: le.Uint32(b[44:])})
	}
	return total, list, nil
}

func parseSpan(b []byte) span {
	le := binary.LittleEndian
	return span{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])}
}

// readIndex reads a sealed segment's index file.
func readIndex(disk Disk, dir string, info segmentInfo, entries bool) (span, []block, error) {
	f, err := disk.Open(segmentPath(dir, info.ordinal, indexSuffix), true)
	if err != nil {
		return span{}, nil, err
	}
	defer f.Close()
	b := make([]byte, indexHeader)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return span{}, nil, fmt.Errorf("read block index: %w", err)
	}
	total, _, err := parseIndex(b, info, false)
	if err != nil || !entries {
		return total, nil, err
	}
	size, err := f.Size()
	if err != nil {
		return span{}, nil, err
	}
	if most := indexHeader + indexEntry*int64(info.records/blockRecords(info.recordSize)+1); size > most {
		return span{}, nil, fmt.Errorf("%w: block index of %d bytes", ErrCorrupt, size)
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return span{}, nil, fmt.Errorf("read block index: %w", err)
	}
	return parseIndex(b, info, true)
}

// writeIndex makes the index file of a sealed segment.
func writeIndex(disk Disk, dir string, info segmentInfo, blocks []block) error {
	return writeWhole(disk, segmentPath(dir, info.ordinal, indexSuffix), func(f File) error {
		_, err := f.WriteAt(appendIndex(nil, info, blocks), 0)
		return err
	})
}
