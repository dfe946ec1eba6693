package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// recordOutput is where `tapewire subscribe` puts what it receives. Records are good only during the call.
type recordOutput interface {
	Data(feed.Record) error
	Control(feed.Record) error
	Close() error
}

// outputFormat is --format, or what -o implies.
func (s *subscribeCmd) outputFormat(c console) (format string, err error) {
	format = s.Format
	if format == "" {
		format = formatPretty
		if strings.HasSuffix(s.Output, ".dbn") {
			format = formatDBN
		}
	}
	info, statErr := os.Stat(s.Output)
	switch {
	case statErr == nil && info.Mode().IsRegular() && !s.Force:
		return "", usage("-o %s: the file exists; choose another name, or replace it with --force", s.Output)
	case strings.HasSuffix(s.Output, ".zst"):
		return "", usage("-o %s: the header is completed at the end, which compressed files do not allow; write a .dbn and run zstd on it", s.Output)
	case s.Output == "" && format == formatDBN && isTerminal(c.out):
		return "", usage("--format dbn is not for a terminal; name a file with -o, or pipe it into a program")
	}
	return format, nil
}

// The formats.
const (
	formatPretty = "pretty"
	formatDBN    = "dbn"
)

// openOutput opens what records are written to. An existing file was refused before, unless --force says to replace it.
func (s *subscribeCmd) openOutput(c console, format string, subs []feed.Subscription) (recordOutput, error) {
	schema := feed.SchemaNone
	if len(subs) == 1 {
		schema = subs[0].Schema
	}
	meta := feed.Metadata{
		Version: feed.Version, Dataset: s.Dataset, Schema: schema, End: feed.UndefTimestamp, Limit: s.Limit,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID,
	}
	switch {
	case s.Output == "" && format == formatDBN:
		return newDBNStream(c.out, c.err, meta), nil
	case s.Output == "":
		return newPretty(newDelayedWriter(c.out, nil), schema), nil
	}
	f, err := os.Create(s.Output)
	if err != nil {
		return nil, err
	}
	if format == formatDBN {
		return newDBNFile(f, meta), nil
	}
	return newPretty(newDelayedWriter(f, f), schema), nil
}

// flushDelay is how long a record may wait in memory for more to come.
const flushDelay = 10 * time.Millisecond

// delayedWriter buffers writes and flushes them by itself a moment later: many records a write when many come, none kept back when few do.
type delayedWriter struct {
	mu    sync.Mutex
	buf   *bufio.Writer
	file  *os.File // closed by Close; nil: not ours to close
	timer *time.Timer
	armed bool
	err   error // of a flush by the timer, for the next call
}

func newDelayedWriter(w io.Writer, file *os.File) *delayedWriter {
	const size = 64 << 10 // bytes
	d := &delayedWriter{buf: bufio.NewWriterSize(w, size), file: file}
	d.timer = time.AfterFunc(time.Hour, d.flushLater)
	d.timer.Stop()
	return d
}

// Write buffers b.
func (d *delayedWriter) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if !d.armed {
		d.armed = true
		d.timer.Reset(flushDelay)
	}
	return d.buf.Write(b)
}

func (d *delayedWriter) flushLater() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = false
	d.err = errors.Join(d.err, d.buf.Flush())
}

// Flush writes everything out.
func (d *delayedWriter) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	d.armed = false
	return errors.Join(d.err, d.buf.Flush())
}

// Close flushes, and closes a file.
func (d *delayedWriter) Close() error {
	err := d.Flush()
	if d.file != nil {
		err = errors.Join(err, d.file.Close())
	}
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}
