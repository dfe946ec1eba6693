package journal

import (
	"encoding/binary"
	"fmt"
)

const (
	epochsName  = "epochs.log"
	streamsName = "streams.log"
)

// Epoch is a stretch of a dataset's life without a cut. A record that was read as (epoch, seq) is still that record in a later epoch
// when seq lies below the First of every epoch that came after it.
type Epoch struct {
	Number uint64
	Time   uint64     // wall ns when it began
	First  []Position // each tape's first record of it: where the one before was cut. Tapes without records then are not named.
}

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
		list = append(list, e)
	}
	return list, nil
}

// append is a stream's entry, made at a wall time in ns.
func (s *stream) append(dst []byte, at uint64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, s.number)
	dst = binary.LittleEndian.AppendUint64(dst, at)
	dst = appendText(appendText(dst, s.producer), s.name)
	return s.claims.append(dst)
}

// parseStreams reads streams.log, and to whom the producers' names belong. An entry has the next number, or one that there was before: then it says what is
// claimed of that stream from now on.
func parseStreams(payloads [][]byte) (list []*stream, owners map[string]string, err error) {
	owners = map[string]string{}
	for i, p := range payloads {
		f := fields{b: p}
		number := int(f.u32())
		f.u64() // when it was entered
		producer, name := f.text(), f.text()
		claims := parseClaims(&f)
		switch {
		case !f.done() || number > len(list) || number >= MaxStreams:
			return nil, nil, fmt.Errorf("%w: entry %d of %s", ErrCorrupt, i, streamsName)
		case number == len(list):
			list = append(list, &stream{number: uint32(number), producer: producer, name: name})
		case list[number].producer != producer || list[number].name != name:
			return nil, nil, fmt.Errorf("%w: entry %d of %s is of another stream", ErrCorrupt, i, streamsName)
		}
		list[number].claims = claims
		if claims.owner != "" {
			owners[producer] = claims.owner
		}
	}
	return list, owners, nil
}
