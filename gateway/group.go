package gateway

import (
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// group is the sessions of one dataset on one loop. Commits mark it dirty and
// kick the loop; the marks coalesce, so the batch a session gets is whatever
// was committed since the loop last came round.
type group struct {
	loop     *loop
	name     string
	dataset  *journal.Dataset // nil until somebody publishes
	dirty    atomic.Bool
	unwatch  func()
	sessions map[*session]struct{}
	writable atomic.Int64 // how many of them a commit would have to send to

	scans    map[feed.Schema]*scan // of the sessions with filters
	unplaced map[*session]struct{} // have a place in a scan to be found
}

// join puts the session into its dataset's group and watches the dataset for it.
func (l *loop) join(s *session) {
	g := l.groups[s.auth.Dataset]
	if g == nil {
		g = &group{loop: l, name: s.auth.Dataset, sessions: map[*session]struct{}{}, scans: map[feed.Schema]*scan{}, unplaced: map[*session]struct{}{}}
		l.groups[g.name] = g
	}
	g.sessions[s] = struct{}{}
	s.group = g
	g.replace(s)
	if s.writable {
		g.writable.Add(1)
	}
	g.attach()
}

// attach finds the dataset once it exists and subscribes to its commits.
func (g *group) attach() {
	if g.dataset != nil {
		return
	}
	if g.dataset = g.loop.srv.journal.Lookup(g.name); g.dataset == nil {
		return
	}
	g.loop.served[g] = struct{}{}
	if g.loop.cold {
		return // its sessions are at work until they leave
	}
	g.unwatch = g.dataset.Watch(g.committed, nil)
	g.dirty.Store(true)
	g.loop.poll.kick()
}

// datasetCreated lets waiting sessions find a dataset that has just come to exist.
func (l *loop) datasetCreated() {
	l.post(func() {
		for _, g := range l.groups {
			g.attach()
		}
	})
}

// leave takes a closed session out, and the group with its last one.
func (g *group) leave(s *session) {
	delete(g.sessions, s)
	s.group = nil
	g.replace(s)
	if s.writable {
		g.writable.Add(-1)
	}
	if len(g.sessions) > 0 {
		return
	}
	if g.unwatch != nil {
		g.unwatch()
	}
	if g.loop.groups[g.name] == g {
		delete(g.loop.groups, g.name)
	}
	delete(g.loop.served, g)
}
