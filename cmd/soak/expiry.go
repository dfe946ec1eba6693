package main

import (
	"fmt"
	"sort"
	"sync/atomic"
	"time"
)

// expiry is what is known of what the gateway removes from a tape for its age.
type expiry struct {
	age  *atomic.Int64 // ns, the least that any gateway of the run was told to keep records; 0: they are kept for ever
	told atomic.Uint64 // the greatest record before which all was said to be gone; at the end it must be
}

// clockSlack is how far the gateway's clock, which is the wall's, and this program's may come apart within an age.
const clockSlack = 100 * time.Millisecond

// tailBy is where the tape ended, at the most, at a time.
func (f *follower) tailBy(at time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := sort.Search(len(f.past), func(i int) bool { return !f.past[i].at.Before(at) })
	if i++; i >= len(f.past) { // the look that came first after it may have seen the tail just before
		return ^uint64(0)
	}
	return f.past[i].tail
}

// oldEnough is the record before which all may have expired at a time, at the most: a segment is removed when its last record has the age.
func (f *follower) oldEnough(at time.Time) uint64 {
	age := f.expiry.age.Load()
	if age == 0 {
		return 0
	}
	return f.tailBy(at.Add(clockSlack - time.Duration(age)))
}

// begins lists where the tape may have begun for the gateway, between a look at its files that found it to begin at first, and a time: each at the
// beginning of a segment.
func (f *follower) begins(t *tape, first uint64, at time.Time) ([]uint64, error) {
	list, most := []uint64{first}, f.oldEnough(at)
	for {
		next, err := t.limit(first)
		if err != nil || next > most || next >= t.tail() { // what holds the newest record never goes
			return list, err
		}
		list, first = append(list, next), next
	}
}

// gone takes that a session is told now that all before record seq have expired. That they are really gone is seen at the end.
func (f *follower) gone(t *tape, seq uint64, now time.Time) error {
	if most := f.oldEnough(now); seq > most || seq >= t.tail() {
		return fmt.Errorf("what lies before number %d is said to have expired; the tape ended at %d when it was old enough, and ends at %d", seq, most, t.tail())
	}
	switch end, err := t.limit(seq - 1); {
	case err != nil:
		return err
	case end != seq:
		return fmt.Errorf("what lies before number %d is said to have expired, in the middle of a segment that ends at %d", seq, end)
	}
	for old := f.expiry.told.Load(); seq > old && !f.expiry.told.CompareAndSwap(old, seq); old = f.expiry.told.Load() {
	}
	return nil
}

// lost checks where the tape begins at the end of the run.
func (f *follower) lost(first uint64, at time.Time) error {
	if told := f.expiry.told.Load(); first < told {
		return fmt.Errorf("a session was told that what lies before number %d has expired; the tape begins at %d", told, first)
	}
	if most := f.oldEnough(at); first > most {
		return fmt.Errorf("the tape begins at %d; it ended at %d when records were old enough", first, most)
	}
	return nil
}

// earliest is the least ts_event of all records.
func (f *follower) earliest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.least
}

// greatestBefore is the greatest ts_event of the records before limit.
func (f *follower) greatestBefore(t *tape, limit uint64) (greatest uint64, err error) {
	f.mu.Lock()
	n := min(limit/chunkRecords, uint64(len(f.chunks)))
	if n > 0 {
		greatest = f.chunks[n-1]
	}
	f.mu.Unlock()
	for seq := n * chunkRecords; seq < limit; seq++ {
		r, err := t.at(seq)
		if err != nil {
			return 0, err
		}
		greatest = max(greatest, r.TsEvent())
	}
	return greatest, nil
}
