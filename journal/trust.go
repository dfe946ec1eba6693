package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tapewire/tapewire/feed"
)

// trust takes what the state page says into the result; an error says why it is not to be trusted.
func (o *opening) trust() error {
	d, page, k := o.d, o.page.page, o.page.kin
	o.result.here, o.result.untouched = k.here, k.untouched
	if o.page.err != nil {
		return o.page.err
	}
	epoch, logs := o.page.epoch, o.page.logs
	places, counts := page.recovered(o.numStreams())
	v1 := page.version() == stateVersion1
	if k.machine || !v1 {
		o.result.ends = endsOf(places)
	}
	if err := page.notBehind(o.entries); err != nil {
		o.result.ends = nil
		return err
	}
	if err := outdated(epoch, o.entries); err != nil {
		o.result.ends = endsOf(o.entries[len(o.entries)-1].places) // what the page has beyond was told by the opening that began the log
		return err
	}
	if err := cutSince(d.epochs, epoch, places); err != nil {
		return err
	}
	if v1 {
		if !k.machine {
			return errors.New("another boot, mount or copy than the one it was written on, and it has no sums")
		}
		if err := o.checkWhole(places); err != nil {
			return err
		}
	} else if err := page.checkSums(d.disk, d.dir, logs, d.logEnds()); err != nil {
		return err
	}
	if !k.same && !v1 {
		if o.logErr != nil {
			return o.logErr
		}
		if err := page.vouched(d.disk, d.dir, o.entries, o.expired); err != nil {
			return err
		}
	}
	// An epoch that was entered and is not the page's was begun by an opening that did not get to its end.
	o.result.same = k.same && d.epochs[len(d.epochs)-1].Number <= epoch
	o.result.renew, o.result.old = v1 || page.witness() == witness{}, v1
	o.result.places, o.result.counts, d.epoch = places, counts, epoch
	return o.checkKept()
}

// cutSince says of a page that an opening did not trust it, began to cut, and did not get to its end: it entered its own epoch first, at other tails than the page's.
// What was wrong may not be seen any more: what the page needs may have been put aside, and the side logs are longer by what that opening entered.
func cutSince(epochs []Epoch, epoch uint64, places map[int]place) error {
	last := epochs[len(epochs)-1]
	if last.Number <= epoch || slices.Equal(last.First, tailsOf(places)) {
		return nil
	}
	return fmt.Errorf("state page is of epoch %d, and epoch %d begins elsewhere: an opening began to cut and did not get to its end", epoch, last.Number)
}

// endsOf is the tails of places, by schema.
func endsOf(places map[int]place) map[int]uint64 {
	ends := map[int]uint64{}
	for schema, p := range places {
		ends[schema] = p.tail
	}
	return ends
}

// tailsOf is the tails of places, in the order of schemas.
func tailsOf(places map[int]place) (list []Position) {
	for schema := range feed.Schema(feed.NumSchemas) {
		if p, ok := places[int(schema)]; ok {
			list = append(list, Position{schema, p.tail})
		}
	}
	return list
}

// recovered is what a settled page says of tapes and streams.
func (p *statePage) recovered(streams int) (places map[int]place, counts []uint64) {
	places, counts = map[int]place{}, make([]uint64, streams)
	for schema := range feed.NumSchemas {
		if at := p.place(schema); at.ordinal > 0 {
			places[schema] = at
		}
	}
	for i := range counts {
		counts[i] = p.count(uint32(i))
	}
	return places, counts
}

// checkWhole looks at the header of each record that the sync log does not vouch for: what there is for a state page of version 1.
func (o *opening) checkWhole(places map[int]place) error {
	synced, _ := newestSynced(o.entries)
	for schema, p := range places {
		from, ok := synced[schema]
		if !ok {
			from = place{ordinal: 1}
			if len(o.entries) == 0 {
				from = place{p.ordinal, p.base, p.base}
			}
		}
		s := feed.Schema(schema)
		err := eachSegment(o.d.disk, o.d.dir, s, from.ordinal, from.tail, p, false, func(info segmentInfo, b []byte) error {
			if n := wholeRecords(b, s, info.recordSize); n*info.recordSize < len(b) {
				return fmt.Errorf("%w: %s segment %d: a committed record is not whole", ErrCorrupt, s, info.ordinal)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// begunAt is the entry that an opening went back to which began to cut and did not get to its end: its epoch says so, which it entered first. Files that entries
// behind it need may have been put aside since, and would be taken for files that somebody removed. It is the last entry when there was no such opening.
func (o *opening) begunAt() int {
	last, epoch := len(o.entries)-1, o.d.epochs[len(o.d.epochs)-1]
	if epoch.Number > o.entries[last].epoch {
		for i := last; i >= 0; i-- {
			if slices.Equal(epoch.First, tailsOf(o.entries[i].places)) {
				return i
			}
		}
	}
	return last
}
