package journal

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// Tape is everything recorded for one schema of a dataset: records of one size, numbered from 0 without a hole. Its methods take no lock that a
// writer holds, and only Seek and the first holder of a sealed Segment read the disk.
type Tape struct {
	d      *Dataset
	schema feed.Schema
	size   int // bytes of a record
	dir    string

	first atomic.Uint64
	tail  atomic.Uint64
	segs  atomic.Pointer[[]*Segment] // by base, from First on; the last one may be prepared and not in use yet; copied when changed
	holes atomic.Pointer[[]Hole]     // what cannot be served, by From; nil: nothing; copied when changed
	marks atomic.Pointer[marks]      // a published one never changes; replaced under Dataset.marksMu

	// Under Dataset.mu.
	active   *Segment // holds the tail; nil before the first record
	next     *Segment // prepared
	frozen   *frozen  // preparer's and the opening's: active is not to be stored to
	blocked  error    // why there is no next yet: nil (not asked for, or in the making), ErrDiskFull, or another reason to try again
	unsynced uint64   // first record no sync log entry vouches for

	holesMu sync.Mutex // orders changes of holes

	judge    judge                        // under Dataset.mu
	steps    atomic.Pointer[outlierSteps] // nil: never an outlier; changed under Dataset.mu, before what they speak of is committed
	outliers atomic.Uint64                // committed in this process

	expired []*Segment // of Journal.retaining: left behind, and their files not removed yet

	named  atomic.Pointer[namedIn]    // of the last segment that was sealed
	oldest atomic.Pointer[oldestTime] // nil: nobody asked

	// The preparer's.
	began    time.Time // when the segment before next came into use
	squeezed bool      // the newest segment is smaller than it should be, for want of room
}

// Schema is the kind of records.
func (t *Tape) Schema() feed.Schema { return t.schema }

// RecordSize is the size of each record in bytes.
func (t *Tape) RecordSize() int { return t.size }

// First is the oldest record still kept. Records before it lie in a Hole that says why they are gone.
func (t *Tape) First() uint64 { return t.first.Load() }

// Tail is the end of the committed records: every record below it can be read and never changes.
func (t *Tape) Tail() uint64 { return t.tail.Load() }

// Segment pins the segment that holds record seq, or that will hold it when seq is the tail. When the segment in use is just full and no other
// is prepared, that one comes back for seq == Tail(), with Limit() == seq: ask again once the tail has moved. Check its records before they are given away.
// Errors: ErrBeyondTail, ErrAgedOut, ErrDamaged (go on behind NextHole), or the disk's own.
func (t *Tape) Segment(seq uint64) (*Segment, error) {
	if tail := t.Tail(); seq > tail {
		return nil, fmt.Errorf("%w: record %d of %s, tail is %d", ErrBeyondTail, seq, t.name(), tail)
	}
	segs := *t.segs.Load()
	i := sort.Search(len(segs), func(i int) bool { return segs[i].base > seq }) - 1
	if i < 0 || seq < t.First() {
		return nil, fmt.Errorf("%w: record %d of %s, first is %d", ErrAgedOut, seq, t.name(), t.First())
	}
	if h, ok := t.NextHole(seq); ok && h.From <= seq {
		return nil, fmt.Errorf("%w: records %d to %d of %s", ErrDamaged, h.From, h.To, t.name())
	}
	s := segs[i]
	if err := s.acquire(); err != nil {
		if first := t.First(); seq < first {
			return nil, fmt.Errorf("%w: record %d of %s, first is %d", ErrAgedOut, seq, t.name(), first) // its file went just now
		}
		if t.lost(s, err) {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, err
	}
	if s.looked.Load() || s.sealed.Load() && !s.lookAtSize() {
		return s, nil
	}
	if h, ok := t.NextHole(seq); ok && h.From <= seq {
		s.Release()
		return nil, fmt.Errorf("%w: records %d to %d of %s", ErrDamaged, h.From, h.To, t.name())
	}
	return s, nil
}

func (t *Tape) name() string { return t.d.name + "/" + t.schema.String() }

// committedIn is the end of the committed records of s.
func (t *Tape) committedIn(s *Segment) uint64 { return min(s.limit, max(t.Tail(), s.base)) }

// addSegment publishes one more segment at the end.
func (t *Tape) addSegment(s *Segment) {
	t.d.mu.Lock() // others remove at the beginning
	defer t.d.mu.Unlock()
	var segs []*Segment
	if old := t.segs.Load(); old != nil {
		segs = slices.Clone(*old)
	}
	segs = append(segs, s)
	t.segs.Store(&segs)
}
