package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// fileMarket plays a DBN file, again and again, at a pace that follows its times.
type fileMarket struct {
	path  string
	meta  feed.Metadata
	kinds []feed.Schema
	speed float64       // market time for wall time
	quiet time.Duration // the longest pause between two records; what is longer is cut short
	dec   *feed.Decoder
	last  uint64 // ns of market time, the latest yet
	due   time.Duration
}

// quietRecords is the longest pause, in average distances of records: a night without trades should not stop the show.
const quietRecords = 5

// openFileMarket reads through the file: its span and its number of records give the speed at which it comes to rate records a second on average.
func openFileMarket(ctx context.Context, path string, rate float64) (*fileMarket, error) {
	f := &fileMarket{path: path, quiet: time.Duration(quietRecords / rate * float64(time.Second))}
	if err := f.rewind(); err != nil {
		return nil, err
	}
	f.meta = *f.dec.Metadata()
	records, first, last := 0, feed.UndefTimestamp, uint64(0)
	for rec, err := range f.dec.Records() {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.dec.Close())
		}
		schema, ok := feed.SchemaOf(rec.RType(), f.meta.Schema)
		if !ok {
			continue
		}
		records++
		if !slices.Contains(f.kinds, schema) {
			f.kinds = append(f.kinds, schema)
		}
		if at := rec.IndexTime(); at != feed.UndefTimestamp {
			first, last = min(first, at), max(last, at)
		}
	}
	if records == 0 {
		return nil, errors.Join(fmt.Errorf("%s: it has no market data to play", path), f.dec.Close())
	}
	f.speed = 1
	if last > first {
		f.speed = float64(last-first) / 1e9 / (float64(records) / rate)
	}
	return f, f.rewind()
}

// rewind opens the file at its beginning.
func (f *fileMarket) rewind() error {
	var err error
	if f.dec != nil {
		err = f.dec.Close()
	}
	f.last = 0
	f.dec = nil
	dec, openErr := feed.OpenFile(f.path)
	if err = errors.Join(err, openErr); err == nil {
		f.dec = dec
	}
	return err
}

func (f *fileMarket) metadata() feed.Metadata { return f.meta }
func (f *fileMarket) schemas() []feed.Schema  { return f.kinds }

// next gives the file's records in its order. A time that goes back is due at once.
func (f *fileMarket) next() (feed.Record, time.Duration, error) {
	rec, err := f.dec.Next()
	if errors.Is(err, io.EOF) {
		if err = f.rewind(); err == nil {
			rec, err = f.dec.Next()
		}
	}
	if err != nil {
		return nil, 0, err
	}
	at := rec.IndexTime()
	if rec.RType().IsControl() || at == feed.UndefTimestamp {
		return rec, f.due, nil
	}
	if f.last > 0 && at > f.last {
		f.due += min(time.Duration(float64(at-f.last)/f.speed), f.quiet)
	}
	f.last = max(f.last, at)
	return rec, f.due, nil
}
