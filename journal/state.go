package journal

import (
	"encoding/binary"
	"errors"
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
	stateWitness = 64  // inode and ctime
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
func (p *statePage) constant(id Identity, w witness, epoch uint64) {
	copy(p.b, stateMagic)
	binary.LittleEndian.PutUint32(p.b[8:], stateVersion)
	copy(p.b[stateBoot:], id.BootID[:])
	binary.LittleEndian.PutUint64(p.b[stateMount:], id.Mount)
	binary.LittleEndian.PutUint64(p.b[stateDevice:], id.Device)
	binary.LittleEndian.PutUint64(p.b[stateInode:], id.Inode)
	binary.LittleEndian.PutUint64(p.b[stateEpoch:], epoch)
	binary.LittleEndian.PutUint64(p.b[stateWitness:], w.inode)
	binary.LittleEndian.PutUint64(p.b[stateWitness+8:], uint64(w.changed))
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
	p := statePage{b: b}
	return p.identity(), binary.LittleEndian.Uint64(b[stateEpoch:]), nil
}

func (p *statePage) identity() (id Identity) {
	copy(id.BootID[:], p.b[stateBoot:])
	id.Mount = binary.LittleEndian.Uint64(p.b[stateMount:])
	id.Device = binary.LittleEndian.Uint64(p.b[stateDevice:])
	id.Inode = binary.LittleEndian.Uint64(p.b[stateInode:])
	return id
}

func (p *statePage) witness() witness {
	return witness{binary.LittleEndian.Uint64(p.b[stateWitness:]), int64(binary.LittleEndian.Uint64(p.b[stateWitness+8:]))}
}

// createState replaces the state page by one that holds the given places and counts, of which everything is on disk. It is synced with this file's own
// identity in it, beside a witness of its own.
func createState(disk Disk, dir string, epoch uint64, places map[int]place, counts []uint64, logs [slotLogCount]int64) error {
	p := statePage{b: make([]byte, stateBytes)}
	err := writeWhole(disk, filepath.Join(dir, stateName), func(f File) error {
		id, err := f.Identity()
		if err != nil {
			return err
		}
		if err := f.Allocate(stateBytes); err != nil { // before the witness of the old page goes: without room that page stays
			return err
		}
		w, err := makeWitness(disk, dir)
		if err != nil {
			return err
		}
		p.constant(id, w, epoch)
		for schema, v := range places {
			p.setPlace(schema, v, fresh{from: v.tail})
		}
		for stream, n := range counts {
			p.setCount(uint32(stream), n)
		}
		p.sum = p.total()
		p.commit(&slot{count: p.count(0), logs: logs})
		_, err = f.WriteAt(p.b, 0)
		return err
	})
	if err != nil {
		return err
	}
	// The rename has changed its ctime alone, which is how a page looks that somebody put back: see witness.
	f, err := openState(disk, dir, false)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(p.b[:len(stateMagic)], 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// openState opens the state page and looks at its size.
func openState(disk Disk, dir string, readOnly bool) (File, error) {
	f, err := disk.Open(filepath.Join(dir, stateName), readOnly)
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
	return f, nil
}

// readState is the state page as it was left, in memory of its own, and what becomes of its epoch. Nothing is changed by that, not even its times: an opening
// that does not get to its end leaves to the next one what this one found.
func readState(disk Disk, dir string) (p *statePage, k kin, err error) {
	f, err := openState(disk, dir, true)
	if err != nil {
		return nil, k, err
	}
	defer f.Close()
	p = &statePage{b: make([]byte, stateBytes)}
	if n, err := f.ReadAt(p.b, 0); n < len(p.b) {
		return nil, k, fmt.Errorf("%w: state page: %w", ErrCorrupt, err)
	}
	if err := checkStateHead(p.b, stateName); err != nil {
		return nil, k, err
	}
	k, err = p.kin(disk, dir, f)
	return p, k, err
}

// mapState maps the state page and faults it in. It does not judge what it holds.
func mapState(disk Disk, dir string) (*statePage, error) {
	f, err := openState(disk, dir, false)
	if err != nil {
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
