package load

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapewire/tapewire/bench/system"
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// Append opens a journal, calls ready and appends records one at a time, so long
// after each other, each with the time just before.
func Append(dir string, records int, every time.Duration, ready func() error) error {
	j, err := journal.Open(dir, journal.Options{AnyFilesystem: true})
	if err != nil {
		return err
	}
	d, err := j.Create(system.Dataset)
	if err != nil {
		return err
	}
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "bench", Stream: "1"})
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	p := &Produce{}
	b := make([]byte, 0, system.RecordSize)
	runs := make([]journal.Run, 1)
	next := time.Now()
	for i := range records {
		for next = next.Add(every); time.Now().Before(next); {
		}
		runs[0] = journal.Run{Schema: feed.SchemaTrades, Bytes: p.appendTrade(b, i, uint64(time.Now().UnixNano()))}
		for {
			_, err := w.Append(runs)
			if err == nil {
				break
			}
			if !errors.Is(err, journal.ErrNotReady) {
				return err
			}
			if err := w.Wait(context.Background()); err != nil {
				return err
			}
		}
	}
	w.Close()
	return j.Close()
}

// Tap follows a tape by spinning, from its beginning, and takes the time from a
// record's ts_event to when it was seen.
func Tap(dir string, records int, ready func()) (*Percentiles, error) {
	tap, err := journal.OpenTap(dir, system.Dataset, feed.SchemaTrades)
	for errors.Is(err, fs.ErrNotExist) {
		time.Sleep(time.Millisecond) // a producer makes it
		tap, err = journal.OpenTap(dir, system.Dataset, feed.SchemaTrades)
	}
	if err != nil {
		return nil, err
	}
	defer tap.Close()
	h := hdrhistogram.New(1, maxLatency, 3)
	ready()
	for seen := 0; seen < records; {
		b, err := tap.Next()
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		now := time.Now().UnixNano()
		for ; len(b) > 0; b = b[system.RecordSize:] {
			if seen++; seen > records/10 { // the first pages come into the mapping
				_ = h.RecordValue(min(max(1, now-int64(feed.Record(b).TsEvent())), maxLatency))
			}
		}
	}
	return percentiles(h), nil
}
