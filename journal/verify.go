package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tapewire/tapewire/feed"
)

// Problem is one thing that is not as it was written.
type Problem struct {
	Dataset string
	Tape    string // schema; empty: a file of the dataset
	Segment uint64 // ordinal; 0: none
	Text    string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s/%s segment %d: %s", p.Dataset, p.Tape, p.Segment, p.Text)
}

// TapeReport is what Verify found of a tape.
type TapeReport struct {
	Dataset  string
	Schema   feed.Schema
	First    uint64
	Tail     uint64
	Segments int
	Records  uint64 // looked at and whole
	Blocks   int    // whose CRC was held against the block index
	Ranges   int    // whose CRC was held against the sync log
}

// Report is what Verify found.
type Report struct {
	Tapes    []TapeReport
	Problems []Problem
}

// Progress tells how far Verify is.
type Progress struct {
	Dataset string
	Schema  feed.Schema
	Segment uint64
	Records uint64 // checked so far, over all tapes
}

// Verify reads a whole journal: every frame of the side files, every record header below the tails, every block and every synced range by its CRC.
// It takes no lock and changes nothing: it may be used while a server runs, or on a copy. progress may be nil; it is called after each segment.
// The error is about reading the directory at all; damage is in Report.Problems.
func Verify(dir string, progress func(Progress)) (Report, error) {
	return verify(OSDisk{}, dir, progress)
}

func baseName(dir string) string { return filepath.Base(dir) }

type verifier struct {
	*view
	report   *Report
	progress func(Progress)
	tape     *TapeReport
	total    uint64
}

func verify(disk Disk, dir string, progress func(Progress)) (Report, error) {
	var r Report
	dirs, err := datasetDirs(disk, dir)
	if err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	x := &verifier{report: &r, progress: progress}
	for _, dir := range dirs {
		v, err := loadView(disk, dir)
		if err != nil {
			r.Problems = append(r.Problems, Problem{Dataset: baseName(dir), Text: err.Error()})
			continue
		}
		x.view = v
		x.sideFiles()
		for schema := range feed.Schema(feed.NumSchemas) {
			if _, ok := v.places[int(schema)]; ok {
				x.checkTape(schema)
			}
		}
	}
	return r, nil
}

func (x *verifier) problem(schema feed.Schema, ordinal uint64, err error) {
	p := Problem{Dataset: x.name, Segment: ordinal, Text: err.Error()}
	if schema != anySchema {
		p.Tape = schema.String()
	}
	x.report.Problems = append(x.report.Problems, p)
}

func (x *verifier) sideFiles() {
	for _, p := range x.symbols {
		if _, err := parseMappings(nil, p); err != nil {
			x.problem(anySchema, 0, err)
		}
	}
	for _, p := range x.gaps {
		if _, err := parseGap(p); err != nil {
			x.problem(anySchema, 0, err)
		}
	}
	epochs, err := x.payloads(epochsName, epochsMagic, logEpochs)
	if err == nil {
		_, err = parseEpochs(epochs)
	}
	if err != nil {
		x.problem(anySchema, 0, err)
	}
	for _, err := range x.damage {
		x.problem(anySchema, 0, err)
	}
	if len(x.entries) == 0 {
		x.problem(anySchema, 0, fmt.Errorf("%w: %s has no entry", ErrCorrupt, syncLogName))
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
	next := uint64(0)
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
			x.problem(schema, ordinal, fmt.Errorf("%w: begins with record %d, the one before ends with %d", ErrCorrupt, info.base, next))
		}
		next = end
		if err := x.checkSegment(f, info, end); err != nil {
			x.problem(schema, ordinal, err)
		}
		f.Close()
		x.progress(Progress{x.name, schema, ordinal, x.total})
	}
	if next != x.tape.Tail {
		x.problem(schema, 0, fmt.Errorf("%w: records end with %d, the tail is %d", ErrCorrupt, next, x.tape.Tail))
	}
	x.checkSynced(schema)
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
		return nil
	}
	if err != nil {
		return err
	}
	fresh, err := makeBlocks(f, info, info.base, info.base+info.records, x.steps[info.schema])
	if err != nil {
		return err
	}
	if len(fresh) != len(blocks) {
		return fmt.Errorf("%w: block index has %d blocks, the segment %d", ErrCorrupt, len(blocks), len(fresh))
	}
	for i := range blocks {
		if !blocks[i].same(&fresh[i]) {
			return fmt.Errorf("%w: records %d to %d fail the CRC of their block", ErrCorrupt, fresh[i].first, fresh[i].first+uint64(fresh[i].count))
		}
		x.tape.Blocks++
	}
	return nil
}

// checkSynced holds the ranges of the sync log against the records, sealed or not, as far as they are kept. Ranges beyond a tail are of an entry written while we were reading.
func (x *verifier) checkSynced(schema feed.Schema) {
	for _, e := range x.entries {
		for _, r := range e.ranges {
			if r.schema != schema || r.to > x.tape.Tail || r.to <= x.expired[int(schema)] {
				continue
			}
			f, info, _, err := x.open(schema, r.ordinal)
			if x.gone(schema, r.ordinal, err) {
				continue
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
