package journal

import (
	"slices"
	"sync"
	"sync/atomic"
)

// watchers is who wants to hear of commits and syncs. Calling them takes no lock and allocates nothing.
type watchers struct {
	mu   sync.Mutex // orders add and cancel
	list atomic.Pointer[[]*watcher]
}

type watcher struct{ onCommit, onSync func() }

func (w *watchers) add(onCommit, onSync func()) (cancel func()) {
	one := &watcher{onCommit, onSync}
	w.change(func(l []*watcher) []*watcher { return append(l, one) })
	return func() {
		w.change(func(l []*watcher) []*watcher {
			return slices.DeleteFunc(l, func(x *watcher) bool { return x == one })
		})
	}
}

func (w *watchers) change(f func([]*watcher) []*watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var l []*watcher
	if old := w.list.Load(); old != nil {
		l = slices.Clone(*old)
	}
	l = f(l)
	w.list.Store(&l)
}

func (w *watchers) committed() {
	if l := w.list.Load(); l != nil {
		for _, x := range *l {
			if x.onCommit != nil {
				x.onCommit()
			}
		}
	}
}

func (w *watchers) synced() {
	if l := w.list.Load(); l != nil {
		for _, x := range *l {
			if x.onSync != nil {
				x.onSync()
			}
		}
	}
}
