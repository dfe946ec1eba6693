package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"unsafe"
)

// The state page is the mapped file `state`: what kill -9 leaves behind. Offsets are in README.md. All words are 8 bytes, little-endian and 8-byte aligned; places
// and counts are stored atomically, so that another process may map the file too.
//
// Its disk pages are written back independently of each other, and of the records. So each commit slot vouches for all of it: by a CRC of its own, by a sum
// over every word of places and counts once it is applied, by the lengths of the side logs, and by a running CRC32C of each tape's records since they were
// last known to be on disk. Where all of that is true, nothing is missing, wherever the page is seen from.
const (
	stateName    = "state"
	stateMagic   = "TWSTATE\x00"
	stateVersion = 2

	stateCRC     = 12
	stateBoot    = 16
	stateMount   = 32
	stateDevice  = 40
	stateInode   = 48
	stateEpoch   = 56
	stateConst   = 128 // bytes the CRC covers, itself excluded
	stateCommit  = 128 // commit_no, on a cache line of its own
	stateSlots   = 256
	slotBytes    = 1536
	slotSum      = 32
	slotLogs     = 40  // lengths of the side logs, room for slotLogCount
	slotCRC      = 120 // of the bytes before it and of the entries
	slotHeader   = 128
	slotEntry    = 48 // schema, ordinal, base, tail, from, crc
	stateTapes   = 4096
	tapeBytes    = 64
	tapeWords    = 5 // of them in use: ordinal, base, tail, from, crc
	stateStreams = 8192
	stateBytes   = stateStreams + 8*MaxStreams
)

// slotLogCount is how many side logs a slot has room for.
const slotLogCount = (slotCRC - slotLogs) / 8

// place is where a tape ends: in which segment file, which record that file begins with, and the first record not committed.
type place struct{ ordinal, base, tail uint64 }

// fresh sums up a tape's newest records: crc is the CRC32C of those from from on, up to the tail. What lies before is vouched for by the sync log.
type fresh struct {
	from uint64
	crc  uint32
}

type statePage struct {
	file File
	mem  Memory
	b    []byte

	no  uint64 // of the newest commit, as this process remembers it: see ours
	sum uint64 // over all places and counts
}

func (p *statePage) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&p.b[off])) }

func (p *statePage) load(off int) uint64     { return atomic.LoadUint64(p.word(off)) }
func (p *statePage) store(off int, v uint64) { atomic.StoreUint64(p.word(off), v) }

func (p *statePage) place(schema int) place {
	at := stateTapes + schema*tapeBytes
	return place{p.load(at), p.load(at + 8), p.load(at + 16)}
}

// setPlace stores the tail last: who sees it may rely on the segment it lies in, or sees that the ordinal has moved on.
func (p *statePage) setPlace(schema int, v place, f fresh) {
	at := stateTapes + schema*tapeBytes
	if p.load(at) != v.ordinal || p.load(at+8) != v.base {
		p.store(at, v.ordinal)
		p.store(at+8, v.base)
	}
	p.store(at+24, f.from)
	p.store(at+32, uint64(f.crc))
	p.store(at+16, v.tail)
}

func (p *statePage) fresh(schema int) fresh {
	at := stateTapes + schema*tapeBytes
	return fresh{p.load(at + 24), uint32(p.load(at + 32))}
}

// mixed is what the word at off adds to the sum over the page: a word that changes, or that stands at another place, changes it by something else.
func mixed(off int, v uint64) uint64 {
	if v == 0 {
		return 0 // a page is mostly empty
	}
	v += uint64(off) * 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// total is the sum over all places and counts, word by word.
func (p *statePage) total() (sum uint64) {
	for schema := range MaxTapes {
		at := stateTapes + schema*tapeBytes
		for off := at; off < at+8*tapeWords; off += 8 {
			sum += mixed(off, p.load(off))
		}
	}
	for off := stateStreams; off < stateBytes; off += 8 {
		sum += mixed(off, p.load(off))
	}
	return sum
}

// sumAfter is the sum once s is applied.
func (p *statePage) sumAfter(s *slot) uint64 {
	sum := p.sum
	change := func(off int, v uint64) {
		if old := p.load(off); old != v {
			sum += mixed(off, v) - mixed(off, old)
		}
	}
	for i := range s.tapes[:s.n] {
		t := &s.tapes[i]
		at := stateTapes + t.schema*tapeBytes
		change(at, t.place.ordinal)
		change(at+8, t.place.base)
		change(at+16, t.place.tail)
		change(at+24, t.fresh.from)
		change(at+32, uint64(t.fresh.crc))
	}
	change(stateStreams+8*int(s.stream), s.count)
	return sum
}

func (p *statePage) count(stream uint32) uint64       { return p.load(stateStreams + 8*int(stream)) }
func (p *statePage) setCount(stream uint32, n uint64) { p.store(stateStreams+8*int(stream), n) }

// constant fills in what the CRC covers.
func (p *statePage) constant(id Identity, epoch uint64) {
	copy(p.b, stateMagic)
	binary.LittleEndian.PutUint32(p.b[8:], stateVersion)
	copy(p.b[stateBoot:], id.BootID[:])
	binary.LittleEndian.PutUint64(p.b[stateMount:], id.Mount)
	binary.LittleEndian.PutUint64(p.b[stateDevice:], id.Device)
	binary.LittleEndian.PutUint64(p.b[stateInode:], id.Inode)
	binary.LittleEndian.PutUint64(p.b[stateEpoch:], epoch)
	binary.LittleEndian.PutUint32(p.b[stateCRC:], stateSum(p.b))
}

func stateSum(b []byte) uint32 {
	var head [stateConst]byte
	copy(head[:], b)
	clear(head[stateCRC : stateCRC+4])
	return crc32c(head[:])
}

// checkStateHead says whether b, the first bytes of the file at path, is how a state page of a version that we read begins. A page of another version may
// have another size; the CRC of its head is where ours is.
func checkStateHead(b []byte, path string) error {
	if len(b) < stateConst || string(b[:8]) != stateMagic {
		return fmt.Errorf("%w: %s is not a state page", ErrCorrupt, path)
	}
	if binary.LittleEndian.Uint32(b[stateCRC:]) != stateSum(b) {
		return fmt.Errorf("%w: %s fails its CRC", ErrCorrupt, path)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != stateVersion && v != stateVersion1 {
		return otherVersion(path, v, stateVersion)
	}
	return nil
}

// checkState says whether b is a state page, and what identity and epoch it holds.
func checkState(b []byte) (id Identity, epoch uint64, err error) {
	if err := checkStateHead(b, stateName); err != nil {
		return id, 0, err
	}
	if len(b) < stateBytes {
		return id, 0, fmt.Errorf("%w: state page is %d bytes, want %d", ErrCorrupt, len(b), stateBytes)
	}
	copy(id.BootID[:], b[stateBoot:])
	id.Mount = binary.LittleEndian.Uint64(b[stateMount:])
	id.Device = binary.LittleEndian.Uint64(b[stateDevice:])
	id.Inode = binary.LittleEndian.Uint64(b[stateInode:])
	return id, binary.LittleEndian.Uint64(b[stateEpoch:]), nil
}

// createState replaces the state page by one that holds the given places and counts, of which everything is on disk. It is synced with this file's own
// identity in it.
func createState(disk Disk, dir string, epoch uint64, places map[int]place, counts []uint64, logs [slotLogCount]int64) error {
	return writeWhole(disk, filepath.Join(dir, stateName), func(f File) error {
		id, err := f.Identity()
		if err != nil {
			return err
		}
		p := statePage{b: make([]byte, stateBytes)}
		p.constant(id, epoch)
		for schema, v := range places {
			p.setPlace(schema, v, fresh{from: v.tail})
		}
		for stream, n := range counts {
			p.setCount(uint32(stream), n)
		}
		p.sum = p.total()
		p.commit(&slot{count: p.count(0), logs: logs})
		if err := f.Allocate(stateBytes); err != nil {
			return err
		}
		_, err = f.WriteAt(p.b, 0)
		return err
	})
}

// mapState opens the state page and faults it in. It does not judge what it holds.
func mapState(disk Disk, dir string) (*statePage, error) {
	f, err := disk.Open(filepath.Join(dir, stateName), false)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size != stateBytes {
		err = fmt.Errorf("%w: state page is %d bytes, want %d", ErrCorrupt, size, stateBytes)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	m, err := f.Map(stateBytes)
	if err != nil {
		f.Close()
		return nil, err
	}
	p := &statePage{file: f, mem: m, b: m.Bytes()}
	if err := m.Populate(0, stateBytes); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *statePage) close() {
	p.mem.Unmap()
	p.file.Close()
}

// slot is one commit: everything absolute, so applying it twice is harmless.
type slot struct {
	stream uint32
	count  uint64
	logs   [slotLogCount]int64 // lengths of the side logs: what these records need is in them
	n      int
	tapes  [slotEntries]struct {
		schema int
		place  place
		fresh  fresh
	}
}

// slotEntries is how many tapes a slot has room for: all of DBN's schemas, so one commit can span them.
const slotEntries = (slotBytes - slotHeader) / slotEntry

// fill writes s into the slot that commit number no will make valid. The stores need not be atomic: nobody reads this slot before the atomic store
// of commit_no, which no store before it passes.
func (p *statePage) fill(no, sum uint64, s *slot) {
	at := stateSlots + int(no&1)*slotBytes
	*p.word(at), *p.word(at + 8), *p.word(at + 16), *p.word(at + 24), *p.word(at + slotSum) = no, uint64(s.stream), s.count, uint64(s.n), sum
	for i, n := range s.logs {
		*p.word(at + slotLogs + 8*i) = uint64(n)
	}
	for i := range s.tapes[:s.n] {
		t := &s.tapes[i]
		e := at + slotHeader + i*slotEntry
		*p.word(e), *p.word(e + 8), *p.word(e + 16), *p.word(e + 24) = uint64(t.schema), t.place.ordinal, t.place.base, t.place.tail
		*p.word(e + 32), *p.word(e + 40) = t.fresh.from, uint64(t.fresh.crc)
	}
	*p.word(at + slotCRC) = uint64(p.slotCRC(at, s.n))
}

func (p *statePage) slotCRC(at, n int) uint32 {
	return updateCRC(crc32c(p.b[at:at+slotCRC]), p.b[at+slotHeader:at+slotHeader+n*slotEntry])
}

// read is the slot of the newest commit, and what it says the sum over the page is once it is applied; an error when it is not one that fill wrote.
func (p *statePage) read(s *slot) (sum uint64, err error) {
	no := p.load(stateCommit)
	at := stateSlots + int(no&1)*slotBytes
	stream, n := p.load(at+8), p.load(at+24)
	if no == 0 || p.load(at) != no || stream >= MaxStreams || n > slotEntries || p.load(at+slotCRC) != uint64(p.slotCRC(at, int(n))) {
		return 0, fmt.Errorf("%w: commit slot of commit %d", ErrCorrupt, no)
	}
	*s = slot{stream: uint32(stream), count: p.load(at + 16), n: int(n)}
	for i := range s.logs {
		s.logs[i] = int64(p.load(at + slotLogs + 8*i))
	}
	for i := range s.tapes[:s.n] {
		e := at + slotHeader + i*slotEntry
		schema := p.load(e)
		if schema >= MaxTapes {
			return 0, fmt.Errorf("%w: commit slot of commit %d names schema %d", ErrCorrupt, no, schema)
		}
		s.tapes[i].schema = int(schema)
		s.tapes[i].place = place{p.load(e + 8), p.load(e + 16), p.load(e + 24)}
		s.tapes[i].fresh = fresh{p.load(e + 32), uint32(p.load(e + 40))}
	}
	return p.load(at + slotSum), nil
}

// apply stores what s says into the tapes' places and the stream's count.
func (p *statePage) apply(s *slot) {
	for i := range s.tapes[:s.n] {
		p.setPlace(s.tapes[i].schema, s.tapes[i].place, s.tapes[i].fresh)
	}
	p.setCount(s.stream, s.count)
}

func (p *statePage) version() uint32 { return binary.LittleEndian.Uint32(p.b[8:]) }

// settle applies the newest commit again, as an opening does: a process may have ended while it was at it. What comes of it must be what the slot says, or
// a part of the page is older than the rest. The lengths of the side logs are those of that commit.
func (p *statePage) settle() (logs [slotLogCount]int64, err error) {
	if p.version() == stateVersion1 {
		return logs, p.settleV1()
	}
	var s slot
	sum, err := p.read(&s)
	if err != nil {
		return logs, err
	}
	p.apply(&s)
	if p.total() != sum {
		return logs, fmt.Errorf("%w: state page fails its sum: a part of it is older than commit %d", ErrCorrupt, p.load(stateCommit))
	}
	p.no, p.sum = p.load(stateCommit), sum
	return s.logs, nil
}

// copied is the page as it is now, in memory of its own.
func (p *statePage) copied() *statePage { return &statePage{b: bytes.Clone(p.b)} }

// commit makes s the newest commit. The one store of commit_no decides: before it nothing happened, after it everything did,
// since an opening applies the newest slot again.
func (p *statePage) commit(s *slot) {
	no, sum := p.no+1, p.sumAfter(s)
	p.fill(no, sum, s)
	p.store(stateCommit, no)
	p.apply(s)
	p.no, p.sum = no, sum
}

// ours says whether the newest commit is the one that this process made. Another one means that somebody else writes here: the process was restored from a
// checkpoint after it had gone on, or the lock was passed by.
func (p *statePage) ours() error {
	if no := p.load(stateCommit); no != p.no {
		return fmt.Errorf("%w: %s is at commit %d, this process made commit %d last: another process wrote here, or this one was restored from a checkpoint; "+
			"stop both and start one again", ErrFault, stateName, no, p.no)
	}
	return nil
}
