package journal

import (
	"encoding/binary"
	"fmt"
)

// slotLogCount is how many side logs a slot has room for.
const slotLogCount = (slotCRC - slotLogs) / 8

// slot is one commit: everything absolute, so applying it twice is harmless.
type slot struct {
	stream uint32
	count  uint64
	logs   [slotLogCount]int64 // lengths of the side logs: what these records need is in them
	n      int
	tapes  [slotEntries]struct {
		schema int
		place  place
		fresh  fresh
	}
}

// slotEntries is how many tapes a slot has room for: all of DBN's schemas, so one commit can span them.
const slotEntries = (slotBytes - slotHeader) / slotEntry

// fill writes s into the slot that commit number no will make valid. The stores need not be atomic: nobody reads this slot before the atomic store
// of commit_no, which no store before it passes.
func (p *statePage) fill(no, sum uint64, s *slot) {
	at := stateSlots + int(no&1)*slotBytes
	*p.word(at), *p.word(at + 8), *p.word(at + 16), *p.word(at + 24), *p.word(at + slotSum) = no, uint64(s.stream), s.count, uint64(s.n), sum
	for i, n := range s.logs {
		*p.word(at + slotLogs + 8*i) = uint64(n)
	}
	for i := range s.tapes[:s.n] {
		t := &s.tapes[i]
		e := at + slotHeader + i*slotEntry
		*p.word(e), *p.word(e + 8), *p.word(e + 16), *p.word(e + 24) = uint64(t.schema), t.place.ordinal, t.place.base, t.place.tail
		*p.word(e + 32), *p.word(e + 40) = t.fresh.from, uint64(t.fresh.crc)
	}
	*p.word(at + slotCRC) = uint64(p.slotCRC(at, s.n))
}

func (p *statePage) slotCRC(at, n int) uint32 {
	return updateCRC(crc32c(p.b[at:at+slotCRC]), p.b[at+slotHeader:at+slotHeader+n*slotEntry])
}

// read is the slot of the newest commit, and what it says the sum over the page is once it is applied; an error when it is not one that fill wrote.
func (p *statePage) read(s *slot) (sum uint64, err error) {
	no := p.load(stateCommit)
	at := stateSlots + int(no&1)*slotBytes
	stream, n := p.load(at+8), p.load(at+24)
	if no == 0 || p.load(at) != no || stream >= MaxStreams || n > slotEntries || p.load(at+slotCRC) != uint64(p.slotCRC(at, int(n))) {
		return 0, fmt.Errorf("%w: commit slot of commit %d", ErrCorrupt, no)
	}
	*s = slot{stream: uint32(stream), count: p.load(at + 16), n: int(n)}
	for i := range s.logs {
		s.logs[i] = int64(p.load(at + slotLogs + 8*i))
	}
	for i := range s.tapes[:s.n] {
		e := at + slotHeader + i*slotEntry
		schema := p.load(e)
		if schema >= MaxTapes {
			return 0, fmt.Errorf("%w: commit slot of commit %d names schema %d", ErrCorrupt, no, schema)
		}
		s.tapes[i].schema = int(schema)
		s.tapes[i].place = place{p.load(e + 8), p.load(e + 16), p.load(e + 24)}
		s.tapes[i].fresh = fresh{p.load(e + 32), uint32(p.load(e + 40))}
	}
	return p.load(at + slotSum), nil
}

// apply stores what s says into the tapes' places and the stream's count.
func (p *statePage) apply(s *slot) {
	for i := range s.tapes[:s.n] {
		p.setPlace(s.tapes[i].schema, s.tapes[i].place, s.tapes[i].fresh)
	}
	p.setCount(s.stream, s.count)
}

func (p *statePage) version() uint32 { return binary.LittleEndian.Uint32(p.b[8:]) }

// settle applies the newest commit again, as an opening does: a process may have ended while it was at it. What comes of it must be what the slot says, or
// a part of the page is older than the rest. The lengths of the side logs are those of that commit.
func (p *statePage) settle() (logs [slotLogCount]int64, err error) {
	if p.version() == stateVersion1 {
		return logs, p.settleV1()
	}
	var s slot
	sum, err := p.read(&s)
	if err != nil {
		return logs, err
	}
	p.apply(&s)
	if p.total() != sum {
		return logs, fmt.Errorf("%w: state page fails its sum: a part of it is older than commit %d", ErrCorrupt, p.load(stateCommit))
	}
	p.no, p.sum = p.load(stateCommit), sum
	return s.logs, nil
}

// commit makes s the newest commit. The one store of commit_no decides: before it nothing happened, after it everything did,
// since an opening applies the newest slot again.
func (p *statePage) commit(s *slot) {
	no, sum := p.no+1, p.sumAfter(s)
	p.fill(no, sum, s)
	p.store(stateCommit, no)
	p.apply(s)
	p.no, p.sum = no, sum
}

// ours says whether the newest commit is the one that this process made. Another one means that somebody else writes here: the process was restored from a
// checkpoint after it had gone on, or the lock was passed by.
func (p *statePage) ours() error {
	if no := p.load(stateCommit); no != p.no {
		return fmt.Errorf("%w: %s is at commit %d, this process made commit %d last: another process wrote here, or this one was restored from a checkpoint; "+
			"stop both and start one again", ErrFault, stateName, no, p.no)
	}
	return nil
}
