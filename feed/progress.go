package feed

import (
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Progress says exactly how far one schema of a ResumingSubscriber has come. It is plain data: who keeps it, as JSON say, can go on there in another
// process. The gateway tells positions once a second; what came behind the last one is counted and summed up, and read over when a new session
// begins at that position.
type Progress struct {
	Schema   string   // its name
	Known    bool     // a position was told; if not, the subscription begins where it says itself
	First    bool     // nothing was published yet: it begins with the first record, also when that comes while there is no session
	Epoch    uint64   // of that position
	Seq      uint64   // of that position
	Records  uint64   // records that were handed out since
	Sum      uint32   // their CRC32C; 0 is not compared
	Gaps     []uint32 `json:",omitempty"` // CRC32C of the texts of gaps that were told since
	Replayed bool     // the past that the subscription's Start asks for has come, and the position lies behind it
	Ended    bool     // all that lies before its End has come
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// course follows one schema over sessions.
type course struct {
	Progress
	sub      Subscription
	schema   Schema
	finished bool // the end of the replay was handed out

	// Of the present session.
	id      uint64 // that the subscription has in it
	refused *SubscriptionError
	resumed bool
	replays bool   // it begins with a replay
	done    bool   // its replay has ended
	drop    uint64 // records that were handed out in an earlier session and are still to come
	sum     uint32 // of those that came
	exact   bool   // sum is to be compared with Sum
	gaps    int    // of Gaps, how many came again
}

// begin prepares for a new session and returns what to subscribe to.
func (c *course) begin() Subscription {
	c.drop, c.sum, c.exact, c.gaps = c.Records, 0, c.Sum != 0, 0
	c.resumed, c.done, c.refused = c.Known, false, nil
	sub := c.sub
	if c.Known {
		sub.Start, sub.Resume = nil, &Position{Schema: c.Schema, Epoch: c.Epoch, Seq: c.Seq}
	} else if c.First && sub.Start == nil {
		sub.Start = new(uint64)
	}
	c.replays = sub.Start != nil || sub.Resume != nil
	return sub
}

// data takes a record and reports whether it is a new one. ErrChanged: what comes at this position is not what came there before.
func (c *course) data(rec Record) (pass bool, err error) {
	if !c.Replayed && c.sub.Start != nil && c.schema.ReplayTime(rec) < *c.sub.Start {
		return false, nil // a replay by time leaves these out; one that goes on by position does not know of it
	}
	if c.Ended || c.sub.End != nil && c.schema.ReplayTime(rec) >= *c.sub.End {
		return false, nil // a gateway that knows no ends sends these
	}
	if c.drop == 0 {
		c.gaps = len(c.Gaps)
		c.Records++
		c.Sum = sumRecord(c.Sum, rec)
		return true, nil
	}
	c.drop--
	c.sum = sumRecord(c.sum, rec)
	if c.drop > 0 {
		return false, nil
	}
	if c.exact && c.sum != c.Sum {
		return false, fmt.Errorf("%w: the %d records of %s behind position %d:%d are others than those that came there before; was the data directory replaced?",
			ErrChanged, c.Records, c.Schema, c.Epoch, c.Seq)
	}
	c.Sum = c.sum
	return false, nil
}

// sumRecord leaves out the length, which ts_out changes.
func sumRecord(sum uint32, rec Record) uint32 { return crc32.Update(sum, castagnoli, rec[1:]) }

// at takes a position. While records of an earlier session come again it says nothing new, unless it lies before them: then the gateway has lost
// them, and all that comes is new.
func (c *course) at(p Position) {
	switch told := c.Known && p.Seq == c.Seq && c.gaps < len(c.Gaps); {
	case told: // gaps that stand there come again
	case c.drop == 0, c.resumed && p.Seq < c.Seq:
		c.moveTo(p)
	}
}

// moveTo begins to count at a place.
func (c *course) moveTo(p Position) {
	c.Known, c.First, c.Epoch, c.Seq = true, false, p.Epoch, p.Seq
	c.Records, c.Sum, c.Gaps, c.drop, c.gaps = 0, 0, nil, 0, 0
	c.Replayed = c.Replayed || c.done
}

// gap takes the text of a gap and reports whether it is news.
func (c *course) gap(text string, g lsg.Gap) (pass bool) {
	sum := crc32.Checksum([]byte(text), castagnoli)
	switch {
	case c.gaps < len(c.Gaps) && c.Gaps[c.gaps] == sum:
		c.gaps++
		return false
	case g.HasAt && c.drop == 0:
		c.moveTo(g.At)
		return true
	case g.HasAt:
		c.lose(g)
		return true
	case g.Cause == lsg.CauseCut && c.drop > 0: // what was still to come again is what was cut
		c.Records, c.Sum, c.drop = c.Records-c.drop, c.sum, 0
	}
	c.Gaps = append(slices.Clip(c.Gaps[:c.gaps]), sum)
	c.gaps = len(c.Gaps)
	return true
}

// lose takes a gap that spares the gateway records which came before. How many of them it spares is known where all records of the tape come; where
// it is not, some may come twice rather than none.
func (c *course) lose(g lsg.Gap) {
	left := uint64(0)
	if whole := len(c.sub.Symbols) == 0 && (c.Replayed || c.sub.Start == nil) && c.sub.End == nil; whole {
		left = c.drop - min(c.drop, g.Records)
	}
	c.moveTo(g.At)
	c.Records, c.drop, c.sum, c.exact = left, left, 0, false
}

// EndGrace is how long after a subscription's End a record from before it is still waited for, where the gateway does not say that all have come.
const EndGrace = 10 * time.Second

// over reports whether all before the End must have come.
func (c *course) over(now time.Time) bool {
	if c.sub.End == nil || c.Ended || c.replays && !c.done {
		return false
	}
	last := now.Add(-EndGrace).UnixNano()
	return last > 0 && uint64(last) >= *c.sub.End
}

// replayed takes the end of a replay and reports whether it is news: that what was missed has come is none to who asked for no past. ErrChanged: the tape ends before
// records that came before.
func (c *course) replayed() (pass bool, err error) {
	if c.drop > 0 && c.sub.End == nil {
		return false, fmt.Errorf("%w: the gateway has %d of the %d records of %s that came there before; was the data directory replaced by an older copy?",
			ErrChanged, c.Records-c.drop, c.Records, c.Schema)
	}
	c.done = true
	pass = !c.finished && c.sub.Start != nil
	c.finished = true
	return pass, nil
}
