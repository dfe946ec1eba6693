package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
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

	written int64 // bytes
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
	n, err := d.buf.Write(b)
	d.written += int64(n)
	return n, err
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

// Sync puts everything on disk and says how much that is; there are no mappings beside it.
func (d *delayedWriter) Sync() (bytes int64, mappings int, err error) {
	if err = d.Flush(); err == nil && d.file != nil {
		err = d.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("output: %w", err)
	}
	return d.written, 0, err
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
