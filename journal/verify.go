package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
	told     map[Problem]bool
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
	x := &verifier{report: &r, progress: progress, told: map[Problem]bool{}}
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
	if !x.told[p] { // each range of a file that cannot be read says the same
		x.told[p] = true
		x.report.Problems = append(x.report.Problems, p)
	}
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
	for _, err := range x.logDamage() {
		x.problem(anySchema, 0, err)
	}
	x.checkSyncLog()
	if _, _, err := readState(x.disk, x.dir); errors.Is(err, ErrCorrupt) {
		x.problem(anySchema, 0, fmt.Errorf("%w; an opening goes by the sync log", err))
	}
	if x.stateErr != nil && len(x.entries) > 0 && !x.entries[len(x.entries)-1].clean {
		x.note(anySchema, 0, "looked at is what is known to be on disk: "+x.stateErr.Error())
	}
	if err := x.foresee(); errors.Is(err, fs.ErrPermission) {
		x.note(anySchema, 0, fmt.Sprintf("what the next start would cut is not known: %v; verify as the user that the gateway runs as", err))
	} else if err != nil {
		x.problem(anySchema, 0, fmt.Errorf("what the next start would cut is not known: %w", err))
	}
}
