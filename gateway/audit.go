package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/zap"
)

// auditLog is who did what, when and from where: one line of JSON for each, in a
// file that is only ever appended to. Who adds an entry never waits: a goroutine
// writes. While the disk takes nothing, entries wait in the queue; those beyond it
// are counted, and the count is an entry as soon as one can be written. A nil
// auditLog keeps nothing.
type auditLog struct {
	path    string
	log     *zap.Logger
	listed  int // Limits.AuditSymbols
	open    func(path string) (auditFile, error)
	queue   chan auditEntry
	reopens chan chan error
	stop    chan struct{}
	done    chan struct{}

	lost      atomic.Uint64    // since the last entry that says how many
	lostTotal *metrics.Counter // ever

	// The goroutine's own.
	file   auditFile
	buf    bytes.Buffer // lines that are not written yet, the first perhaps in part
	begun  int          // bytes of the first line in buf that are written already
	failed bool         // the last write did
}

// auditFile is what an audit log needs of a file.
type auditFile interface {
	io.WriteCloser
	Sync() error
	Stat() (os.FileInfo, error)
}

const (
	auditBatch = 64 << 10    // bytes that are gathered for one write
	auditRetry = time.Second // how often a full disk is tried again
)

// openAudit opens the audit log when there is to be one.
func (s *Server) openAudit() (err error) {
	if s.cfg.Audit != "" {
		s.audit, err = openAudit(s.cfg.Audit, s.limits, s.log, s.metrics.auditLost, openAuditFile)
	}
	return err
}

// ReopenAudit has the audit log go on in a new file of its name, after the old one
// was moved away. Without an audit log it does nothing.
func (s *Server) ReopenAudit() error { return s.audit.reopen() }

func openAudit(path string, limits Limits, log *zap.Logger, lost *metrics.Counter, open func(string) (auditFile, error)) (*auditLog, error) {
	a := &auditLog{
		path: path, log: log, listed: limits.AuditSymbols, open: open, lostTotal: lost,
		queue: make(chan auditEntry, limits.AuditQueue), reopens: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{}),
	}
	var err error
	if a.file, err = open(path); err != nil {
		return nil, fmt.Errorf("gateway: audit log: %w", err)
	}
	go a.run()
	return a, nil
}

// openAuditFile opens a file to append to. When a crash cut its last line off, the
// next one begins on a line of its own.
func openAuditFile(path string) (auditFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	var last [1]byte
	if n := info.Size(); info.Mode().IsRegular() && n > 0 {
		if _, err = f.ReadAt(last[:], n-1); err == nil && last[0] != '\n' {
			_, err = f.WriteString("\n")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// add queues an entry. It never waits.
func (a *auditLog) add(e auditEntry) {
	if a == nil {
		return
	}
	e.Time = time.Now().UTC()
	select {
	case <-a.stop:
		a.lose(1)
		return
	default:
	}
	select {
	case a.queue <- e:
	default:
		a.lose(1)
	}
}

func (a *auditLog) lose(n int) {
	a.lost.Add(uint64(n))
	a.lostTotal.Add(n)
}

// reopen has the log go on in a new file of its name: the old one was moved away.
func (a *auditLog) reopen() error {
	if a == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case a.reopens <- answer:
		return <-answer
	case <-a.done:
		return errors.New("gateway: audit log: it is closed")
	}
}

// close writes what is queued. Nothing is added any more.
func (a *auditLog) close() {
	if a == nil {
		return
	}
	close(a.stop)
	<-a.done
}

func (a *auditLog) run() {
	defer close(a.done)
	retry := time.NewTicker(auditRetry)
	defer retry.Stop()
	for {
		queue := a.queue
		if a.failed {
			queue = nil // it fills up, and what is beyond it is counted
		}
		select {
		case e := <-queue:
			a.gather(e)
			a.write()
		case <-retry.C:
			a.gatherLost()
			a.write()
		case answer := <-a.reopens:
			answer <- a.swap()
		case <-a.stop:
			a.finish()
			return
		}
	}
}

// gather encodes an entry and those behind it, as many as are one write.
func (a *auditLog) gather(e auditEntry) {
	for {
		a.encode(e)
		if a.buf.Len() >= auditBatch {
			return
		}
		select {
		case e = <-a.queue:
		default:
			a.gatherLost()
			return
		}
	}
}

// gatherLost adds the entry that owns up to lost ones.
func (a *auditLog) gatherLost() {
	if a.failed {
		return // there will be more
	}
	if n := a.lost.Swap(0); n > 0 {
		a.encode(auditEntry{Time: time.Now().UTC(), Event: auditLost, Lost: n})
		a.log.Error("entries of the audit log were lost", zap.String("file", a.path), zap.Uint64("entries", n))
	}
}

func (a *auditLog) encode(e auditEntry) {
	e.finish(a.listed)
	enc := json.NewEncoder(&a.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil { // of plain fields: cannot fail
		a.log.Error("an entry of the audit log cannot be encoded", zap.Error(err))
		a.lose(1)
	}
}

// write writes what is gathered. What the disk does not take stays.
func (a *auditLog) write() {
	for a.buf.Len() > 0 {
		n, err := a.file.Write(a.buf.Bytes())
		a.wrote(n)
		if err == nil {
			continue
		}
		if !a.failed {
			a.failed = true
			a.log.Error("the audit log cannot be written; entries wait, and are counted when too many do", zap.String("file", a.path), zap.Error(err))
		}
		return
	}
	if a.failed {
		a.failed = false
		a.log.Info("the audit log is written again", zap.String("file", a.path))
	}
}

// wrote takes n bytes from the buffer and notes how much of a line that leaves.
func (a *auditLog) wrote(n int) {
	gone := a.buf.Next(n)
	if at := bytes.LastIndexByte(gone, '\n'); at >= 0 {
		a.begun, gone = 0, gone[at+1:]
	}
	a.begun += len(gone)
}

// swap opens the file anew. When that fails the old one stays.
func (a *auditLog) swap() error {
	a.write()
	file, err := a.open(a.path)
	if err != nil {
		return fmt.Errorf("gateway: audit log: %w; it goes on in the file that was open", err)
	}
	if sameFile(a.file, file) {
		return file.Close() // nobody moved it
	}
	err = errors.Join(a.file.Sync(), a.file.Close())
	a.file = file
	a.dropBegun()
	a.write()
	return err
}

func sameFile(a, b auditFile) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// dropBegun leaves out the rest of a line whose begin is in the file before: the
// entry is lost, but the new file has whole lines.
func (a *auditLog) dropBegun() {
	if a.begun == 0 {
		return
	}
	a.begun = 0
	if _, err := a.buf.ReadBytes('\n'); err == nil {
		a.lose(1)
	}
}

// finish writes what is left. What still cannot be written is counted as lost.
func (a *auditLog) finish() {
	for more := true; more; {
		select {
		case e := <-a.queue:
			a.encode(e)
		default:
			more = false
		}
	}
	a.failed = false // one more try
	a.gatherLost()
	if a.write(); a.buf.Len() > 0 {
		n := bytes.Count(a.buf.Bytes(), []byte("\n"))
		a.lose(n)
		a.log.Error("entries of the audit log are lost: it could not be written to the end", zap.String("file", a.path), zap.Int("entries", n))
	}
	if err := errors.Join(a.file.Sync(), a.file.Close()); err != nil {
		a.log.Warn("the audit log was not closed in order", zap.String("file", a.path), zap.Error(err))
	}
}
