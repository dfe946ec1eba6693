package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// producers is who publishes now: one session for each name in a dataset.
type producers struct {
	mu    sync.Mutex
	byKey map[producerKey]*producer
	feeds map[string]*datasetFeed
}

type producerKey struct{ dataset, name string }

// datasetFeed is what the producers of one dataset share.
type datasetFeed struct {
	dataset    *journal.Dataset
	lastRecord [feed.NumSchemas]atomic.Int64 // unix ns of the last commit
}

// take makes p the session of its name and tells the one before it that it is
// fenced. A half-open connection must not lock a desk out.
func (ps *producers) take(p *producer, d *journal.Dataset) *datasetFeed {
	key := producerKey{p.req.Dataset, p.req.Producer}
	ps.mu.Lock()
	if ps.byKey == nil {
		ps.byKey = map[producerKey]*producer{}
		ps.feeds = map[string]*datasetFeed{}
	}
	older := ps.byKey[key]
	ps.byKey[key] = p
	f := ps.feeds[p.req.Dataset]
	if f == nil {
		f = &datasetFeed{dataset: d}
		ps.feeds[p.req.Dataset] = f
		d.Watch(nil, func() { ps.synced(f) })
	}
	ps.mu.Unlock()
	if older != nil {
		older.dismiss(lsg.ProducerError{
			Code: lsg.CodeFenced, Retry: lsg.RetryNever,
			Text: "a newer session of producer " + p.req.Producer + " took over; give each adapter its own name",
		})
	}
	return f
}

// drop forgets p unless a newer session has its place.
func (ps *producers) drop(p *producer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if key := (producerKey{p.req.Dataset, p.req.Producer}); ps.byKey[key] == p {
		delete(ps.byKey, key)
	}
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

// synced wakes the producers that wait for the disk.
func (ps *producers) synced(f *datasetFeed) {
	for _, p := range ps.list() {
		if p.feed == f && p.req.Ack == lsg.AckSynced {
			p.wake()
		}
	}
}

func (ps *producers) stopAll() {
	for _, p := range ps.list() {
		p.dismiss(lsg.ProducerError{Code: lsg.CodeShutdown, Retry: lsg.RetryLater, Text: "the gateway is shutting down; connect again and go on from accepted="})
	}
}

func (ps *producers) lastCommit(dataset string, schema feed.Schema) (time.Time, bool) {
	ps.mu.Lock()
	f := ps.feeds[dataset]
	ps.mu.Unlock()
	if f == nil {
		return time.Time{}, false
	}
	ns := f.lastRecord[schema].Load()
	return time.Unix(0, ns), ns > 0
}
