package journal

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Retention says how long records are kept. Only whole sealed segments go, the oldest of a tape first; the segment in use never does. The zero value keeps
// everything.
type Retention struct {
	Age  time.Duration // since a segment was sealed, which is after its last record was written: the records' own times do not count; 0: for ever
	Disk int           // percent of the filesystem in use beyond which the oldest go, of whichever tape; 0: whatever is in use
}

const (
	retainEvery = 10 * time.Second       // how often it is looked what may go, for the first time after as long
	retainSoon  = 100 * time.Millisecond // and at the most often, for an Age of seconds

	// retainLeast is what Retention.Disk never removes: a disk that others fill must not cost a desk its trading hour. When it is full all the same,
	// producers wait.
	retainLeast = time.Hour
)

// every is how often to look.
func (r Retention) every() time.Duration {
	if r.Age == 0 {
		return retainEvery
	}
	return min(retainEvery, max(retainSoon, r.Age/10))
}

// keeping is the goroutine that lets old segments go.
type keeping struct{ stop, done chan struct{} }

func (k *keeping) end() {
	close(k.stop)
	<-k.done
}

// stopped says whether a round is to break off: nil is never.
func (k *keeping) stopped() bool {
	if k == nil {
		return false
	}
	select {
	case <-k.stop:
		return true
	default:
		return false
	}
}

// keep lets old segments go until it is ended.
func (j *Journal) keep() {
	defer close(j.keeping.done)
	tick := time.NewTicker(j.o.Retain.every())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			j.retainRound()
		case <-j.keeping.stop:
			return
		}
	}
}

// clock is the time that ages are reckoned by, in ns: the wall clock's when the journal was opened, and from then on what has really passed. A wall clock
// that is set forward must not make a week of what was written a minute ago.
func (j *Journal) clock() int64 { return j.opened.Add(j.o.elapsed(j.opened)).UnixNano() }

// stamped is when a file that an earlier process left was made or sealed: not later than we came, whatever its clock said. Else what a clock of the future
// stamped would stay until that day.
func (j *Journal) stamped(info segmentInfo) int64 { return min(int64(info.created), j.began) }

// retainRound lets go what is older than it has to be, then what a full disk asks for.
func (j *Journal) retainRound() {
	j.retaining.Lock()
	defer j.retaining.Unlock()
	if j.doubt == nil {
		j.doubt = j.findDoubt()
	}
	if age := j.o.Retain.Age; age > 0 {
		old := j.aged(j.clock() - int64(age))
		j.expireAll(old)
	}
	j.overPinned.Store(j.pinnedBytes() > j.o.MaxPinned)
	if j.o.Retain.Disk > 0 {
		if err := j.relieve(); err != nil {
			j.o.Logger.Warn("old records could not be removed for a disk that fills up", zap.Error(err))
		}
	}
}

// candidate is a segment that may go.
type candidate struct {
	t    *Tape
	s    *Segment
	born int64 // ns by Journal.clock, never after that of a later segment of the tape
}

// aged is every segment that was sealed before ns, the oldest first, and of each tape without a hole from its first on.
func (j *Journal) aged(before int64) []candidate {
	var list []candidate
	for _, d := range j.Datasets() {
		for i := range d.visible {
			if t := d.visible[i].Load(); t != nil {
				list = append(list, t.aged(before)...)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.born, b.born) })
	return list
}

func (t *Tape) aged(before int64) []candidate {
	doubt := t.d.j.doubt
	passed := t.d.j.clock() - t.d.j.began
	t.d.mu.Lock()
	synced := t.unsynced
	t.d.mu.Unlock()
	var list []candidate
	for _, s := range *t.segs.Load() {
		if !s.sealed.Load() || s.limit >= synced { // else a recovery would go back to its end, and miss it
			break
		}
		born := s.written.Load()
		list = append(list, candidate{t, s, born + doubt.since(born, passed)})
	}
	// What was written before something else is at least as old, also when the clock was ahead then.
	for i := len(list) - 2; i >= 0; i-- {
		list[i].born = min(list[i].born, list[i+1].born)
	}
	n := 0
	for n < len(list) && list[n].born < before {
		n++
	}
	return list[:n]
}

// relieve removes the oldest segments of all tapes while the disk is fuller than it may be.
func (j *Journal) relieve() error {
	used, size, err := j.o.Disk.Usage(j.dir)
	if err != nil {
		return err
	}
	excess := used - size/100*int64(j.o.Retain.Disk) - j.pinnedBytes()
	if excess <= 0 {
		return nil
	}
	old, n := j.aged(j.clock()-int64(retainLeast)), 0
	for ; n < len(old) && excess > 0; n++ {
		excess -= old[n].s.Offset(old[n].s.limit)
	}
	if n > 0 {
		j.o.Logger.Warn("the disk is fuller than it may be: the oldest records go", zap.Int64("percent_in_use", used*100/size), zap.Int("percent_wanted", j.o.Retain.Disk), zap.Int("segments", n))
	}
	j.expireAll(old[:n])
	return nil
}

// pinnedBytes is what files hold that were removed and that readers still have open: room that comes by itself, and for which nothing more has to go.
func (j *Journal) pinnedBytes() (n int64) {
	j.pinned = slices.DeleteFunc(j.pinned, func(s *Segment) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.file != nil {
			n += s.Offset(s.limit)
		}
		return s.file == nil
	})
	return n
}

// OverPinned says whether readers hold so much of what has expired that those whose socket is full are to let go of it: Options.MaxPinned. They are told a gap
// like others that come too late.
func (j *Journal) OverPinned() bool { return j.overPinned.Load() }

// expireAll removes segments, tape by tape.
func (j *Journal) expireAll(list []candidate) {
	tapes := map[*Tape][]*Segment{}
	var order []*Tape
	for _, c := range list {
		if tapes[c.t] == nil {
			order = append(order, c.t)
		}
		tapes[c.t] = append(tapes[c.t], c.s)
	}
	for _, t := range order {
		if j.keeping.stopped() {
			return
		}
		if err := t.d.expire(t, tapes[t]); err != nil {
			t.d.log.Warn("segments could not be removed though they may go; it is tried again", zap.String("tape", t.name()), zap.Int("segments", len(tapes[t])), zap.Error(err))
		}
	}
}
