package journal

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

const epochsName = "epochs.log"

// Epoch is a stretch of a dataset's life without a cut. A record that was read as (epoch, seq) is still that record in a later epoch
// when seq lies below the First of every epoch that came after it.
type Epoch struct {
	Number uint64
	Time   uint64     // wall ns when it began
	First  []Position // each tape's first record of it: where the one before was cut. Tapes without records then are not named.
}

// randomEpoch is the number of an epoch that follows last. Two copies of a directory that go on from the same record must not give theirs the same number:
// a position of one would be taken for the other's.
func randomEpoch(last uint64) uint64 { return last + 1 + uint64(rand.Uint32()) }

func (e *Epoch) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, e.Number)
	dst = binary.LittleEndian.AppendUint64(dst, e.Time)
	return appendPositions(dst, e.First)
}

func parseEpochs(payloads [][]byte) ([]Epoch, error) {
	list := []Epoch{{Number: firstEpoch}}
	for _, p := range payloads {
		f := fields{b: p}
		e := Epoch{Number: f.u64(), Time: f.u64(), First: f.positions()}
		if !f.done() {
			return nil, fmt.Errorf("%w: entry of %s", ErrCorrupt, epochsName)
		}
		if len(list) == 1 && e.Time == 0 && len(e.First) == 0 {
			list = list[:0] // see enterBirth
		}
		list = append(list, e)
	}
	return list, nil
}
