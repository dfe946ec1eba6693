package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

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
	where := p.Dataset
	if p.Tape != "" {
		where += "/" + p.Tape
	}
	if p.Segment > 0 {
		where += fmt.Sprintf(" segment %d", p.Segment)
	}
	return where + ": " + p.Text
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
	Notes    []Problem // what is no damage, and worth to know: what could not be held against a sum, what is not looked at
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
	linked, odd, err := strays(disk, dir)
	if err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	for _, name := range odd {
		r.Notes = append(r.Notes, Problem{Dataset: name, Text: "not looked at: the files are those of a dataset, the name is none of one, so it is not served"})
	}
	for _, path := range linked {
		r.Problems = append(r.Problems, Problem{Dataset: baseName(path), Text: errLinked.Error()})
	}
	dirs = append(dirs, linked...)
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
			x.checkBeyond(schema)
		}
		x.checkEmpty()
	}
	return r, nil
}

func (x *verifier) note(schema feed.Schema, ordinal uint64, text string) {
	p := Problem{Dataset: x.name, Segment: ordinal, Text: text}
	if schema != anySchema {
		p.Tape = schema.String()
	}
	x.report.Notes = append(x.report.Notes, p)
}

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

// checkEmpty says when there is nothing that could be verified, which must not look like success.
func (x *verifier) checkEmpty() {
	if len(x.places) > 0 {
		return
	}
	for i, s := range x.streams {
		if n := x.counts[i]; n > 0 && len(x.gaps) == 0 {
			x.problem(anySchema, 0, fmt.Errorf("%w: there are no records, and stream %s of %s counts %d", ErrCorrupt, s.name, s.producer, n))
			return
		}
	}
	x.note(anySchema, 0, "there are no records")
}

// checkSyncLog says what of the sync log cannot be used. A frame that is being written while we look is whole a moment later.
func (x *verifier) checkSyncLog() {
	if x.logErr != nil {
		x.problem(anySchema, 0, fmt.Errorf("%s cannot be read: %w", syncLogName, x.logErr))
		return
	}
	for try := 0; ; try++ {
		entries, end, size, err := unusedOfSyncLog(x.disk, x.dir)
		if err == nil && size == end {
			return
		}
		if try < syncLogTries {
			time.Sleep(time.Millisecond)
			continue
		}
		if err == nil {
			err = fmt.Errorf("%w: %s is whole up to entry %d, at byte %d, and there is more that is not", ErrCorrupt, syncLogName, entries, end)
		}
		x.problem(anySchema, 0, err)
		return
	}
}

const syncLogTries = 20 // reads of a sync log that is written to under us

// unusedOfSyncLog is how many entries can be read, where they end, and where the bytes end that are not zero.
func unusedOfSyncLog(disk Disk, dir string) (entries int, end, used int64, err error) {
	list, end, err := readSyncLog(disk, dir)
	if err != nil {
		return 0, 0, 0, err
	}
	f, err := disk.Open(filepath.Join(dir, syncLogName), true)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, 0, 0, err
	}
	b := make([]byte, max(size-end, 0))
	if n, err := f.ReadAt(b, end); n < len(b) {
		return 0, 0, 0, err
	}
	return len(list), end, end + int64(len(bytes.TrimRight(b, "\x00"))), nil
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
	x.checkSyncLog()
	if x.stateErr != nil && len(x.entries) > 0 && !x.entries[len(x.entries)-1].clean {
		x.note(anySchema, 0, "looked at is what is known to be on disk: "+x.stateErr.Error())
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
