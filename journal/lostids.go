package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// When entries of the symbol table are lost, nobody knows any more which ids they gave out, or which ones records use without a name: such an id must not be given to
// another name, or kept records would bear it. So the records are asked once, and the numbering goes on far enough beyond what the lost entries can have said.

const (
	leastMapping = 32      // bytes that an entry has at least; one may note a page of ids
	mostPassed   = 1 << 30 // ids that are passed over at most for what is lost
	scanReport   = 10 * time.Second
)

// coverIDs enters what keeps ids from being given again, when an opening finds that entries are lost for which that was not done yet.
func (o *opening) coverIDs() error {
	s := o.d.symbols
	if len(o.symbolLog.lost) == 0 || o.covered() {
		return nil
	}
	pages, err := o.unnamedPages()
	if err != nil {
		return err
	}
	lost := o.symbolLog.gone
	next := min(uint64(s.next)|(pageIDs-1)+uint64(min(lost/leastMapping*pageIDs, mostPassed)), 1<<32-2)
	o.d.log.Error("the symbol table has lost entries: records that they named have no name, and no id that may have been given out is given again",
		zap.Int64("bytes", lost), zap.Int("pages_of_ids_in_use", len(pages)), zap.Uint64("next_id_above", next))
	for len(pages) > 0 {
		n := min(len(pages), 1<<16)
		if err := o.note(pages[:n]); err != nil {
			return err
		}
		pages = pages[n:]
	}
	return o.note([]Mapping{{ID: uint32(next), Kind: kindNext, Time: uint64(lost)}})
}

// covered says whether an opening has done that for all that is lost: its note says for how much. Where the note lies says nothing, as what was lost since may lie before it,
// ids among that which the records were not asked for, or notes of the pages that they use.
func (o *opening) covered() bool { return o.d.symbols.covered == o.symbolLog.gone }

// note enters notes of the table's own. Without room they hold for this process, and the next opening enters them.
func (o *opening) note(list []Mapping) error {
	s := o.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.log.append(appendMappings(nil, list))
	if errors.Is(err, ErrDiskFull) || errors.Is(err, ErrLimit) {
		o.d.log.Warn("no room to note which ids are in use; the next opening looks again", zap.Error(err))
		err = nil
	}
	if err == nil {
		s.enter(list)
	}
	return err
}

// unnamedPages reads all kept records for the pages of ids that have no entry. What cannot be read is passed over.
func (o *opening) unnamedPages() (list []Mapping, err error) {
	seen := new(seenPages)
	var read uint64
	told := time.Now()
	for _, t := range o.d.tapes {
		if t == nil {
			continue
		}
		for _, s := range *t.segs.Load() {
			if err := s.pin(true); err != nil {
				if unlessHurt(err) != nil {
					return nil, err
				}
				continue // a hole
			}
			err := eachChunk(s.file, s.info(), s.base, t.committedIn(s), func(b []byte) error {
				for at := 0; at+t.size <= len(b); at += t.size {
					id := binary.LittleEndian.Uint32(b[at+4:])
					if !seen.has(id) && o.d.symbols.ids.head(id) == 0 {
						seen[id/pageIDs/64].Or(1 << (id / pageIDs % 64))
						list = append(list, Mapping{ID: id, Kind: kindSeen})
					}
				}
				read += uint64(len(b) / t.size)
				if time.Since(told) >= scanReport {
					told = time.Now()
					o.d.log.Info("looking which ids the kept records use", zap.Uint64("records", read))
				}
				return nil
			})
			s.Release()
			if err != nil && unlessHurt(err) != nil {
				return nil, fmt.Errorf("look which ids %s uses: %w", t.name(), err)
			}
		}
	}
	return list, nil
}
