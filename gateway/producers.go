package gateway

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// producers is who publishes now: one session for each name in a dataset.
type producers struct {
	making sync.Mutex // held while a dataset is made

	mu    sync.Mutex
	byKey map[producerKey]*producer
	feeds map[string]*datasetFeed
	shown tallies
}

type producerKey struct{ dataset, name string }

// datasetFeed is what the producers of one dataset share.
type datasetFeed struct {
	// Held from opening a writer to taking the place, so that the newest writer and
	// the newest session are the same. Other datasets do not wait for this one's disk.
	opening sync.Mutex

	dataset     *journal.Dataset
	unwatch     func()
	waiting     map[*producer]struct{} // for the disk, with ack=synced
	definitions definitions
	offTick     atomic.Uint64           // records with a price off the increment that their producer declared
	lastRecord  [feed.NumSchemas]moment // the last commit
}

// dataset finds a dataset or, below the limit, makes it, unless the stream that is
// asked for must be there.
func (ps *producers) dataset(j *journal.Journal, name string, most int, existing bool) (*journal.Dataset, error) {
	if d := j.Lookup(name); d != nil {
		return d, nil // whatever the disk does to one that is being made
	}
	if existing {
		return nil, fmt.Errorf("%w: there is no dataset %s", journal.ErrNoStream, name)
	}
	ps.making.Lock()
	defer ps.making.Unlock()
	if j.Lookup(name) == nil && len(j.Datasets()) >= most {
		return nil, fmt.Errorf("this gateway has %d datasets, which is its limit; publish to one of them or raise the file limit", most)
	}
	return j.Create(name)
}

// open gives p its writer and its place, and tells the session that had the
// place before that it is fenced: a half-open connection must not lock a desk out.
func (ps *producers) open(p *producer, d *journal.Dataset) error {
	older, err := ps.take(p, d)
	if older != nil {
		older.dismiss(lsg.ProducerError{
			Code: lsg.CodeFenced, Retry: lsg.RetryNever,
			Text: "a newer session of producer " + p.req.Producer + " took over; give each adapter its own name",
		})
	}
	return err
}

func (ps *producers) take(p *producer, d *journal.Dataset) (older *producer, err error) {
	f := ps.feedOf(d)
	f.opening.Lock()
	defer f.opening.Unlock()
	p.writer, err = d.OpenWriter(journal.WriterOptions{
		Producer: p.req.Producer, Stream: p.req.Stream, Existing: p.req.Existing, Resume: p.req.Resume, HasResume: p.req.HasResume, Head: p.req.Head,
		Owner: p.owner(), Takeover: p.key != nil && p.key.May(RightTakeover, p.req.Dataset), Future: p.req.Future,
	})
	if err != nil {
		return nil, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.feed, p.acceptedBefore = f, p.writer.Accepted()
	if p.req.Ack == lsg.AckSynced {
		p.feed.waiting[p] = struct{}{}
	}
	key := producerKey{p.req.Dataset, p.req.Producer}
	older = ps.byKey[key]
	ps.byKey[key] = p
	ps.shown.arrived(p)
	return older, nil
}

// owner is the key that the producer's name belongs to; open mode has no owners.
func (p *producer) owner() string {
	if p.key == nil {
		return ""
	}
	return p.key.Name
}

// feedOf finds or makes what is shared.
func (ps *producers) feedOf(d *journal.Dataset) *datasetFeed {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byKey == nil {
		ps.byKey = map[producerKey]*producer{}
		ps.feeds = map[string]*datasetFeed{}
	}
	f := ps.feeds[d.Name()]
	if f != nil && f.dataset != d { // it was removed, and made again
		f.unwatch()
		f = nil
	}
	if f == nil {
		f = &datasetFeed{dataset: d, waiting: map[*producer]struct{}{}}
		f.unwatch = d.Watch(nil, func() { ps.synced(f) })
		ps.feeds[d.Name()] = f
	}
	return f
}

// holds reports whether a session of the key has the place that a producer asks for.
func (ps *producers) holds(req *lsg.AuthRequest, use *keyUse) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	older := ps.byKey[producerKey{req.Dataset, req.Producer}]
	return older != nil && older.use == use
}

// drop forgets p unless a newer session has its place.
func (ps *producers) drop(p *producer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.feed != nil {
		delete(p.feed.waiting, p)
	}
	if key := (producerKey{p.req.Dataset, p.req.Producer}); ps.byKey[key] == p {
		delete(ps.byKey, key)
	}
	ps.shown.departed(p)
}

func (ps *producers) list() []*producer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	all := make([]*producer, 0, len(ps.byKey))
	for _, p := range ps.byKey {
		all = append(all, p)
	}
	return all
}

// synced wakes the producers that wait for the disk: of this dataset, however many
// there are of others.
func (ps *producers) synced(f *datasetFeed) {
	ps.mu.Lock()
	waiting := slices.Collect(maps.Keys(f.waiting))
	ps.mu.Unlock()
	for _, p := range waiting {
		p.wake()
	}
}

// stopAll tells every producer to come back later. One that does not read must
// not keep the others from hearing it.
func (ps *producers) stopAll() {
	var wg sync.WaitGroup
	for _, p := range ps.list() {
		wg.Go(func() {
			p.dismiss(lsg.ProducerError{Code: lsg.CodeShutdown, Retry: lsg.RetryLater, Text: "the gateway is shutting down; connect again and go on from accepted="})
		})
	}
	wg.Wait()
}

// unwatch ends the subscriptions to the journal, which outlives the server.
func (ps *producers) unwatch() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, f := range ps.feeds {
		f.unwatch()
	}
}

// offTick is how many records of a dataset were off their tick.
func (ps *producers) offTick(dataset string) uint64 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if f := ps.feeds[dataset]; f != nil {
		return f.offTick.Load()
	}
	return 0
}

// sinceCommit is how long ago a tape's last record was committed. Where this process
// saw none it is how long it has waited for one: a feed that does not come back after
// a restart must be noticed too.
func (ps *producers) sinceCommit(dataset string, schema feed.Schema) time.Duration {
	ps.mu.Lock()
	f := ps.feeds[dataset]
	ps.mu.Unlock()
	if f != nil {
		if age, ok := f.lastRecord[schema].ago(); ok {
			return age
		}
	}
	return sinceProcessBegan()
}
