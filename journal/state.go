package journal

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"unsafe"
)

// The state page is the mapped file `state`: what kill -9 leaves behind. Offsets are in README.md. All words are 8 bytes, little-endian and 8-byte aligned; places
// and counts are stored atomically, so that another process may map the file too.
const (
	stateName    = "state"
	stateMagic   = "TWSTATE\x00"
	stateVersion = 1

	stateCRC     = 12
	stateBoot    = 16
	stateMount   = 32
	stateDevice  = 40
	stateInode   = 48
	stateEpoch   = 56
	stateConst   = 128 // bytes the CRC covers, itself excluded
	stateCommit  = 128 // commit_no, on a cache line of its own
	stateSlots   = 256
	slotBytes    = 1024
	slotHeader   = 32 // commit_no, stream, count, n
	slotEntry    = 32 // schema, ordinal, base, tail
	stateTapes   = 4096
	tapeBytes    = 64
	stateStreams = 8192
	stateBytes   = stateStreams + 8*MaxStreams
)

// place is where a tape ends: in which segment file, which record that file begins with, and the first record not committed.
type place struct{ ordinal, base, tail uint64 }

type statePage struct {
	file File
	mem  Memory
	b    []byte
}

func (p *statePage) word(off int) *uint64 { return (*uint64)(unsafe.Pointer(&p.b[off])) }

func (p *statePage) load(off int) uint64     { return atomic.LoadUint64(p.word(off)) }
func (p *statePage) store(off int, v uint64) { atomic.StoreUint64(p.word(off), v) }

func (p *statePage) place(schema int) place {
	at := stateTapes + schema*tapeBytes
	return place{p.load(at), p.load(at + 8), p.load(at + 16)}
}

// setPlace stores the tail last: who sees it may rely on the segment it lies in, or sees that the ordinal has moved on.
func (p *statePage) setPlace(schema int, v place) {
	at := stateTapes + schema*tapeBytes
	if p.load(at) != v.ordinal || p.load(at+8) != v.base {
		p.store(at, v.ordinal)
		p.store(at+8, v.base)
	}
	p.store(at+16, v.tail)
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

// checkStateHead says whether b, the first bytes of the file at path, is how a state page of our version begins. A page of another version may have
// another size; the CRC of its head is where ours is.
func checkStateHead(b []byte, path string) error {
	if len(b) < stateConst || string(b[:8]) != stateMagic {
		return fmt.Errorf("%w: %s is not a state page", ErrCorrupt, path)
	}
	if binary.LittleEndian.Uint32(b[stateCRC:]) != stateSum(b) {
		return fmt.Errorf("%w: %s fails its CRC", ErrCorrupt, path)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != stateVersion {
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

// createState replaces the state page by one that holds the given places and counts. It is synced with this file's own identity in it.
func createState(disk Disk, dir string, epoch uint64, places map[int]place, counts []uint64) error {
	return writeWhole(disk, filepath.Join(dir, stateName), func(f File) error {
		id, err := f.Identity()
		if err != nil {
			return err
		}
		p := statePage{b: make([]byte, stateBytes)}
		p.constant(id, epoch)
		for schema, v := range places {
			p.setPlace(schema, v)
		}
		for stream, n := range counts {
			p.setCount(uint32(stream), n)
		}
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
	n      int
	tapes  [MaxTapes - 1]struct {
		schema int
		place  place
	}
}

// slotEntries is how many tapes a slot has room for: all of DBN's schemas, so one commit can span them.
const slotEntries = (slotBytes - slotHeader) / slotEntry

// fill writes s into the slot that commit number no will make valid. The stores need not be atomic: nobody reads this slot before the atomic store
// of commit_no, which no store before it passes.
func (p *statePage) fill(no uint64, s *slot) {
	at := stateSlots + int(no&1)*slotBytes
	*p.word(at), *p.word(at + 8), *p.word(at + 16), *p.word(at + 24) = no, uint64(s.stream), s.count, uint64(s.n)
	for i := range s.tapes[:s.n] {
		t := &s.tapes[i]
		e := at + slotHeader + i*slotEntry
		*p.word(e), *p.word(e + 8), *p.word(e + 16), *p.word(e + 24) = uint64(t.schema), t.place.ordinal, t.place.base, t.place.tail
	}
}

// read is the slot of the newest commit; an error when it is not one that fill wrote.
func (p *statePage) read(s *slot) error {
	no := p.load(stateCommit)
	*s = slot{}
	if no == 0 {
		return nil
	}
	at := stateSlots + int(no&1)*slotBytes
	stream, n := p.load(at+8), p.load(at+24)
	if p.load(at) != no || stream >= MaxStreams || n > slotEntries {
		return fmt.Errorf("%w: commit slot of commit %d", ErrCorrupt, no)
	}
	s.stream, s.count, s.n = uint32(stream), p.load(at+16), int(n)
	for i := range s.tapes[:s.n] {
		e := at + slotHeader + i*slotEntry
		schema := p.load(e)
		if schema >= MaxTapes {
			return fmt.Errorf("%w: commit slot of commit %d names schema %d", ErrCorrupt, no, schema)
		}
		s.tapes[i].schema = int(schema)
		s.tapes[i].place = place{p.load(e + 8), p.load(e + 16), p.load(e + 24)}
	}
	return nil
}

// apply stores what s says into the tapes' places and the stream's count.
func (p *statePage) apply(s *slot) {
	for i := range s.tapes[:s.n] {
		p.setPlace(s.tapes[i].schema, s.tapes[i].place)
	}
	p.setCount(s.stream, s.count)
}

// commit makes s the newest commit. The one store of commit_no decides: before it nothing happened, after it everything did,
// since an opening applies the newest slot again.
func (p *statePage) commit(s *slot) {
	no := p.load(stateCommit) + 1
	p.fill(no, s)
	p.store(stateCommit, no)
	p.apply(s)
}
