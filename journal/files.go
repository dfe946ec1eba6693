package journal

import (
	"fmt"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
)

// files is the journal's share of the descriptors that its process may have. What makes more of them for good asks first: a dataset, a tape, a segment that
// the disk is behind with, a sealed segment that a reader wants. Who is refused is told; what is open already, and what keeps it going, is never kept waiting.
type files struct {
	limit atomic.Int64 // 0: no limit
	used  atomic.Int64
	looks chan struct{} // a token for each look into a file that is over at once
}

func (f *files) init() { f.looks = make(chan struct{}, looksAtOnce) }

// look waits for leave to look into files, one at a time, beside the limit: whoever wants to know where to begin must not be refused for what others read.
func (f *files) look() (done func()) {
	f.looks <- struct{}{}
	return func() { <-f.looks }
}

// take counts n more if the limit allows it.
func (f *files) take(n int64) bool {
	for {
		used, limit := f.used.Load(), f.limit.Load()
		if limit > 0 && used+n > limit {
			return false
		}
		if f.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// room says whether take would do.
func (f *files) room(n int64) bool {
	limit := f.limit.Load()
	return limit == 0 || f.used.Load()+n <= limit
}

// LimitFiles sets how many files the journal may hold open from now on; 0 is no limit. Where it has more already, what is open stays, and nothing is added.
func (j *Journal) LimitFiles(n int) { j.files.limit.Store(int64(n)) }

// Files is how many files the journal holds open at most, of how many it may; a limit of 0 is none.
func (j *Journal) Files() (used, limit int) {
	return int(j.files.used.Load()), int(j.files.limit.Load())
}

// noFiles refuses what would need more files than there may be.
func (j *Journal) noFiles(what string) error {
	used, limit := j.Files()
	return fmt.Errorf("%w: no room for %s: %d of the %d files are in use that this process's file limit leaves for tapes; raise it (ulimit -n, or LimitNOFILE= of the service)",
		ErrFiles, what, used, limit)
}

// holdFiles counts what the dataset is to hold until it is closed, whatever the limit.
func (d *Dataset) holdFiles(n int64) {
	d.filesHeld.Add(n)
	d.j.files.used.Add(n)
}

// grantTape makes room for a new tape's files, once. The caller holds mu.
func (d *Dataset) grantTape(s feed.Schema) error {
	if d.granted[s] {
		return nil
	}
	if !d.j.files.take(filesPerTape) {
		return d.j.noFiles("tape " + d.name + "/" + s.String())
	}
	d.granted[s] = true
	d.filesHeld.Add(filesPerTape)
	return nil
}

// returnFiles is for when the dataset is closed.
func (d *Dataset) returnFiles() { d.j.files.used.Add(-d.filesHeld.Swap(0)) }

// unsealed is how many segments the tape holds open to be written or sealed.
func (t *Tape) unsealed() (n int) {
	segs := *t.segs.Load()
	for n < len(segs) && !segs[len(segs)-1-n].sealed.Load() {
		n++
	}
	return n
}

// takeFile counts the segment's file beyond what its tape has anyway; whatever the limit when it is for a look. The caller holds mu.
func (s *Segment) takeFile(look bool) error {
	if look {
		s.tape.d.j.files.used.Add(1)
	} else if !s.tape.d.j.files.take(1) {
		return s.tape.d.j.noFiles("one more segment of " + s.tape.name())
	}
	s.extra = true
	return nil
}

// countHeld is for when the tape lets go of the segment: where readers do not, its file is one more.
func (s *Segment) countHeld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs.Load() > 1 && !s.extra {
		s.extra = true
		s.tape.d.j.files.used.Add(1)
	}
}

// returnFile is for when that file is closed.
func (s *Segment) returnFile() {
	if s.extra {
		s.extra = false
		s.tape.d.j.files.used.Add(-1)
	}
}
