package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

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

// tapFiles is what a tap finds of its tape: what a server would serve, were it opened now.
type tapFiles struct {
	list  []kept // of segments with committed records, by ordinal
	holes []Hole
	gone  uint64 // records below it have expired
}

// ordinalOf is the segment that gives record seq; 0: none.
func (f *tapFiles) ordinalOf(seq uint64) uint64 {
	for i := range f.list {
		if k := &f.list[i]; k.info.base <= seq && seq < k.end {
			return k.info.ordinal
		}
	}
	return 0
}

// missing is why no segment gives record seq.
func (f *tapFiles) missing(seq uint64) error {
	for _, h := range f.holes {
		if h.From <= seq && seq < h.To {
			return &MissingError{From: seq, To: h.To, Cause: h.Cause, why: errors.New("no file gives them")}
		}
	}
	if seq < f.gone {
		return fmt.Errorf("%w: record %d, kept are those from %d on", ErrAgedOut, seq, f.gone)
	}
	return fmt.Errorf("%w: record %d is committed, and its segment is not there", ErrCorrupt, seq)
}

// look reads the headers of all segments.
func (t *Tap) look() (f tapFiles, err error) {
	tail := t.Tail()
	v := view{disk: OSDisk{}, dir: t.dir, places: map[int]place{int(t.schema): {ordinal: 1 << 31}}}
	ordinals, err := v.segments(t.schema)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(ordinals) == 0 {
		return f, nil // no record yet
	}
	if err != nil {
		return f, err
	}
	// A listing may miss a file that is being renamed: those beside it and between are looked for by number.
	first, last := ordinals[0], ordinals[len(ordinals)-1]
	for first > 1 && t.exists(first-1) {
		first--
	}
	for ordinal := first; ordinal <= last || t.exists(ordinal); ordinal++ {
		file, k, err := t.openFile(ordinal)
		if isHurt(err) {
			continue // a hole, unless it has expired since
		}
		if err != nil {
			return f, err
		}
		file.Close()
		if k.info.base < tail {
			f.list = append(f.list, k)
		}
	}
	if err := t.history.loadGaps(); err == nil { // after the files: what has expired is in the ledger before its file goes
		f.gone = t.history.expired[int(t.schema)]
	} else if len(f.list) > 0 { // a later version's: a tap needs no ledger, and takes what is not there for expired
		f.gone = f.list[0].info.base
	}
	f.holes = holesUpTo(tail, holesIn(f.list, f.gone))
	if n := len(f.list); n > 0 && f.list[n-1].info.limit() < tail {
		f.holes = append(f.holes, Hole{f.list[n-1].info.limit(), tail, CauseDamaged})
	} else if n == 0 && f.gone < tail {
		f.holes = append(f.holes, Hole{f.gone, tail, CauseQuarantined})
	}
	return f, nil
}

// holesUpTo is what of holes lies below the tail: the segment in use is cut short as well, and most of it is not used.
func holesUpTo(tail uint64, holes []Hole) (list []Hole) {
	for _, h := range holes {
		if h.To = min(h.To, tail); h.From < h.To {
			list = append(list, h)
		}
	}
	return list
}

// infoTries is how often a header is read that its writer is about to change.
const infoTries = 3

func (t *Tap) exists(ordinal uint64) bool {
	f, _, err := t.openFile(ordinal)
	if err == nil {
		f.Close()
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// openFile opens the file of a segment, sealed or not; of two the one that openSegmentFile would take.
func (t *Tap) openFile(ordinal uint64) (f File, k kept, err error) {
	dir := filepath.Join(t.dir, t.schema.String())
	for try := 1; ; try++ {
		first := error(fs.ErrNotExist)
		for _, suffix := range segmentSuffixes(ordinal == t.state.place(int(t.schema)).ordinal) {
			if f, k, err = t.openPath(segmentPath(dir, ordinal, suffix), ordinal); err == nil {
				return f, k, nil
			}
			if errors.Is(first, fs.ErrNotExist) {
				first = err
			}
		}
		if try == infoTries || errors.Is(first, fs.ErrNotExist) {
			return nil, k, first
		}
		time.Sleep(tapWaitMost)
	}
}

func (t *Tap) openPath(path string, ordinal uint64) (File, kept, error) {
	f, err := OSDisk{}.Open(path, true)
	if err != nil {
		return nil, kept{}, err
	}
	k, err := readKept(OSDisk{}, f, path, t.schema, ordinal)
	if err == nil && ordinal < t.state.place(int(t.schema)).ordinal {
		err = t.history.checkEpoch(f, path, k.info)
	}
	if err != nil {
		f.Close()
		return nil, k, err
	}
	return f, k, nil
}

// open maps the segment that holds seq, up to its last record: what follows in the file is cut off when it is sealed.
func (t *Tap) open(ordinal uint64) error {
	tail := t.Tail() // before the file: what was committed then is in the one that has the name now
	f, k, err := t.openFile(ordinal)
	if err != nil {
		return err
	}
	s := &tapSegment{info: k.info, end: k.end, sure: tail, file: f}
	if !s.gives(t.seq) {
		f.Close()
		return fmt.Errorf("%w: record %d is not in segment %d", ErrCorrupt, t.seq, ordinal)
	}
	s.chunks = t.loadChunks(k)
	if s.data, err = unix.Mmap(f.Fd(), 0, int(s.offset(s.end)), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		f.Close()
		return fmt.Errorf("map segment %d: %w", ordinal, err)
	}
	t.seg = s
	return nil
}

// SeekTime moves to the first record whose time by the clock c is not before ts (ns), or to the tail; where records that cannot be given end there, before those:
// they may be what is asked for. Records without that time do not count.
func (t *Tap) SeekTime(c feed.Clock, ts uint64) error {
	tail := t.Tail()
	if ts == undefTime {
		return t.Seek(tail)
	}
	f, err := t.look()
	if err != nil {
		return err
	}
	steps, err := t.outlierSteps()
	if err != nil {
		return err
	}
	var hurt Hole // that ends where the tap is
	for _, k := range f.list {
		if k.info.sealed {
			total, _, err := readIndex(OSDisk{}, filepath.Join(t.dir, t.schema.String()), k.info, false)
			if err == nil && !total.has(c, ts) {
				continue
			}
		}
		if err := t.Seek(k.info.base); errors.Is(err, ErrAgedOut) {
			return t.SeekTime(c, ts) // it has expired since the listing, and others may have too
		} else if err != nil {
			return err
		}
		if hurt.To != k.info.base {
			hurt = f.before(k.info.base)
		}
		for t.seq < k.info.limit() && t.seq < tail {
			b, err := t.Next()
			if missing := (*MissingError)(nil); errors.As(err, &missing) {
				if missing.From > hurt.To {
					hurt.From = missing.From
				}
				hurt.To = missing.To
				continue // a time that cannot be relied on
			}
			if err != nil || b == nil {
				return err
			}
			from := t.seq - uint64(len(b)/t.size)
			if i, ok := t.find(c, ts, b, from, steps); ok {
				if t.seq = from + i; t.seq == hurt.To { // else it is mapped, and can be read if it expires just now
					t.seq = hurt.From
				}
				return nil
			}
		}
	}
	return t.Seek(max(tail, t.seq)) // what was committed meanwhile and not looked at comes next: it may be wanted
}

// before is the hole that ends with record seq, or an empty one there.
func (f *tapFiles) before(seq uint64) Hole {
	for _, h := range f.holes {
		if h.To == seq {
			return h
		}
	}
	return Hole{From: seq, To: seq}
}

// find is which of the records of b, the first of which has the number from, is the first whose time is not before ts.
func (t *Tap) find(c feed.Clock, ts uint64, b []byte, from uint64, steps outlierSteps) (uint64, bool) {
	l := &layouts[t.schema]
	for i := uint64(0); len(b) > 0; i, b = i+1, b[t.size:] {
		limit, _ := steps.at(from + i)
		if at := l.at(c, b[:t.size]); at >= ts && at != undefTime && (limit == undefTime || !l.beyond(b[:t.size], limit)) {
			return i, true
		}
	}
	return 0, false
}

// outlierSteps is what the log of outliers says of this tape now.
func (t *Tap) outlierSteps() (outlierSteps, error) {
	payloads, err := t.history.payloads(logOutliers)
	if err != nil {
		return nil, err
	}
	all, err := parseOutlierSteps(payloads)
	return all[t.schema], err
}
