package journal

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"

	"github.com/tapewire/tapewire/feed"
)

// block is one entry of the block index: about blockBytes of records.
type block struct {
	first uint64
	count uint32
	crc   uint32
	span  Times
	top   uint64 // the greatest time of all; 0: there is none, or not known
}

// same says whether a block that was read is the one that its records make; version 1 does not have everything.
func (k *block) same(fresh *block) bool {
	if k.top == 0 {
		f := *fresh
		f.top, f.span.MinReplay, f.span.MaxReplay = 0, k.span.MinReplay, k.span.MaxReplay
		return *k == f
	}
	return *k == *fresh
}

const (
	indexMagic   = "TWBLOCKS"
	indexVersion = 3 // is 2 with parts of blocks in it, and written only then: see Segment.spoil
	indexWhole   = 2
	indexHeader  = 96
	indexEntry   = 72
	indexEntry1  = 48 // of version 1
)

// blockRecords is how many records a block has; at least one.
func blockRecords(size int) uint64 { return uint64(max(blockBytes/size, 1)) }

// sumPiece is how many bytes of a block are summed up at once. The look at the times, one line of the cache after the other, brings them in as fast as
// memory goes; CRC32C, which reads at three places at a time, would wait for each.
const sumPiece = 8 << 10

// makeBlock sums up b, whole records of s beginning with record first. Outliers are in the sum, and in no time but the top.
func makeBlock(first uint64, b []byte, s feed.Schema, size int, steps outlierSteps) block {
	l := &layouts[s]
	k := block{first: first, count: uint32(len(b) / size), span: noTimes}
	for piece := max(sumPiece/size, 1) * size; len(b) > 0; {
		part := b[:min(piece, len(b))]
		all := l.times(part)
		k.top = max(k.top, all.top())
		if steps != nil && steps.within(first, all.top()) {
			all = noTimes
			l.normal(first, part, steps, func(b []byte) { all.add(l.times(b)) })
		}
		k.span.add(all)
		k.crc = updateCRC(k.crc, part)
		first += uint64(len(part) / size)
		b = b[len(part):]
	}
	return k
}

// eventOffset is where ts_event lies in every record.
const eventOffset = 8

// makeBlocks sums up records [from, to) of a segment file, read in blocks.
func makeBlocks(f io.ReaderAt, info segmentInfo, from, to uint64, steps outlierSteps) ([]block, error) {
	var list []block
	per := blockRecords(info.recordSize)
	buf := make([]byte, int(per)*info.recordSize)
	for ; from < to; from += per {
		k, err := readBlock(f, info, from, min(from+per, to), steps, buf)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// readBlock sums up records [from, to), for which buf has room.
func readBlock(f io.ReaderAt, info segmentInfo, from, to uint64, steps outlierSteps, buf []byte) (block, error) {
	b := buf[:int(to-from)*info.recordSize]
	if _, err := f.ReadAt(b, info.header+int64(from-info.base)*int64(info.recordSize)); err != nil {
		return block{}, fmt.Errorf("index segment %d of %s: %w", info.ordinal, info.schema, err)
	}
	return makeBlock(from, b, info.schema, info.recordSize, steps), nil
}

func totalTimes(blocks []block) Times {
	total := noTimes
	for i := range blocks {
		total.add(blocks[i].span)
	}
	return total
}

func appendTimes(dst []byte, s Times) []byte {
	for _, v := range []uint64{s.MinEvent, s.MaxEvent, s.MinRecv, s.MaxRecv, s.MinReplay, s.MaxReplay} {
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
		entries = appendTimes(entries, k.span)
		entries = le.AppendUint64(entries, k.top)
		entries = le.AppendUint32(entries, k.count)
		entries = le.AppendUint32(entries, k.crc)
	}
	at := len(dst)
	dst = append(dst, indexMagic...)
	dst = le.AppendUint32(dst, indexVersionOf(info, blocks))
	dst = le.AppendUint16(dst, uint16(info.schema))
	dst = le.AppendUint16(dst, uint16(info.recordSize))
	dst = le.AppendUint32(dst, uint32(info.ordinal))
	dst = le.AppendUint32(dst, uint32(len(blocks)))
	dst = le.AppendUint64(dst, info.base)
	dst = le.AppendUint64(dst, info.records)
	dst = appendTimes(dst, totalTimes(blocks))
	dst = append(dst, make([]byte, indexHeader-(len(dst)-at)-8)...)
	dst = le.AppendUint32(dst, crc32c(entries))
	dst = le.AppendUint32(dst, crc32c(dst[at:]))
	return append(dst, entries...)
}

// indexVersionOf is the version that the blocks of a segment need.
func indexVersionOf(info segmentInfo, blocks []block) uint32 {
	if uint64(len(blocks)) > (info.records-1)/blockRecords(info.recordSize)+1 {
		return indexVersion
	}
	return indexWhole
}

// parseIndex reads an index file that must be the one of the given segment; entries is false when only the header is there and wanted.
func parseIndex(b []byte, info segmentInfo, entries bool) (Times, []block, error) {
	bad := fmt.Errorf("%w: block index of segment %d of %s", ErrCorrupt, info.ordinal, info.schema)
	le := binary.LittleEndian
	if len(b) < indexHeader || string(b[:8]) != indexMagic || le.Uint32(b[indexHeader-4:]) != crc32c(b[:indexHeader-4]) {
		return Times{}, nil, bad
	}
	v := le.Uint32(b[8:])
	if v == 0 || v > indexVersion {
		return Times{}, nil, otherVersion(segmentPath(info.schema.String(), info.ordinal, indexSuffix), v, indexVersion)
	}
	n := int(le.Uint32(b[20:]))
	if feed.Schema(le.Uint16(b[12:])) != info.schema || le.Uint64(b[24:]) != info.base || le.Uint64(b[32:]) != info.records {
		return Times{}, nil, bad
	}
	total, size := parseTimes(b[40:], v, info.schema), entryBytes(v)
	if !entries {
		return total, nil, nil
	}
	if len(b) != indexHeader+n*size || le.Uint32(b[indexHeader-8:]) != crc32c(b[indexHeader:]) {
		return Times{}, nil, bad
	}
	list, next := make([]block, 0, n), info.base
	for b = b[indexHeader:]; len(b) > 0; b = b[size:] {
		k := block{first: le.Uint64(b), span: parseTimes(b[8:], v, info.schema), count: le.Uint32(b[size-8:]), crc: le.Uint32(b[size-4:])}
		if v > 1 {
			k.top = le.Uint64(b[size-16:])
		}
		if k.first != next || k.count == 0 {
			return Times{}, nil, bad
		}
		list, next = append(list, k), k.first+uint64(k.count)
	}
	if next != info.limit() {
		return Times{}, nil, bad
	}
	return total, list, nil
}

// blockAt is the block that record seq lies in, and whether the list has it.
func blockAt(list []block, seq uint64) (*block, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].first+uint64(list[i].count) > seq })
	if i == len(list) || list[i].first > seq {
		return nil, false
	}
	return &list[i], true
}

// entryBytes is the size of an entry in a version of the index.
func entryBytes(version uint32) int {
	if version == 1 {
		return indexEntry1
	}
	return indexEntry
}

// parseTimes reads times; version 1 has none of the replay clock: the two others hold it, and where records are looked at for it there may be none.
func parseTimes(b []byte, version uint32, s feed.Schema) Times {
	le := binary.LittleEndian
	t := Times{MinEvent: le.Uint64(b), MaxEvent: le.Uint64(b[8:]), MinRecv: le.Uint64(b[16:]), MaxRecv: le.Uint64(b[24:])}
	switch {
	case version > 1:
		t.MinReplay, t.MaxReplay = le.Uint64(b[32:]), le.Uint64(b[40:])
	case s.ReplayClock() == feed.ClockRecv: // every record that a release with version 1 took has a ts_recv
		t.MinReplay, t.MaxReplay = t.MinRecv, t.MaxRecv
	default:
		t.MinReplay, t.MaxReplay = min(t.MinEvent, t.MinRecv), max(t.MaxEvent, t.MaxRecv)
	}
	return t
}

// readIndex reads a sealed segment's index file.
func readIndex(disk Disk, dir string, info segmentInfo, entries bool) (Times, []block, error) {
	f, err := disk.Open(segmentPath(dir, info.ordinal, indexSuffix), true)
	if err != nil {
		return Times{}, nil, err
	}
	defer f.Close()
	b := make([]byte, indexHeader)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return Times{}, nil, fmt.Errorf("read block index: %w", err)
	}
	total, _, err := parseIndex(b, info, false)
	if err != nil || !entries {
		return total, nil, err
	}
	size, err := f.Size()
	if err != nil {
		return Times{}, nil, err
	}
	if most := indexHeader + indexEntry*int64(info.records/blockRecords(info.recordSize)+1+spareBlocks); size > most {
		return Times{}, nil, fmt.Errorf("%w: block index of %d bytes", ErrCorrupt, size)
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return Times{}, nil, fmt.Errorf("read block index: %w", err)
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
