package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// What stands beside a file of -o, so that another run can go on with it.
const (
	positionSuffix = ".position" // where it ends
	symbolsSuffix  = ".symbols"  // the mappings behind its header's symbols, DBN only
)

// saveInterval is how often the end of a file is saved while records come. A save waits for the disk.
const saveInterval = time.Second

// savedEnd is what FILE.position holds: what the file was made by, and exactly how far it is. It is written after what it speaks of is on disk; what a
// file has beyond it is cut and received again.
type savedEnd struct {
	Dataset  string          `json:"dataset"`
	Schemas  []string        `json:"schemas"`
	Symbols  string          `json:"symbols"` // how they are written and a digest of them
	Format   string          `json:"format"`
	Start    *startTime      `json:"start,omitempty"` // ns, of the first run
	End      *startTime      `json:"end,omitempty"`
	Records  uint64          `json:"records"`
	Bytes    int64           `json:"bytes"`    // of its records, without the header of DBN
	Mappings int             `json:"mappings"` // in FILE.symbols
	Progress []feed.Progress `json:"progress"`

	// What the file lacks: a run that goes on with it says so too.
	Missing int      `json:"missing,omitempty"` // times that the gateway told of missing records
	Told    []string `json:"told,omitempty"`    // the first of its words for it
	Unheard unheard  `json:"unheard"`           // of the last run that ended in order
}

// recording keeps the end of a file while it is written. For any other output it does nothing.
type recording struct {
	path   string // "": there is no file that could be gone on with
	saved  savedEnd
	began  uint64 // records that an earlier run wrote
	lacked int    // of saved.Missing, those of earlier runs
	at     time.Time
	lock   *os.File // the file itself, opened before it is changed
	anew   bool     // it is one that begins
	made   bool     // and was not there

	failed bool // what was written may not be on disk: a later fsync says that it is
}

// fileOutput is an output whose end can be saved.
type fileOutput interface {
	recordOutput
	// Sync returns when all that was given to it is on disk, with the length of its records, and how many mappings are in FILE.symbols.
	Sync() (bytes int64, mappings int, err error)
}

// recording finds out where the output goes on.
func (s *subscribeCmd) recording(sink *sink, subs []feed.Subscription) (*recording, error) {
	rec := &recording{saved: savedEnd{Dataset: s.Dataset, Symbols: s.symbolsText(), Format: sink.format, Start: s.Start, End: s.End}}
	for _, sub := range subs {
		rec.saved.Schemas = append(rec.saved.Schemas, sub.Schema.String())
	}
	if !sink.regular {
		return rec, nil
	}
	rec.path = s.Output
	if !s.Resume || !sink.exists {
		if s.Resume && fileExists(s.Output+positionSuffix) {
			return nil, usage("-o %s: the file is gone, but %s is there and says how far it was; bring it back, or remove that to begin anew", s.Output, s.Output+positionSuffix)
		}
		return rec, nil
	}
	return rec, rec.load(subs)
}

// symbolsText names what was asked for, without holding a million symbols.
func (s *subscribeCmd) symbolsText() string {
	if len(s.Symbols) == 0 {
		return "all"
	}
	sum := sha256.Sum256([]byte(strings.Join(s.Symbols, ",")))
	return s.StypeIn + " " + hex.EncodeToString(sum[:])
}

// load reads the end of a file that is there, and checks that it is one of the same records.
func (r *recording) load(subs []feed.Subscription) (err error) {
	if r.lock, err = openLocked(r.path, 0); err != nil {
		return err
	}
	text, err := os.ReadFile(r.path + positionSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		if info, statErr := r.lock.Stat(); statErr == nil && info.Size() == 0 {
			return nil // an earlier run ended before its first record
		}
		return usage("--resume: %s is not there, so where %s ends is not known; choose another file, or replace it with --force", r.path+positionSuffix, r.path)
	}
	if err != nil {
		return err
	}
	var was savedEnd
	if err := json.Unmarshal(text, &was); err != nil {
		return fmt.Errorf("%s is damaged: %w; choose another file, or replace %s with --force instead of --resume", r.path+positionSuffix, err, r.path)
	}
	for _, kept := range []struct{ flag, was, now string }{
		{"--dataset", was.Dataset, r.saved.Dataset},
		{"--schema", strings.Join(was.Schemas, ","), strings.Join(r.saved.Schemas, ",")},
		{"--symbols or --stype-in", was.Symbols, r.saved.Symbols},
		{"--format", was.Format, r.saved.Format},
	} {
		if kept.was != kept.now {
			return usage("--resume: %s was made with another %s; give the same flags, or choose another file", r.path, kept.flag)
		}
	}
	if !sameTime(was.End, r.saved.End) { // positions have moved on over what the other end leaves out
		return usage("--resume: %s was made with another --end; give the same flags, or choose another file", r.path)
	}
	r.saved, r.began, r.lacked = was, was.Records, was.Missing
	for i := range subs {
		subs[i].Start = (*uint64)(was.Start)
	}
	return nil
}

func sameTime(a, b *startTime) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// over is the schemas that have come to their end.
func (r *recording) over() map[string]bool {
	over := map[string]bool{}
	for _, p := range r.saved.Progress {
		if p.Ended {
			over[p.Schema] = true
		}
	}
	return over
}

// open is how many schemas have not come to their end.
func (r *recording) open() int {
	n := len(r.saved.Schemas)
	for _, p := range r.saved.Progress {
		if p.Ended {
			n--
		}
	}
	return n
}

// due reports whether it is time to save.
func (r *recording) due() bool { return r.path != "" && time.Since(r.at) >= saveInterval }

// save puts what was received on disk, and then where it ends.
func (r *recording) save(progress []feed.Progress, records uint64, out recordOutput) (err error) {
	if r.path == "" || r.failed || out == nil {
		return nil
	}
	r.saved.Progress, r.saved.Records = progress, records
	if r.saved.Bytes, r.saved.Mappings, err = out.(fileOutput).Sync(); err == nil {
		err = r.write()
	}
	r.at, r.failed = time.Now(), err != nil
	return err
}

// write replaces FILE.position.
func (r *recording) write() error {
	text, err := json.Marshal(r.saved)
	if err != nil {
		return err
	}
	path := r.path + positionSuffix
	next, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	_, err = next.Write(append(text, '\n'))
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}

// added says how much of a file is new.
func (r *recording) added(records uint64) string {
	if r.began == 0 {
		return ""
	}
	return fmt.Sprintf(", %s of them new", grouped(records-r.began))
}

// lack takes what the gateway says of missing records.
func (r *recording) lack(text string) {
	const most = 8
	if r.saved.Missing++; len(r.saved.Told) < most {
		r.saved.Told = append(r.saved.Told, text)
	}
}

// lacks says that records are missing, and which where this run did not.
func (r *recording) lacks() error {
	if r.saved.Missing == 0 {
		return nil
	}
	text := fmt.Sprintf("the gateway told %s of missing records", times(r.saved.Missing))
	if r.lacked == 0 {
		return withExit(exitMissing, fmt.Errorf("%s; they are listed above", text))
	}
	if r.lacked < r.saved.Missing {
		text += fmt.Sprintf(", %d of them", r.lacked)
	}
	before := r.saved.Told[:min(r.lacked, len(r.saved.Told))]
	if text += " in earlier runs with this file: " + strings.Join(before, ", "); r.lacked > len(before) {
		text += " and others"
	}
	return withExit(exitMissing, errors.New(text))
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Close lets go of a file that was not opened for writing, and leaves none where there was none.
func (r *recording) Close() error {
	if r.lock == nil {
		return nil
	}
	var err error
	if r.made {
		err = os.Remove(r.path)
	}
	return errors.Join(err, r.lock.Close())
}
