package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// checkVersions looks at what a tap reads: the other files may be of any version.
func (t *Tap) checkVersions() error {
	disk := OSDisk{}
	if err := checkStateVersion(disk, t.dir); err != nil {
		return err
	}
	if err := checkLogVersion(disk, t.symbols.path, symbolsMagic, sideVersion); err != nil {
		return err
	}
	return checkTapeVersions(disk, filepath.Join(t.dir, t.schema.String()))
}

// segments is the tape's segments with committed records, by ordinal.
func (t *Tap) segments() ([]segmentInfo, error) {
	tail := t.Tail()
	v := view{disk: OSDisk{}, dir: t.dir, places: map[int]place{int(t.schema): {ordinal: 1 << 31}}}
	ordinals, err := v.segments(t.schema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no record yet
	}
	if err != nil {
		return nil, err
	}
	var list []segmentInfo
	for _, ordinal := range ordinals {
		f, info, err := t.openInfo(ordinal)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has expired since the listing
		}
		if err != nil {
			return nil, err
		}
		f.Close()
		if info.base < tail {
			list = append(list, info)
		}
	}
	return list, nil
}

// infoTries is how often a header is read that its writer is about to change.
const infoTries = 3

func (t *Tap) openInfo(ordinal uint64) (File, segmentInfo, error) {
	for try := 1; ; try++ {
		f, info, err := openSegmentFile(OSDisk{}, filepath.Join(t.dir, t.schema.String()), ordinal)
		if err == nil || try == infoTries || errors.Is(err, fs.ErrNotExist) {
			return f, info, err
		}
	}
}

// open maps a segment up to its last record: what follows in the file is cut off when it is sealed.
func (t *Tap) open(ordinal uint64) (*tapSegment, error) {
	f, info, err := t.openInfo(ordinal)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	if info.recordSize != t.size || info.schema != t.schema {
		return nil, fmt.Errorf("%w: segment %d is of %s", ErrCorrupt, ordinal, info.schema)
	}
	s := &tapSegment{info: info, chunks: t.loadChunks(info)}
	if s.data, err = unix.Mmap(f.Fd(), 0, int(s.offset(s.limit())), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map segment %d: %w", ordinal, err)
	}
	return s, nil
}

// SeekTime moves to the first record whose time by the clock c is not before ts (ns), or to the tail. Records without that time do not count.
func (t *Tap) SeekTime(c feed.Clock, ts uint64) error {
	tail, l := t.Tail(), &layouts[t.schema]
	if ts == undefTime {
		return t.Seek(tail)
	}
	segments, err := t.segments()
	if err != nil {
		return err
	}
	steps, err := t.outlierSteps()
	if err != nil {
		return err
	}
	for _, info := range segments {
		if info.sealed {
			total, _, err := readIndex(OSDisk{}, filepath.Join(t.dir, t.schema.String()), info, false)
			if err == nil && !total.has(c, ts) {
				continue
			}
		}
		if err := t.Seek(info.base); errors.Is(err, ErrAgedOut) {
			return t.SeekTime(c, ts) // it has expired since the listing, and others may have too
		} else if err != nil {
			return err
		}
		for {
			b, err := t.Next()
			if missing := (*MissingError)(nil); errors.As(err, &missing) {
				if t.seq >= info.base+info.records || t.seq >= tail {
					break
				}
				continue // a time that cannot be relied on
			}
			if err != nil || b == nil {
				return err
			}
			from := t.seq - uint64(len(b)/t.size)
			for i := 0; i < len(b); i += t.size {
				seq := from + uint64(i/t.size)
				limit, _ := steps.at(seq)
				if at := l.at(c, b[i:i+t.size]); at >= ts && at != undefTime && (limit == undefTime || !l.beyond(b[i:i+t.size], limit)) {
					t.seq = seq // it is mapped, and can be read if it expires just now
					return nil
				}
			}
			if t.seq >= info.base+info.records || t.seq >= tail {
				break
			}
		}
	}
	return t.Seek(max(tail, t.seq)) // what was committed meanwhile and not looked at comes next: it may be wanted
}

// outlierSteps is what the log of outliers says of this tape now.
func (t *Tap) outlierSteps() (outlierSteps, error) {
	path := filepath.Join(t.dir, outliersName)
	f, err := OSDisk{}.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := readSideLog(f, path, outliersMagic, 0)
	if err != nil {
		return nil, err
	}
	all, err := parseOutlierSteps(c.payloads)
	return all[t.schema], err
}

// tapSymbols is what a tap knows of the symbol table.
type tapSymbols struct {
	path    string
	table   *Symbols
	read    int64               // length of the log, logical, that was taken in
	unnamed map[uint32]struct{} // ids that were not known when they were looked for
}

// Symbol is what an instrument id stands for by the newest that was said of it, whatever the day; SymbolAt is who a record was.
func (t *Tap) Symbol(id uint32) (string, bool) {
	if !t.knows(id) {
		return "", false
	}
	return t.symbols.table.Symbol(id)
}

// SymbolAt is what the instrument of record seq stood for there and then; rec is that record. A mapping is in the table before the first record that needs
// it, so only an id that is not known yet costs a look at the file. An id that is given to another symbol changes with Refresh.
func (t *Tap) SymbolAt(seq uint64, rec feed.Record) (string, bool) {
	if !t.knows(rec.InstrumentID()) {
		return "", false
	}
	return t.symbols.table.NameAt(rec.InstrumentID(), t.schema, seq, DayOf(rec.IndexTime()))
}

func (t *Tap) knows(id uint32) bool {
	s := &t.symbols
	if s.table != nil && s.table.ids.head(id) != 0 {
		return true
	}
	if _, ok := s.unnamed[id]; ok || t.Refresh() != nil {
		return false
	}
	if s.table.ids.head(id) != 0 {
		return true
	}
	s.unnamed[id] = struct{}{} // who names it later is seen by Refresh
	return false
}

// Refresh takes in what the symbol table has that is new.
func (t *Tap) Refresh() error {
	f, err := OSDisk{}.Open(t.symbols.path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := sideLogSize(f, t.symbols.path, symbolsMagic)
	if err != nil || size == t.symbols.read && t.symbols.table != nil {
		return err
	}
	c, err := readSideLog(f, t.symbols.path, symbolsMagic, 0)
	if err != nil {
		return err
	}
	table := newSymbols(nil)
	var list []Mapping
	for _, p := range c.payloads {
		if list, err = parseMappings(list[:0], p); err != nil {
			return err
		}
		table.enter(list)
	}
	t.symbols.table, t.symbols.read, t.symbols.unnamed = table, c.size(), map[uint32]struct{}{}
	return nil
}
