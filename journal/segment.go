package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
)

// Segment is one file of a tape: records Base() .. Limit(), each at a fixed offset. A holder pins it: file and mapping stay until Release,
// also when the segment is sealed, renamed or the journal closed meanwhile.
type Segment struct {
	tape    *Tape
	ordinal uint64
	base    uint64
	header  int64 // bytes before the first record
	limit   uint64

	populated atomic.Int64 // bytes of the file that may be stored to without a first-touch fault
	kickAt    atomic.Int64 // when an append ends beyond this offset the preparer should populate more

	indexing sync.Mutex              // guards what adds to blocks
	blocks   atomic.Pointer[[]block] // index of a segment that is not sealed: a prefix of its blocks
	total    atomic.Pointer[Times]   // of all records, once it is sealed and was looked at
	cached   atomic.Pointer[[]block] // index of a sealed segment that somebody reads; see indexCache
	newest   tailLook                // of what the index does not have yet

	oldest  atomic.Uint32 // 1 + the oldest day of its records, once it is sealed and was looked at
	written atomic.Int64  // when it was sealed, in ns by Journal.clock; before, 0 or when an earlier process made it

	sums  []syncRange // of what is on disk of a segment that is not sealed; under syncer.mu
	proof *proof      // what records of an earlier process are held against; nil: there are none

	looked atomic.Bool // whether the file is long enough, since it was opened

	mu     sync.Mutex // guards opening and closing
	refs   atomic.Int64
	sealed atomic.Bool
	file   File
	mem    Memory
	data   []byte // the mapping; nil when there is none
	extra  bool   // file is counted beyond what the tape has anyway
}

const (
	activeSuffix = ".tape"
	sealedSuffix = ".dbn"
	indexSuffix  = ".idx"

	segmentMagic   = "TWSEGMNT"
	segmentVersion = 1
	segmentHeader  = 64 // the last bytes of the header region
	flagSealed     = 1
)

// Base is the first record's number in the tape.
func (s *Segment) Base() uint64 { return s.base }

// Limit is the number of the first record that does not fit into this file any more.
func (s *Segment) Limit() uint64 { return s.limit }

// Offset is where record seq begins in the file, in bytes.
func (s *Segment) Offset(seq uint64) int64 { return s.header + int64(seq-s.base)*int64(s.tape.size) }

// Mapped is the memory of records [from, to), without a copy; nil when this segment is not mapped and ReadAt or Fd must be used.
// Both numbers lie within the segment and are at most a Tail() that the caller has already loaded.
func (s *Segment) Mapped(from, to uint64) []byte {
	if s.data == nil {
		return nil
	}
	a, b := s.Offset(from), s.Offset(to)
	return s.data[a:b:b]
}

// ReadAt reads the file. What lies beyond the tail means nothing.
func (s *Segment) ReadAt(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// Fd is the file's descriptor, valid until Release, for sendfile and splice; -1 on a disk that has none. Never send beyond the tail.
func (s *Segment) Fd() int { return s.file.Fd() }

// Release ends the pin.
func (s *Segment) Release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs.Load() > 0 || s.file == nil {
		return // somebody pinned it again before we got here
	}
	if s.mem != nil {
		s.mem.Unmap()
	}
	s.file.Close()
	s.file, s.mem, s.data = nil, nil, nil
	s.returnFile()
	s.tape.d.j.indexes.drop(s)
}

// releaseUnsealed gives back the reference that a tape holds to each segment it has not sealed.
func releaseUnsealed(segs []*Segment) {
	for _, s := range segs {
		if !s.sealed.Load() {
			s.Release()
		}
	}
}

// unsealedOf is those of a tape's segments that are not sealed. They are its last ones, but for a tape that was copied in place of a sealed segment.
func unsealedOf(segs []*Segment) (list []*Segment) {
	for _, s := range segs {
		if !s.sealed.Load() {
			list = append(list, s)
		}
	}
	return list
}

// acquire pins the segment, without a lock while anybody else holds it. A sealed one that nobody holds is opened, without a mapping.
func (s *Segment) acquire() error { return s.pin(false) }

// pin is acquire, or for a look that holds the pin for a moment: see files.look.
func (s *Segment) pin(look bool) error {
	for n := s.refs.Load(); n > 0; n = s.refs.Load() {
		if s.refs.CompareAndSwap(n, n+1) {
			return nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if s.tape.d.closed.Load() {
			return fmt.Errorf("segment %d of %s: %w", s.ordinal, s.tape.name(), ErrClosed)
		}
		if err := s.takeFile(look); err != nil {
			return err
		}
		f, err := s.tape.d.disk.Open(s.path(), true)
		if err != nil {
			s.returnFile()
			return err
		}
		s.file = f
		s.looked.Store(false)
	}
	s.refs.Add(1)
	return nil
}

// path is the file's present name; the caller holds mu or is the only one to seal.
func (s *Segment) path() string {
	suffix := activeSuffix
	if s.sealed.Load() {
		suffix = sealedSuffix
	}
	return segmentPath(s.tape.dir, s.ordinal, suffix)
}

func segmentPath(dir string, ordinal uint64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", ordinal, suffix))
}

// ordinalOf is a segment's number, from the name of one of its files.
func ordinalOf(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, filepath.Ext(name)), 10, 32)
	return n, err == nil
}

// segmentInfo is what a segment file says about itself.
type segmentInfo struct {
	schema     feed.Schema
	recordSize int
	ordinal    uint64
	sealed     bool
	base       uint64
	epoch      uint64
	records    uint64 // that it holds when sealed, that fit when not
	created    uint64 // wall ns
	header     int64  // bytes of the header region, from the DBN metadata
}

func (i *segmentInfo) append(dst []byte) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = append(dst, segmentMagic...)
	dst = le.AppendUint32(dst, segmentVersion)
	dst = le.AppendUint16(dst, uint16(i.schema))
	dst = le.AppendUint16(dst, uint16(i.recordSize))
	dst = le.AppendUint32(dst, uint32(i.ordinal))
	var flags uint32
	if i.sealed {
		flags = flagSealed
	}
	dst = le.AppendUint32(dst, flags)
	dst = le.AppendUint64(dst, i.base)
	dst = le.AppendUint64(dst, i.epoch)
	dst = le.AppendUint64(dst, i.records)
	dst = le.AppendUint64(dst, i.created)
	dst = le.AppendUint32(dst, 0)
	return le.AppendUint32(dst, crc32c(dst[at:]))
}

// headerRegion is the bytes before the first record: DBN metadata whose padding ends in our own header. DBN tools take all of it for metadata.
func (i *segmentInfo) headerRegion(m *feed.Metadata) ([]byte, error) {
	// The padding is zero, so what the metadata needs at least tells whether our header fits behind it.
	bare, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	if int64(len(bare))+segmentHeader > i.header {
		return nil, fmt.Errorf("%w: metadata of %d bytes in a header region of %d", ErrLimit, len(bare), i.header)
	}
	b, err := m.AppendPadded(nil, int(i.header))
	if err != nil {
		return nil, err
	}
	return i.append(b[:i.header-segmentHeader]), nil
}

// errShort: the header of a segment file is sound, and the file is shorter than it says.
var errShort = errors.New("the file was cut short")

// readSegmentInfo reads a segment file's header and checks it against the size of the file.
func readSegmentInfo(f File, path string) (segmentInfo, error) {
	var i segmentInfo
	prelude := make([]byte, feed.PreludeSize)
	if _, err := f.ReadAt(prelude, 0); err != nil {
		return i, fmt.Errorf("%w: %s: header: %w", ErrCorrupt, path, err)
	}
	// The length stands at the same place whatever the version of DBN: ours is told first.
	le := binary.LittleEndian
	n := int64(le.Uint32(prelude[4:])) + feed.PreludeSize
	if n < headerUnit || n > maxHeader || n%headerUnit != 0 {
		return i, fmt.Errorf("%w: %s: header region of %d bytes", ErrCorrupt, path, n)
	}
	b := make([]byte, segmentHeader)
	if _, err := f.ReadAt(b, n-segmentHeader); err != nil {
		return i, fmt.Errorf("%w: %s: segment header: %w", ErrCorrupt, path, err)
	}
	if string(b[:8]) != segmentMagic || le.Uint32(b[60:]) != crc32c(b[:60]) {
		return i, fmt.Errorf("%w: %s: segment header fails its CRC", ErrCorrupt, path)
	}
	if v := le.Uint32(b[8:]); v != segmentVersion {
		return i, otherVersion(path, v, segmentVersion)
	}
	if _, err := feed.MetadataSize(prelude); err != nil {
		return i, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	i = segmentInfo{
		schema: feed.Schema(le.Uint16(b[12:])), recordSize: int(le.Uint16(b[14:])), ordinal: uint64(le.Uint32(b[16:])),
		sealed: le.Uint32(b[20:])&flagSealed != 0, base: le.Uint64(b[24:]), epoch: le.Uint64(b[32:]), records: le.Uint64(b[40:]),
		created: le.Uint64(b[48:]), header: n,
	}
	size, err := f.Size()
	if err != nil {
		return i, err
	}
	if i.recordSize == 0 || i.base > maxSeq || i.records > maxSeq/uint64(i.recordSize) {
		return i, fmt.Errorf("%w: %s speaks of %d records of %d bytes from %d on", ErrCorrupt, path, i.records, i.recordSize, i.base)
	}
	if i.header+int64(i.records)*int64(i.recordSize) > size {
		return i, fmt.Errorf("%w: %w: %s holds %d bytes, its header speaks of %d records of %d", ErrCorrupt, errShort, path, size, i.records, i.recordSize)
	}
	return i, nil
}
