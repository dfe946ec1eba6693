package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// Tap reads a tape from another process of the machine: it maps the state page and the segments read-only and follows the tail. There is no socket,
// no copy, and no system call for a record. It takes no lock and changes nothing; the server does not know of it and never waits for it.
//
// Next is the hot path: one atomic load when there is nothing new. A Tap must be used by one goroutine at a time.
type Tap struct {
	dir    string // of the dataset
	schema feed.Schema
	size   int

	page  []byte // the state page, mapped
	state statePage
	file  os.FileInfo // which file that is
	epoch uint64
	idle  int // empty calls of Next since the last look at the files

	seq uint64
	seg *tapSegment // holds seq, or seq is its limit; nil before the first look

	symbols tapSymbols
	history view // of the side logs: the epochs that there were, what has expired
}

// tapSegment is one mapped segment file.
type tapSegment struct {
	info   segmentInfo
	end    uint64 // the first record that the file does not give: somebody may have cut it
	sure   uint64 // records below it are in this very file, whatever becomes of its name; see still
	file   File
	data   []byte
	chunks []chunk // what its records are held against before they are given; nil: nothing any more
	why    error   // of the chunk that was found damaged last
}

// ErrReplaced: a recovery replaced the journal's state, so what a Tap maps is no longer the journal's. Open another one; the epoch says whether
// records were cut (see Epoch).
var ErrReplaced = errors.New("the journal was recovered")

// ErrNotRunning: no server has the journal open, and its state page is another machine's, mount's or copy's whose sums are not true, so nobody knows which
// records are there. Start the server.
var ErrNotRunning = errors.New("no server has the journal open, and its state cannot be trusted")

// OpenTap opens a tap at the tail of a tape in the journal directory dir. The tape need not have any record yet. It works while a server runs and after
// one has ended. Errors: one that matches fs.ErrNotExist when nobody has published to the dataset yet; ErrNotRunning; ErrCorrupt; ErrVersion.
func OpenTap(dir, dataset string, schema feed.Schema) (*Tap, error) {
	if err := CheckDataset(dataset); err != nil {
		return nil, err
	}
	if !schema.Valid() {
		return nil, fmt.Errorf("%w: schema %d is none", ErrRecord, schema)
	}
	t := &Tap{dir: filepath.Join(dir, dataset), schema: schema, size: schema.RecordSize()}
	t.symbols.path = filepath.Join(t.dir, symbolsName)
	if err := t.checkVersions(); err != nil {
		return nil, fmt.Errorf("tap %s/%s: %w", dataset, schema, err)
	}
	if err := t.mapState(); err != nil {
		return nil, fmt.Errorf("tap %s/%s: %w", dataset, schema, err)
	}
	t.seq = t.Tail()
	return t, nil
}

// mapState maps the state page and checks that it is exact: see view.loadState.
func (t *Tap) mapState() error {
	path := filepath.Join(t.dir, stateName)
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close() // the mapping stays
	if t.file, err = f.Stat(); err != nil {
		return err
	}
	if t.file.Size() != stateBytes {
		return fmt.Errorf("%w: state page is %d bytes, want %d", ErrCorrupt, t.file.Size(), stateBytes)
	}
	if t.page, err = unix.Mmap(int(f.Fd()), 0, stateBytes, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map %s: %w", path, err)
	}
	t.state.b = t.page
	_, epoch, err := checkState(t.page)
	if err == nil {
		// A server may have been ended in a commit: only its copy of the page is settled, and the next server settles the page.
		v := view{disk: OSDisk{}, dir: t.dir, places: map[int]place{}}
		if err = v.loadState(); err != nil {
			err = fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		t.history = view{disk: OSDisk{}, dir: t.dir, logs: v.logs}
	}
	if err != nil {
		return errors.Join(err, unix.Munmap(t.page))
	}
	t.epoch = epoch
	return nil
}

// Close unmaps everything, also the records that Next returned last.
func (t *Tap) Close() error {
	t.leave()
	return unix.Munmap(t.page)
}

func (t *Tap) leave() {
	if t.seg != nil {
		_ = unix.Munmap(t.seg.data) // what we mapped can be unmapped
		_ = t.seg.file.Close()      // nothing was written
		t.seg = nil
	}
}

// Epoch is the dataset's epoch; with a seq it names a record for ever.
func (t *Tap) Epoch() uint64 { return t.epoch }

// Seq is the number of the next record that Next returns.
func (t *Tap) Seq() uint64 { return t.seq }

// RecordSize is the size of each record in bytes.
func (t *Tap) RecordSize() int { return t.size }

// Tail is the end of the committed records.
func (t *Tap) Tail() uint64 {
	return t.state.load(stateTapes + int(t.schema)*tapeBytes + 16)
}

// tapPatience is how many empty calls of Next, a few ns each, pass between two looks at whether the files are still the journal's.
const tapPatience = 1 << 22

// Next returns the records that were committed since, whole and in order, and moves on; nil when there are none. The bytes lie in the mapping: they are
// never changed and good until the next call. What lies on disk since an earlier process is held against its checksums first. Errors: *MissingError, behind
// which the next call goes on; ErrReplaced; ErrAgedOut when the records are not kept any more.
func (t *Tap) Next() ([]byte, error) {
	tail := t.Tail()
	if tail == t.seq {
		if t.idle++; t.idle < tapPatience {
			return nil, nil
		}
		return nil, t.check()
	}
	t.idle = 0
	if tail < t.seq {
		return nil, fmt.Errorf("%w: %w: the tail is %d, this reader was at %d", ErrReplaced, ErrBeyondTail, tail, t.seq)
	}
	if !t.seg.gives(t.seq) || min(tail, t.seg.end) > t.seg.sure && !t.still() {
		if err := t.enter(); err != nil {
			return nil, t.passOver(err)
		}
	}
	end := min(tail, t.seg.end)
	if t.seg.chunks != nil {
		var err error
		if end, err = t.prove(end); err != nil {
			return nil, t.passOver(err)
		}
	}
	b := t.seg.data[t.seg.offset(t.seq):t.seg.offset(end):t.seg.offset(end)]
	t.seq = end
	return b, nil
}

// tapWait and tapWaitMost are the first and the longest pause of Wait.
const (
	tapWait     = 20 * time.Microsecond
	tapWaitMost = time.Millisecond
	tapCheck    = 100 * time.Millisecond
)

// Wait returns when there is something to read. It sleeps meanwhile, up to a ms at a time: who wants records sooner calls Next in a loop.
func (t *Tap) Wait(ctx context.Context) error {
	checked := time.Now()
	for pause := tapWait; t.Tail() == t.seq; pause = min(2*pause, tapWaitMost) {
		if time.Since(checked) > tapCheck {
			if err := t.check(); err != nil {
				return err
			}
			checked = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// check looks whether the state page we map is still the journal's.
func (t *Tap) check() error {
	t.idle = 0
	now, err := os.Stat(filepath.Join(t.dir, stateName))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if !os.SameFile(now, t.file) {
		return fmt.Errorf("%w: epoch %d has ended; open the tap again and compare the epoch", ErrReplaced, t.epoch)
	}
	return nil
}

// passOver goes on behind records that cannot be given.
func (t *Tap) passOver(err error) error {
	if missing := (*MissingError)(nil); errors.As(err, &missing) {
		t.seq = missing.To
	}
	return err
}

// Seek moves to record seq, which may be the tail but not lie beyond it. One that cannot be given is told by Next. Errors: ErrBeyondTail, ErrAgedOut.
func (t *Tap) Seek(seq uint64) error {
	tail := t.Tail()
	if seq > tail {
		return fmt.Errorf("%w: record %d, tail is %d", ErrBeyondTail, seq, tail)
	}
	t.seq = seq
	if seq == tail {
		return nil
	}
	err := t.enter()
	if missing := (*MissingError)(nil); errors.As(err, &missing) {
		return nil
	}
	return err
}

// enter maps the segment that holds seq, which is committed. Errors: *MissingError when no file gives the record, ErrAgedOut, ErrReplaced.
func (t *Tap) enter() error {
	next := uint64(0)
	if t.seg != nil && t.seq == t.seg.info.limit() {
		next = t.seg.info.ordinal + 1 // a segment is left only when it is full, so this one begins there
	}
	t.leave()
	if next > 0 && t.open(next) == nil {
		return nil
	}
	var err error
	for range infoTries { // what was found may have expired, or been cut, since
		var f tapFiles
		if f, err = t.look(); err != nil {
			return err
		}
		ordinal := f.ordinalOf(t.seq)
		if ordinal == 0 {
			return t.without(f)
		}
		if err = t.open(ordinal); err == nil {
			return nil
		}
	}
	return err
}

// without is why no file gives the next record: those of another journal by now, or a hole.
func (t *Tap) without(f tapFiles) error {
	if err := t.check(); err != nil {
		return err
	}
	return f.missing(t.seq)
}

// still says whether the segment's name still leads to the file that is mapped, now that the tail has moved on since that was opened. A tape that is read-only for want
// of room (see frozen) goes on in a new file of the same name, beside the same state page; its tail stands still until then. So one look is enough: with records
// that were committed to it since it was opened, the file is the one that the tape goes on in.
func (t *Tap) still() bool {
	s := t.seg
	dir := filepath.Join(t.dir, t.schema.String())
	for _, suffix := range []string{activeSuffix, sealedSuffix} { // in this order: it may be sealed between the looks
		if same, err := (OSDisk{}).Names(segmentPath(dir, s.info.ordinal, suffix), s.file); err == nil && same {
			s.sure = s.end
			return true
		}
	}
	return false
}

// gives says whether the segment has record seq.
func (s *tapSegment) gives(seq uint64) bool { return s != nil && s.info.base <= seq && seq < s.end }

func (s *tapSegment) offset(seq uint64) int64 {
	return s.info.header + int64(seq-s.info.base)*int64(s.info.recordSize)
}
