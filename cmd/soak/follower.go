package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// follower reads a tape as it grows and checks that each stream is on it once and in order, byte for byte what was published. It
// keeps what the subscribers need to know of the tape: where a time is, and how long the tape was when.
type follower struct {
	dataset int
	schema  feed.Schema
	book    *book
	expiry  expiry

	mu       sync.Mutex
	epoch    uint64 // of the tape when it was opened
	seq      uint64
	due      [streams]uint64 // next record of each stream that belongs here
	sum      hash.Hash       // of all records
	greatest uint64          // ts_event so far
	least    uint64          // the same
	chunks   []uint64        // the greatest ts_event up to the end of each chunk of records
	past     []growth        // newest last
	want     []byte          // scratch
}

// growth is that the tape ended at tail when it was looked at.
type growth struct {
	at   time.Time
	tail uint64
}

const (
	followEvery  = 20 * time.Millisecond
	chunkRecords = 4096
	pastKept     = 4096 // looks, the newest
)

// newFollower follows a tape whose records are kept for an age.
func newFollower(dataset int, schema feed.Schema, b *book, age *atomic.Int64) *follower {
	f := &follower{dataset: dataset, schema: schema, book: b, expiry: expiry{age: age}, sum: sha256.New(), least: ^uint64(0)}
	for stream := range streams {
		f.due[stream] = dueFrom(0, schema)
	}
	return f
}

// run follows until ctx ends, and then up to the tail.
func (f *follower) run(ctx context.Context, w where) error {
	t, err := f.open(ctx, w)
	if err != nil {
		return err
	}
	defer t.close()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for last := false; ; {
		if err := f.follow(t); err != nil {
			return fmt.Errorf("tape %s/%v: %w", datasets[f.dataset], f.schema, err)
		}
		if last {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last = true
		}
	}
}

// open waits for the dataset to exist.
func (f *follower) open(ctx context.Context, w where) (*tape, error) {
	for {
		t, err := openTape(w, f.dataset, f.schema)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return t, err
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("nothing was published to %s", datasets[f.dataset])
		}
	}
}

// follow takes in what is new.
func (f *follower) follow(t *tape) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == 0 {
		f.epoch = t.tap.Epoch()
	}
	tail, now := t.tail(), time.Now() // in this order: what is on the tape now was there before now
	for f.seq < tail {
		r, err := t.at(f.seq)
		if err == nil {
			err = f.take(r)
		}
		if err != nil {
			return err
		}
	}
	if len(f.past) == 2*pastKept {
		f.past = append(f.past[:0], f.past[pastKept:]...)
	}
	f.past = append(f.past, growth{now, tail})
	return nil
}

// take checks the next record of the tape.
func (f *follower) take(r feed.Record) error {
	stream, k := identity(r)
	if stream < 0 || stream >= streams || datasetOf(stream) != f.dataset {
		return fmt.Errorf("number %d is %s, which nobody published here", f.seq, describe(r))
	}
	if due := f.due[stream]; k != due {
		return fmt.Errorf("number %d is %s, due was record %d of that stream", f.seq, describe(r), due)
	}
	id, err := f.book.learn(symbolOf(stream, k), r.InstrumentID())
	if err != nil {
		return fmt.Errorf("number %d is %s: %w", f.seq, describe(r), err)
	}
	if f.want = appendRecord(f.want[:0], stream, k, id); !bytes.Equal(r, f.want) {
		return fmt.Errorf("number %d is %s, but its bytes are not those that were published", f.seq, describe(r))
	}
	f.due[stream] = dueFrom(k+1, f.schema)
	f.sum.Write(r)
	f.seq++
	f.greatest, f.least = max(f.greatest, r.TsEvent()), min(f.least, r.TsEvent())
	if f.seq%chunkRecords == 0 {
		f.chunks = append(f.chunks, f.greatest)
	}
	return nil
}

// tail is how many records were checked.
func (f *follower) tail() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq
}

// tailAt is where the tape ended, at the least, at a time; 0 when that is not known any more.
func (f *follower) tailAt(at time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := sort.Search(len(f.past), func(i int) bool { return f.past[i].at.After(at) })
	if i == 0 {
		return 0
	}
	return f.past[i-1].tail
}

// find is the first record from least on whose ts_event is not before ts; the tail when there is none.
func (f *follower) find(t *tape, ts, least uint64) (uint64, error) {
	f.mu.Lock()
	chunk := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i] >= ts })
	f.mu.Unlock()
	tail := t.tail()
	for seq := max(least, uint64(chunk)*chunkRecords); seq < tail; seq++ {
		r, err := t.at(seq)
		if err != nil || r.TsEvent() >= ts {
			return seq, err
		}
	}
	return tail, nil
}

// reread checks that the whole tape, read again from its files and those that have expired, is still what it was, and that nothing was cut: another epoch
// would have begun.
func (f *follower) reread(w where) error {
	t, err := openTape(w, f.dataset, f.schema)
	if err != nil {
		return err
	}
	defer t.close()
	if t.tap.Epoch() != f.epoch {
		return fmt.Errorf("tape %s/%v: it was of epoch %d and is of %d: something was cut", datasets[f.dataset], f.schema, f.epoch, t.tap.Epoch())
	}
	sum := sha256.New()
	for seq := range f.seq {
		r, err := t.at(seq)
		if err != nil {
			return err
		}
		sum.Write(r)
	}
	if t.tail() != f.seq || !bytes.Equal(sum.Sum(nil), f.sum.Sum(nil)) {
		return fmt.Errorf("tape %s/%v: %d records with digest %x were followed, its files hold %d with digest %x",
			datasets[f.dataset], f.schema, f.seq, f.sum.Sum(nil), t.tail(), sum.Sum(nil))
	}
	return nil
}
