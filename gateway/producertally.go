package gateway

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tapewire/tapewire/journal"
)

// maxProducersShown is how many names of producers have series of their own, in all
// datasets together. Clients choose names, so without a bound they could make any
// number of series.
const maxProducersShown = 1000

// producerTally is what the metrics say of a producer's name.
type producerTally struct {
	session *producer // that has the place now; nil: none
	records uint64    // accepted in earlier sessions of this process
	last    moment    // the newest record of those
	left    time.Duration
}

// accepted is how many records the name's sessions brought since the process began.
func (t *producerTally) accepted() uint64 {
	if t.session == nil {
		return t.records
	}
	return t.records + t.session.accepted()
}

// sinceLast is how long ago the newest record was accepted; false: this process saw none.
func (t *producerTally) sinceLast() (time.Duration, bool) {
	if t.session != nil {
		if age, ok := t.session.acks.lastBatch.ago(); ok {
			return age, true
		}
	}
	return t.last.ago()
}

// accepted is how many records this session brought.
func (p *producer) accepted() uint64 { return p.writer.Accepted() - p.acceptedBefore }

// leave adds to the tally what its session brought.
func (t *producerTally) leave() {
	if t.session == nil {
		return
	}
	t.records += t.session.accepted()
	if ns := t.session.acks.lastBatch.ns.Load(); ns > 0 {
		t.last.ns.Store(ns)
	}
	t.session, t.left = nil, sinceProcessBegan()
}

// tallies is the names that are shown. It is under producers.mu.
type tallies struct {
	of     map[producerKey]*producerTally
	seeded map[*journal.Dataset]bool // names of earlier processes are in
}

// arrived notes that p has the place of its name. Where there is no room, the name
// that has been gone longest makes some.
func (ts *tallies) arrived(p *producer) {
	key := producerKey{p.req.Dataset, p.req.Producer}
	t := ts.of[key]
	if t == nil {
		if len(ts.of) >= maxProducersShown && !ts.dropOldest() {
			return
		}
		t = ts.add(key)
	}
	t.leave()
	t.session = p
}

func (ts *tallies) add(key producerKey) *producerTally {
	if ts.of == nil {
		ts.of = map[producerKey]*producerTally{}
	}
	t := &producerTally{}
	ts.of[key] = t
	return t
}

// dropOldest forgets the name that has been gone longest; false: all are connected.
func (ts *tallies) dropOldest() bool {
	var oldest *producerKey
	for key, t := range ts.of {
		if t.session == nil && (oldest == nil || t.left < ts.of[*oldest].left) {
			oldest = &key
		}
	}
	if oldest != nil {
		delete(ts.of, *oldest)
	}
	return oldest != nil
}

// departed notes that p has lost its place.
func (ts *tallies) departed(p *producer) {
	if t := ts.of[producerKey{p.req.Dataset, p.req.Producer}]; t != nil && t.session == p {
		t.leave()
	}
}

// producerView is what the metrics say of a name.
type producerView struct {
	producerKey
	connected bool
	records   uint64 // in this process
	accepted  uint64 // of the stream that it sends, ever; while it is connected
	since     time.Duration
	hasSince  bool
}

// views lists the names that are shown, of the datasets that are served, and how many
// producers each dataset has, shown or not. What a dataset kept of names that earlier
// processes knew is added the first time.
func (ps *producers) views(datasets []*journal.Dataset) (list []producerView, connected map[string]int) {
	names := map[*journal.Dataset][]string{}
	for _, d := range datasets {
		if !ps.isSeeded(d) {
			names[d] = d.Producers() // may wait for a disk: not under mu
		}
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.shown.update(datasets, names)
	connected = map[string]int{}
	for key := range ps.byKey {
		connected[key.dataset]++
	}
	for key, t := range ps.shown.of {
		v := producerView{producerKey: key, connected: t.session != nil, records: t.accepted()}
		v.since, v.hasSince = t.sinceLast()
		if v.connected {
			v.accepted = t.session.writer.Accepted()
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b producerView) int {
		return cmp.Or(cmp.Compare(a.dataset, b.dataset), cmp.Compare(a.name, b.name))
	})
	return list, connected
}

func (ps *producers) isSeeded(d *journal.Dataset) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.shown.seeded[d]
}

// update adds names of earlier processes as long as there is room, and forgets those
// of datasets that are gone.
func (ts *tallies) update(datasets []*journal.Dataset, names map[*journal.Dataset][]string) {
	if ts.seeded == nil {
		ts.seeded = map[*journal.Dataset]bool{}
	}
	served := map[string]bool{}
	for _, d := range datasets {
		served[d.Name()] = true
		for _, name := range names[d] {
			if key := (producerKey{d.Name(), name}); ts.of[key] == nil && len(ts.of) < maxProducersShown {
				ts.add(key)
			}
		}
		ts.seeded[d] = true
	}
	maps.DeleteFunc(ts.of, func(key producerKey, t *producerTally) bool { return t.session == nil && !served[key.dataset] })
	maps.DeleteFunc(ts.seeded, func(d *journal.Dataset, _ bool) bool { return !slices.Contains(datasets, d) })
}
