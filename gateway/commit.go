package gateway

import (
	"errors"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// commit hands the collected runs to the journal. cause is an error that was
// found behind them: they are committed first, and it is returned.
func (in *ingest) commit(cause error) error {
	if len(in.runs) == 0 {
		return cause
	}
	n, err := in.append(in.runs)
	in.account(n)
	if waits(err) {
		for _, run := range skipRecords(in.runs, n) {
			in.held = append(in.held, run.Bytes...)
		}
	}
	in.runs, in.pending, in.upgrade = in.runs[:0], 0, in.upgrade[:0]
	if err != nil {
		return err // a cause behind records that wait is found again
	}
	return cause
}

// append commits runs, waiting for the journal if this producer may.
func (in *ingest) append(runs []journal.Run) (total int, err error) {
	total, err = in.p.writer.Append(runs)
	for in.blocking && waits(err) {
		if err := in.p.await(in.p.srv.ctx); err != nil {
			return total, err
		}
		var n int
		n, err = in.p.writer.Append(skipRecords(runs, total))
		total += n
	}
	return total, err
}

// skipRecords returns runs without their first n records.
func skipRecords(runs []journal.Run, n int) []journal.Run {
	var rest []journal.Run
	for _, run := range runs {
		size := run.Schema.RecordSize()
		if k := len(run.Bytes) / size; n >= k {
			n -= k
			continue
		}
		rest = append(rest, journal.Run{Schema: run.Schema, Bytes: run.Bytes[n*size:]})
		n = 0
	}
	return rest
}

func waits(err error) bool {
	return errors.Is(err, journal.ErrNotReady) || errors.Is(err, journal.ErrDiskFull)
}

// retryHeld commits what an earlier commit could not.
func (in *ingest) retryHeld() error {
	if len(in.held) == 0 {
		return nil
	}
	held := in.held
	in.held = nil
	for at := 0; at < len(held); {
		schema, n, err := feed.ScanRun(held[at:], in.declared)
		if err != nil {
			return in.badRecord(err)
		}
		in.runs = append(in.runs, journal.Run{Schema: schema, Bytes: held[at : at+n]})
		in.pending += n / schema.RecordSize()
		at += n
	}
	return in.commit(nil)
}

// account notes for the metrics that the first n records of the runs are committed.
func (in *ingest) account(n int) {
	if n == 0 {
		return
	}
	m := in.p.srv.metrics
	m.batches.Inc()
	m.records.Add(n)
	told, now := uint64(0), sinceProcessBegan()
	for _, run := range in.runs {
		if n <= 0 {
			break
		}
		if bit := uint64(1) << run.Schema; told&bit == 0 {
			told |= bit
			in.p.feed.lastRecord[run.Schema].at(now)
		}
		n -= len(run.Bytes) / run.Schema.RecordSize()
	}
}
