package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tapewire/tapewire/feed"
)

// checkSums holds what a settled state page sums up against the files: the side logs are as long as they were at its newest commit, and each tape's newest
// records are the ones that were committed. What lies before those is the sync log's to vouch for. Files may be missing: see noSum.
func (p *statePage) checkSums(disk Disk, dir string, logs, have [slotLogCount]int64) error {
	for i, want := range logs {
		if have[i] < want {
			return fmt.Errorf("%w: %s ends at byte %d, commit %d needs %d", ErrCorrupt, sideLogs[i].name, have[i], p.no, want)
		}
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		if at := p.place(int(schema)); at.ordinal > 0 {
			if err := checkFresh(disk, dir, schema, at, p.fresh(int(schema))); err != nil && !noSum(err) {
				return err
			}
		}
	}
	return nil
}

// checkFresh reads a tape's newest records.
func checkFresh(disk Disk, dir string, schema feed.Schema, at place, f fresh) error {
	if f.from > at.tail {
		return fmt.Errorf("%w: state page sums up %s from record %d on, its tail is %d", errSum, schema, f.from, at.tail)
	}
	if f.from == at.tail {
		return nil
	}
	ordinal := at.ordinal
	for base := at.base; base > f.from && ordinal > 1; {
		ordinal--
		file, info, err := openSegmentFile(disk, filepath.Join(dir, schema.String()), schema, ordinal, false)
		if err != nil {
			return err
		}
		file.Close()
		base = info.base
	}
	err := sumFresh(disk, dir, schema, ordinal, at, f, false)
	if errors.Is(err, ErrCorrupt) && ordinal < at.ordinal {
		err = sumFresh(disk, dir, schema, ordinal, at, f, true) // a segment is there twice, perhaps: it is the one that the sum is of
	}
	return err
}

func sumFresh(disk Disk, dir string, schema feed.Schema, ordinal uint64, at place, f fresh, unsealed bool) error {
	crc := uint32(0)
	err := eachSegment(disk, dir, schema, ordinal, f.from, at, unsealed, func(_ segmentInfo, b []byte) error {
		crc = updateCRC(crc, b)
		return nil
	})
	if err == nil && crc != f.crc {
		err = fmt.Errorf("%w: records %d to %d of %s are not what was committed", errSum, f.from, at.tail, schema)
	}
	return err
}

// eachSegment reads records of a tape from seq, in segment ordinal, up to a place; of segments that are there twice the one that is not sealed, where asked for.
func eachSegment(disk Disk, dir string, schema feed.Schema, ordinal, seq uint64, to place, unsealed bool, do func(segmentInfo, []byte) error) error {
	for ; ; ordinal++ {
		f, info, err := openSegmentFile(disk, filepath.Join(dir, schema.String()), schema, ordinal, unsealed || ordinal == to.ordinal)
		if err != nil {
			return err
		}
		end := min(to.tail, info.base+info.records)
		if ordinal == to.ordinal {
			end = to.tail
		}
		err = eachChunk(f, info, seq, end, func(b []byte) error { return do(info, b) })
		f.Close()
		if err != nil || ordinal >= to.ordinal {
			return err
		}
		seq = end
	}
}

// newestSynced is what the sync log says last of each tape and stream.
func newestSynced(entries []*syncEntry) (places map[int]place, counts map[uint32]uint64) {
	counts = map[uint32]uint64{}
	for _, e := range entries {
		places = e.places
		for _, c := range e.counts {
			counts[c.stream] = c.count
		}
	}
	return places, counts
}

// notBehind says whether the page has everything that the sync log vouches for.
func (p *statePage) notBehind(entries []*syncEntry) error {
	places, counts := newestSynced(entries)
	for stream, n := range counts {
		if p.count(stream) < n {
			return fmt.Errorf("state page is behind the sync log in stream %d", stream)
		}
	}
	for schema, old := range places {
		if at := p.place(schema); at.tail < old.tail || at.ordinal < old.ordinal {
			return fmt.Errorf("state page is behind the sync log in %s", feed.Schema(schema))
		}
	}
	return nil
}

// outdated says that the sync log is of a later epoch than the page: an opening began it and did not get to the page that belongs to it.
func outdated(epoch uint64, entries []*syncEntry) error {
	if n := len(entries); n > 0 && entries[n-1].epoch > epoch {
		return fmt.Errorf("state page is of epoch %d, the sync log of %d: an opening began it and did not get to its end", epoch, entries[n-1].epoch)
	}
	return nil
}

// vouched says whether everything that the page does not sum up is vouched for by the sync log, and is there. Only where the page cache is not known to be
// the one that was stored to does it have to be asked.
func (p *statePage) vouched(disk Disk, dir string, entries []*syncEntry, expired map[int]uint64) error {
	places, _ := newestSynced(entries)
	for schema := range feed.NumSchemas {
		if f := p.fresh(schema); f.from > places[schema].tail {
			return fmt.Errorf("state page sums up %s from record %d on, the sync log vouches for what lies before %d", feed.Schema(schema), f.from, places[schema].tail)
		}
	}
	now, _ := p.recovered(0)
	for _, e := range entries[min(1, len(entries)):] {
		if err := checkRanges(disk, dir, e, now, expired); err != nil {
			return err
		}
	}
	return nil
}

// checkRanges holds an entry of the sync log against the records. Only records in the segment in use that are there and are not what was synced fail it: a power cut
// cannot take a file, or its header, that was on disk before the entry was. Where those are gone or hurt there is a hole, and what lies around it is served. So it is
// where a segment was left, as places (the newest ones that are known) say, and its file is not the one that was synced: a stale copy, or another tape's.
func checkRanges(disk Disk, dir string, e *syncEntry, places map[int]place, expired map[int]uint64) error {
	for _, r := range e.ranges {
		inUse := r.ordinal >= places[int(r.schema)].ordinal
		if r.to <= expired[int(r.schema)] || !inUse {
			continue // synced, sealed and removed since; or for the sums to find when it is read
		}
		f, info, err := openSegmentFile(disk, filepath.Join(dir, r.schema.String()), r.schema, r.ordinal, inUse)
		if err == nil {
			err = checkRange(f, info, r)
			f.Close()
		}
		if err != nil && !noSum(err) {
			return err
		}
	}
	return nil
}
