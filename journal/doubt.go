package journal

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// doubt is time of which nobody can say whether it passed: the wall clock jumped over it, from one stamp to the next, and no process was there to see it go
// by. Perhaps nothing was written for as long, perhaps the machine started with a wrong clock, or the directory is a copy of last month's. A clock that is
// wrong must not cost everything at once: doubted time does not count for the age of what is older, but for what passes while we watch, which counts
// clockRegained times.
type doubt struct {
	leaps []leap // by from
	total int64  // ns
}

// leap is from one stamp to the next one, in ns of the wall clock.
type leap struct{ from, by int64 }

// findDoubt looks at the stamps of all segments that were there when the journal was opened, in order, up to that moment.
func (j *Journal) findDoubt() *doubt {
	stamps := []int64{j.began}
	for _, d := range j.Datasets() {
		for i := range d.visible {
			t := d.visible[i].Load()
			if t == nil {
				continue
			}
			for _, s := range *t.segs.Load() {
				if at := s.written.Load(); at > 0 && at < j.began {
					stamps = append(stamps, at)
				}
			}
		}
	}
	slices.Sort(stamps)
	k := &doubt{}
	for i := 1; i < len(stamps); i++ {
		if by := stamps[i] - stamps[i-1]; by > int64(clockLeap) {
			k.leaps = append(k.leaps, leap{stamps[i-1], by})
			k.total += by
		}
	}
	if n := len(k.leaps); n > 0 && k.leaps[n-1].from+k.leaps[n-1].by == j.began && j.o.Retain.Age > 0 {
		j.o.Logger.Warn("the clock is far ahead of the newest records; in case it is wrong, what is too old by it goes little by little and not at once: "+
			"if it is wrong, set it and start again; if nothing was written for as long, there is nothing to do",
			zap.Duration("ahead", time.Duration(k.leaps[n-1].by)), zap.Duration("caught_up_in", time.Duration(k.total/clockRegained)))
	}
	return k
}

// since is the doubted time after a stamp that does not count yet, passed ns after the opening.
func (k *doubt) since(born, passed int64) int64 {
	if k == nil || k.total == 0 {
		return 0
	}
	var sum int64
	for _, l := range k.leaps {
		if l.from >= born {
			sum += l.by
		}
	}
	return min(sum, max(0, k.total-clockRegained*passed))
}
