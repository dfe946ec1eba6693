package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/tapewire/tapewire/feed"
)

// checkBeyond looks for records that no place names: of sealed segments there are none, unless what names them is lost.
func (x *verifier) checkBeyond(schema feed.Schema) {
	if x.running {
		return // it goes on while we look
	}
	names, err := x.disk.List(filepath.Join(x.dir, schema.String()))
	if err != nil {
		return // checkTape says so
	}
	for _, name := range names {
		if ordinal, ok := ordinalOf(name); ok && filepath.Ext(name) == sealedSuffix && ordinal > x.places[int(schema)].ordinal {
			x.problem(schema, ordinal, fmt.Errorf("%w: a finished segment lies beyond what %s vouches for, so its records are not served", ErrCorrupt, syncLogName))
		}
	}
}

func (x *verifier) checkTape(schema feed.Schema) {
	x.report.Tapes = append(x.report.Tapes, TapeReport{Dataset: x.name, Schema: schema, Tail: x.places[int(schema)].tail})
	x.tape = &x.report.Tapes[len(x.report.Tapes)-1]
	ordinals, err := x.segments(schema)
	if err != nil {
		x.problem(schema, 0, err)
		return
	}
	next, first := uint64(0), uint64(math.MaxUint64)
	for i, ordinal := range ordinals {
		f, info, end, err := x.open(schema, ordinal)
		if x.gone(schema, ordinal, err) {
			ordinals[i], next = 0, 0
			continue
		}
		if err != nil {
			x.problem(schema, ordinal, err)
			continue
		}
		if i == 0 || ordinals[i-1] == 0 || next < info.base && info.base <= x.expired[int(schema)] { // what came before has expired, and is to be removed
			x.tape.First = info.base
		} else if info.base != next {
			x.missing(schema, ordinal, next, info.base)
		}
		first, next = min(first, info.base), end
		if err := x.checkSegment(f, info, end); err != nil {
			x.problem(schema, ordinal, err)
		}
		f.Close()
		x.progress(Progress{x.name, schema, ordinal, x.total})
	}
	x.checkFirst(schema, min(first, x.tape.Tail))
	if first < x.tape.Tail && next != x.tape.Tail {
		x.missing(schema, 0, next, x.tape.Tail)
	}
	x.checkSynced(schema)
}

// checkFirst says when a tape begins later than the ledger says that it was made to.
func (x *verifier) checkFirst(schema feed.Schema, first uint64) {
	expired := x.expired[int(schema)]
	if first > expired {
		if err := x.loadGaps(); err != nil { // more may have expired while we were reading
			x.problem(schema, 0, err)
		}
		expired = x.expired[int(schema)]
	}
	if first > expired {
		x.tape.First = expired
		x.missing(schema, 0, expired, first)
	}
}

func (x *verifier) missing(schema feed.Schema, ordinal, from, to uint64) {
	x.problem(schema, ordinal, missingRecords(from, to))
}

// missingRecords names what should be there and is not.
func missingRecords(from, to uint64) error {
	if from > to {
		return fmt.Errorf("%w: records %d to %d are there twice", ErrCorrupt, to, from)
	}
	return fmt.Errorf("%w: records %d to %d are missing: no file that can be read has them, and the ledger does not say that they expired", ErrCorrupt, from, to)
}

// checkSegment looks at records, metadata and, when the segment is sealed, at its blocks.
func (x *verifier) checkSegment(f File, info segmentInfo, end uint64) error {
	x.tape.Segments++
	region := make([]byte, info.header)
	if _, err := f.ReadAt(region, 0); err != nil {
		return err
	}
	m, err := feed.ParseMetadata(region)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if m.Schema != info.schema || m.Dataset != x.name {
		return fmt.Errorf("%w: metadata is of %s/%s", ErrCorrupt, m.Dataset, m.Schema)
	}
	if info.ordinal < x.places[int(info.schema)].ordinal {
		if err := x.checkEpoch(f, "the file", info); err != nil {
			return err
		}
	}
	seq := info.base
	err = eachChunk(f, info, info.base, end, func(b []byte) error {
		n := wholeRecords(b, info.schema, info.recordSize)
		seq += uint64(n)
		x.tape.Records += uint64(n)
		x.total += uint64(n)
		if n*info.recordSize < len(b) {
			return fmt.Errorf("%w: record %d is not whole", ErrCorrupt, seq)
		}
		return nil
	})
	if err != nil || !info.sealed {
		return err
	}
	return x.checkBlocks(f, info)
}

// checkBlocks holds the records against the block index. A lost index is no damage: it is made again when it is needed.
func (x *verifier) checkBlocks(f File, info segmentInfo) error {
	_, blocks, err := readIndex(x.disk, filepath.Join(x.dir, info.schema.String()), info, true)
	if errors.Is(err, fs.ErrNotExist) {
		x.note(info.schema, info.ordinal, fmt.Sprintf("records %d to %d have no block index, whose sums they could be held against: only their headers were", info.base, info.base+info.records))
		return nil
	}
	if err != nil {
		return err
	}
	buf := make([]byte, int(blockRecords(info.recordSize))*info.recordSize)
	for i := 0; i < len(blocks); {
		n, bad := i, uint64(0)
		var sound bool
		for ; n < len(blocks); n++ { // what touches is one damage
			if sound, err = x.checkBlock(f, info, &blocks[n], buf); sound || err != nil {
				break
			}
			bad += uint64(blocks[n].count)
		}
		if sound {
			x.tape.Blocks++
		}
		if bad > 0 {
			x.problem(info.schema, info.ordinal, fmt.Errorf("%w: records %d to %d fail the CRC of their block", ErrCorrupt, blocks[i].first, blocks[i].first+bad))
		}
		if err != nil {
			return err
		}
		i = n + 1
	}
	return nil
}

// checkBlock says whether a block is the one that its records make; buf has room for one.
func (x *verifier) checkBlock(f File, info segmentInfo, k *block, buf []byte) (sound bool, err error) {
	if int(k.count)*info.recordSize > len(buf) {
		return false, nil // no release divides a segment so
	}
	fresh, err := readBlock(f, info, k.first, k.first+uint64(k.count), x.steps[info.schema], buf)
	return err == nil && k.same(&fresh), err
}

// checkSynced holds the ranges of the sync log against the records, sealed or not, as far as they are kept. Ranges beyond a tail are of an entry written while we were reading.
func (x *verifier) checkSynced(schema feed.Schema) {
	for _, e := range x.entries {
		for _, r := range e.ranges {
			if r.schema != schema || r.to > x.tape.Tail || r.to <= x.expired[int(schema)] {
				continue
			}
			f, info, _, err := x.open(schema, r.ordinal)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed while we were reading, or told as missing
			}
			if err == nil {
				info.sealed = false // here a sealed segment's word is not taken
				err = checkRange(f, info, r)
				f.Close()
			}
			if err != nil {
				x.problem(schema, r.ordinal, err)
				continue
			}
			x.tape.Ranges++
		}
	}
}
