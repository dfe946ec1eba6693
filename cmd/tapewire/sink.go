package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// outputFlags say where records go, and how they are written.
type outputFlags struct {
	Format string `help:"pretty for people, dbn and csv for programs; what -o FILE ends in says it, too." placeholder:"F" enum:"pretty,dbn,csv," default:""`
	Output string `short:"o" help:"Write to a file instead of standard output: .dbn, .csv, or .txt for what is printed. It must not exist yet." placeholder:"FILE"`
	Force  bool   `help:"Let -o replace a file that exists."`
}

// The formats.
const (
	formatPretty = "pretty"
	formatDBN    = "dbn"
	formatCSV    = "csv"
)

// suffixFormats is what a file's name says of its format.
var suffixFormats = map[string]string{".dbn": formatDBN, ".csv": formatCSV, ".txt": formatPretty, ".log": formatPretty, "": formatPretty}

// sink is where records will go; nothing is touched before open.
type sink struct {
	outputFlags
	format  string
	screen  console
	meta    feed.Metadata
	exists  bool
	regular bool // a file of its own, as opposed to standard output, a pipe or a device
	resume  bool
}

// sink checks the flags.
func (o outputFlags) sink(c console, meta feed.Metadata, resume bool) (*sink, error) {
	s := &sink{outputFlags: o, screen: c, meta: meta, resume: resume}
	info, err := os.Stat(o.Output)
	s.exists = err == nil
	s.regular = o.Output != "" && (!s.exists || info.Mode().IsRegular())
	if s.format, err = o.namedFormat(s.regular); err != nil {
		return nil, err
	}
	switch {
	case resume && !s.regular:
		return nil, usage("--resume goes on with a file; name it with -o FILE")
	case resume && o.Force:
		return nil, usage("--force replaces the file and --resume goes on with it; give one of them")
	case s.exists && s.regular && !o.Force && !resume:
		return nil, usage("-o %s: the file exists; choose another name, replace it with --force, or go on with it by --resume of tapewire subscribe", o.Output)
	case o.Output == "" && s.format == formatDBN && isTerminal(c.out):
		return nil, usage("--format dbn is not for a terminal; name a file with -o, or pipe it into a program")
	case s.format == formatCSV && meta.Schema == feed.SchemaNone:
		return nil, usage("a CSV has the columns of one schema; subscribe to each schema by itself, or write a .dbn")
	}
	return s, nil
}

// namedFormat is --format, or what the file's name implies; one must not contradict the other.
func (o outputFlags) namedFormat(regular bool) (string, error) {
	if !regular {
		if o.Format == "" {
			return formatPretty, nil
		}
		return o.Format, nil
	}
	suffix := strings.ToLower(filepath.Ext(o.Output))
	format, known := suffixFormats[suffix]
	switch {
	case suffix == ".zst" || suffix == ".gz":
		return "", usage("-o %s: compressed files are not written, since what they begin with is completed at the end; write a .dbn and run zstd on it", o.Output)
	case !known && o.Format == "":
		return "", usage("-o %s: %s files are not written; write a .dbn (which the dbn tool turns into JSON, and Python into Parquet), a .csv, or a .txt, or say what it shall be with --format", o.Output, suffix)
	case !known || suffix == "" && o.Format != "":
		return o.Format, nil
	case o.Format != "" && o.Format != format:
		return "", usage("-o %s with --format %s: the name promises %s; change one of them", o.Output, o.Format, format)
	}
	return format, nil
}

// reserve takes a file that begins, which it does not change: what is wrong with its name is said at once, and nobody else writes it.
func (s *sink) reserve(rec *recording) (err error) {
	if !s.regular || rec.lock != nil {
		return nil
	}
	rec.lock, err = openLocked(s.Output, os.O_CREATE|os.O_EXCL)
	if rec.made = err == nil; errors.Is(err, fs.ErrExist) {
		rec.lock, err = openLocked(s.Output, os.O_CREATE)
	}
	rec.anew = true
	return err
}

// open opens the output: a file where its recording says that it goes on, or anew.
func (s *sink) open(rec *recording) (recordOutput, error) {
	if !s.regular {
		return s.stream()
	}
	if err := s.reserve(rec); err != nil {
		return nil, err
	}
	if rec.anew {
		if err := s.removeBeside(); err != nil {
			return nil, err
		}
	}
	out, err := s.goOn(rec)
	if err != nil {
		return nil, err
	}
	rec.lock = nil // the output's now
	return out, rec.save(rec.saved.Progress, rec.saved.Records, out)
}

// stream is an output that cannot be gone back to.
func (s *sink) stream() (recordOutput, error) {
	out := newDelayedWriter(s.screen.out, nil)
	if s.Output != "" {
		f, err := os.OpenFile(s.Output, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		out = newDelayedWriter(f, f)
	}
	switch s.format {
	case formatDBN:
		return newDBNStream(out, s.screen.err, s.meta), nil
	case formatCSV:
		return newCSV(out, s.meta.Schema, false), nil
	}
	return newPretty(out, s.meta.Schema), nil
}

// removeBeside removes what speaks of an older file of this name.
func (s *sink) removeBeside() error {
	for _, suffix := range []string{positionSuffix, symbolsSuffix} {
		if err := os.Remove(s.Output + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// goOn opens a locked file where its recording ends.
func (s *sink) goOn(rec *recording) (recordOutput, error) {
	var log *mappingLog
	if s.format == formatDBN && rec.path != "" { // else of a command that does not go on
		var err error
		mappings := rec.saved.Mappings
		if rec.saved.Bytes == 0 {
			mappings = 0 // the next session tells them
		}
		if log, err = openMappingLog(s.Output+symbolsSuffix, mappings); err != nil {
			return nil, err
		}
	}
	return s.file(rec.lock, rec.saved.Bytes, log)
}

// file writes behind the first so many bytes of a file.
func (s *sink) file(f *os.File, bytes int64, log *mappingLog) (recordOutput, error) {
	if s.format == formatDBN {
		return continueDBNFile(f, s.meta, s.screen.err, bytes, log)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < bytes {
		return nil, shorter(f.Name(), info.Size(), bytes)
	}
	if err := f.Truncate(bytes); err != nil {
		return nil, err
	}
	if _, err := f.Seek(bytes, 0); err != nil {
		return nil, err
	}
	out := newDelayedWriter(f, f)
	out.written = bytes
	if s.format == formatCSV {
		return newCSV(out, s.meta.Schema, bytes > 0), nil
	}
	return newPretty(out, s.meta.Schema), nil
}

func shorter(name string, has, want int64) error {
	return fmt.Errorf("%s has %d bytes of records, fewer than the %d that %s says; it was changed, so choose another file", name, has, want, name+positionSuffix)
}

// openLocked opens a file that nobody else writes; flag is O_CREATE, or 0.
func openLocked(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockFile(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("-o %s: another program writes this file: %w; end it, or choose another file", f.Name(), err)
	}
	return nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
