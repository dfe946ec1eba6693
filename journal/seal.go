package journal

import (
	"fmt"
	"os"

	"go.uber.org/zap"
)

// sealRound brings the block indexes up to the tails, and seals what is full. A segment is sealed only after the sync log vouches for its last record:
// so a recovery never has a reason to cut a sealed one.
func (d *Dataset) sealRound() (again bool) {
	for i := range d.tapes {
		d.mu.Lock()
		t := d.tapes[i]
		var active *Segment
		var synced uint64
		if t != nil && t.frozen == nil { // the preparer closes the file of one that is, when there is room
			active, synced = t.active, t.unsynced
		}
		d.mu.Unlock()
		if active == nil {
			continue
		}
		segs := *t.segs.Load()
		for _, s := range unsealedOf(segs) {
			err := guarded(func() error {
				s.proveAll(t.committedIn(s))
				s.extendIndex(t.committedIn(s))
				if s.ordinal >= active.ordinal || s.limit > synced {
					return nil
				}
				return s.seal()
			})
			if err != nil {
				d.log.Warn("segment could not be sealed; it is served as it is and tried again", zap.String("tape", t.name()), zap.Uint64("segment", s.ordinal), zap.Error(err))
				again = true
			}
		}
	}
	return again
}

// extendIndex adds the blocks that are complete below end. Readers see a prefix that never changes.
func (s *Segment) extendIndex(end uint64) {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	per := blockRecords(s.tape.size)
	var list []block
	at := s.base
	if old := s.blocks.Load(); old != nil && len(*old) > 0 {
		list = *old
		last := list[len(list)-1]
		at = last.first + uint64(last.count)
	}
	before, steps := len(list), s.tape.outlierSteps()
	for ; at < end && (at+per <= end || end == s.limit); at += per {
		to := min(at+per, end)
		list = append(list, makeBlock(at, s.Mapped(at, to), s.tape.schema, s.tape.size, steps))
	}
	if len(list) > before {
		s.blocks.Store(&list)
		if s.sealed.Load() { // meanwhile: the index is in its file
			s.blocks.Store(nil)
		}
	}
}

// indexed is the end of the records that the index covers.
func (s *Segment) indexed() uint64 {
	if list := s.blocks.Load(); list != nil && len(*list) > 0 {
		last := (*list)[len(*list)-1]
		return last.first + uint64(last.count)
	}
	return s.base
}

// sum is the CRC32C of records [from, to), which are committed. What the index has, or will have, is read once for both.
func (s *Segment) sum(from, to uint64) (crc uint32) {
	size, per := s.tape.size, blockRecords(s.tape.size)
	if s.indexed()+per > from { // else the index is far behind, as after an opening: the sealer's work, which no sync should wait for
		s.extendIndex(to)
	}
	var blocks []block
	if list := s.blocks.Load(); list != nil {
		blocks = *list
	}
	power := xpow8(int(per) * size)
	for from < to {
		i, next := int((from-s.base)/per), min(to, s.base+(from-s.base)/per*per+per)
		if i < len(blocks) && blocks[i].first == from && uint64(blocks[i].count) == per && next-from == per {
			crc = joinCRC(crc, blocks[i].crc, power)
		} else {
			crc = updateCRC(crc, s.Mapped(from, next))
		}
		from = next
	}
	return crc
}

// unpin prepares records [from, to) for a sync. Appends go on in the page of record to and behind it: that one stays.
// It only saves work: where a kernel does not do it, as for locked memory, the sync costs what it costs.
func (s *Segment) unpin(from, to uint64) {
	page := int64(os.Getpagesize())
	a, b := roundUp(s.Offset(from), page), s.Offset(to)/page*page
	if b-a >= unpinFrom {
		_ = s.mem.Unpin(a, b)
	}
}

// seal turns a full segment into a DBN file of its exact size. Each step can be done again after a crash; the rename is the last.
func (s *Segment) seal() error {
	t := s.tape
	d := t.d
	blocks := s.spoil(*s.blocks.Load())
	info := s.info()
	info.sealed, info.epoch, info.created = true, d.epoch, d.now()
	if s.proof == nil || !s.proof.index {
		if err := writeIndex(d.disk, t.dir, info, blocks); err != nil {
			return err
		}
	}
	region, err := s.sealedRegion(info, totalTimes(blocks))
	if err != nil {
		return err
	}
	// Our own header goes last and in one write of 64 aligned bytes: until then the file says that it is not sealed.
	own := int64(len(region)) - segmentHeader
	if _, err := s.file.WriteAt(region[:own], 0); err != nil {
		return err
	}
	if err := s.file.Truncate(s.Offset(s.limit)); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(region[own:], own); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	err = d.disk.Rename(s.path(), segmentPath(t.dir, s.ordinal, sealedSuffix))
	if err == nil {
		s.written.Store(d.j.clock())
		s.sealed.Store(true)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	total := totalTimes(blocks)
	s.total.Store(&total)
	s.blocks.Store(nil)
	d.log.Info("sealed", zap.String("tape", t.name()), zap.Uint64("segment", s.ordinal), zap.Uint64("records", info.records))
	s.countHeld()
	s.Release() // the tape's reference: the mapping goes when the last reader goes
	return d.disk.SyncDir(t.dir)
}

// sealedRegion is the header with times and symbol mappings filled in: as many as there is room for.
func (s *Segment) sealedRegion(info segmentInfo, total Times) ([]byte, error) {
	m := s.tape.d.metadata(info.schema)
	m.Start, m.End = 0, undefTime
	from, to := total.index()
	if from <= to {
		m.Start, m.End = from, to+1
	}
	all := s.mappings()
	s.tape.named.Store(&namedIn{intervals(all), int64(s.tape.d.symbols.NumIDs())})
	if m.Mappings = fitting(all, info.header); len(m.Mappings) < len(all) {
		s.tape.d.log.Warn("symbols came after room was made for them in a segment's header: it names those that fit; the next segment has more room",
			zap.String("tape", s.tape.name()), zap.Uint64("segment", s.ordinal), zap.Int("symbols", len(all)), zap.Int("named", len(m.Mappings)))
	}
	for i := range m.Mappings {
		m.Symbols = append(m.Symbols, m.Mappings[i].RawSymbol)
	}
	region, err := info.headerRegion(m)
	if err != nil {
		return nil, fmt.Errorf("seal segment %d of %s: %w", s.ordinal, s.tape.name(), err)
	}
	return region, nil
}
