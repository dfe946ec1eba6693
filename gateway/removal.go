package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// RemoveDataset removes a dataset for good while the server runs: its producers and
// subscribers are told and ended, its files are gone, and its name is free. Errors:
// those of journal.Remove.
func (s *Server) RemoveDataset(name string) error {
	if s.journal.Lookup(name) == nil && s.journal.Damaged(name) == nil {
		return fmt.Errorf("remove dataset %s: %w", name, fs.ErrNotExist)
	}
	s.leaveDataset(name, nil)
	old := s.journal.Lookup(name)
	err := s.journal.Remove(name)
	if old != nil {
		s.leaveDataset(name, old) // those that came meanwhile
	}
	return err
}

// leaveDataset ends who is connected to a dataset; of one that is removed those who
// still have it open, while others may have come to its successor.
func (s *Server) leaveDataset(name string, removed *journal.Dataset) {
	s.settled(func() {
		s.eachSession(func(sess *session) {
			if g := sess.group; g != nil && g.name == name && (removed == nil || g.dataset == removed) && sess.farewell == "" {
				sess.stop(removedText(name))
			}
		})
	})
	for _, l := range s.loops {
		l.call(func() {
			if g := l.groups[name]; g != nil && removed != nil && g.dataset == removed {
				delete(l.groups, name) // who comes now finds the dataset that is made next
			}
		})
	}
	s.producers.leave(name, removed)
}

func removedText(name string) string { return "Dataset " + name + " was removed by its operator" }

// leave ends the producers of a dataset. One that does not read must not keep the
// others from hearing it.
func (ps *producers) leave(name string, removed *journal.Dataset) {
	var wg sync.WaitGroup
	for _, p := range ps.list() {
		if p.req.Dataset == name && (removed == nil || p.feed.dataset == removed) {
			wg.Go(func() {
				p.dismiss(lsg.ProducerError{Code: lsg.CodeRemoved, Retry: lsg.RetryNever, Text: removedText(name)})
			})
		}
	}
	wg.Wait()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if f := ps.feeds[name]; f != nil && f.dataset == removed {
		f.unwatch()
		delete(ps.feeds, name)
	}
}

// answerRemove is POST /datasets/NAME/remove.
func (s *Server) answerRemove(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	switch err := s.RemoveDataset(name); {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no dataset "+clip(name), http.StatusNotFound)
	case errors.Is(err, journal.ErrName):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		fmt.Fprintln(w, "removed", name)
	}
}
