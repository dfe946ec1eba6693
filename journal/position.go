package journal

import (
	"encoding/binary"

	"github.com/tapewire/tapewire/feed"
)

// Position is a place in a tape: a record's number.
type Position struct {
	Schema feed.Schema
	Seq    uint64
}

// seqIn is the position in one schema's tape; 0 when the tape had no records then.
func seqIn(at []Position, s feed.Schema) uint64 {
	for _, p := range at {
		if p.Schema == s {
			return p.Seq
		}
	}
	return 0
}

// appendPositions writes u8 n, then n times {u16 schema, u64 seq}.
func appendPositions(dst []byte, at []Position) []byte {
	dst = append(dst, uint8(len(at)))
	for _, p := range at {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(p.Schema))
		dst = binary.LittleEndian.AppendUint64(dst, p.Seq)
	}
	return dst
}

func (f *fields) positions() []Position {
	n := int(f.u8())
	if n == 0 || f.bad {
		return nil
	}
	at := make([]Position, 0, n)
	for range n {
		at = append(at, Position{feed.Schema(f.u16()), f.u64()})
	}
	return at
}

// clamp cuts positions back to tails: a power cut may have taken the records, not the entry that speaks of them.
func clamp(at []Position, tails map[int]place) {
	for i := range at {
		at[i].Seq = min(at[i].Seq, tails[int(at[i].Schema)].tail)
	}
}
