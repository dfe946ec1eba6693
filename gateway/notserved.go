package gateway

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"github.com/tapewire/tapewire/journal"
)

// A dataset that is there and not served is its operator's business: a restart mends
// none of the causes, and would end the feeds of all others. So the gateway is ready
// all the same, and the metrics say which it is, and why; the log has the remedy.

// notServed is why a dataset is not served, as the metrics have it, and in words for
// who asked for it.
func notServed(why error) (cause, words string) {
	switch {
	case errors.Is(why, journal.ErrVersion):
		return "version", "of another version of tapewire"
	case errors.Is(why, journal.ErrLocked):
		return "locked", "in use by another gateway"
	case errors.Is(why, journal.ErrDiskFull):
		return "disk_full", "waiting for room on its disk"
	case errors.Is(why, journal.ErrCorrupt), errors.Is(why, fs.ErrNotExist), errors.Is(why, syscall.EIO):
		return "damaged", "damaged"
	}
	return "other", "out of reach" // a symbolic link; rights; no descriptors
}

// writeNotServed prints the datasets that are not served.
func (m *serverMetrics) writeNotServed(s samples) {
	all := m.srv.journal.AllDamaged()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cause, _ := notServed(all[name])
		s.add("tapewire_dataset_writable", 0, "dataset", name)
		s.add("tapewire_dataset_not_served", 1, "dataset", name, "cause", cause)
	}
}
