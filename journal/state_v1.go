package journal

import "fmt"

// A state page of version 1 has no sums: it can be trusted where its page cache is known to be the one that was stored to, and is replaced by one of the
// present version as soon as it was read. Its places and counts are where ours are; its commit slots are smaller and hold less.
const (
	stateVersion1 = 1
	slotBytesV1   = 1024
	slotHeaderV1  = 32 // commit_no, stream, count, n
	slotEntryV1   = 32 // schema, ordinal, base, tail
	slotEntriesV1 = (slotBytesV1 - slotHeaderV1) / slotEntryV1
)

// settleV1 applies the newest commit of a page of version 1 again.
func (p *statePage) settleV1() error {
	no := p.load(stateCommit)
	if no == 0 {
		return nil
	}
	at := stateSlots + int(no&1)*slotBytesV1
	stream, n := p.load(at+8), p.load(at+24)
	if p.load(at) != no || stream >= MaxStreams || n > slotEntriesV1 {
		return fmt.Errorf("%w: commit slot of commit %d", ErrCorrupt, no)
	}
	for e := at + slotHeaderV1; e < at+slotHeaderV1+int(n)*slotEntryV1; e += slotEntryV1 {
		schema := p.load(e)
		if schema >= MaxTapes {
			return fmt.Errorf("%w: commit slot of commit %d names schema %d", ErrCorrupt, no, schema)
		}
		p.setPlace(int(schema), place{p.load(e + 8), p.load(e + 16), p.load(e + 24)}, fresh{})
	}
	p.setCount(uint32(stream), p.load(at+16))
	return nil
}
