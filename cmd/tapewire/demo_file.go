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
	path    string
	meta    feed.Metadata
	kinds   []feed.Schema
	records uint64
	pace    pace
	dec     *feed.Decoder // nil while a lap comes from memory
	lap     []byte        // all records, upgraded; nil when they are more than lapMemory
	at      int           // in lap
	last    uint64        // ns of market time, the latest of this lap
	due     time.Duration
}

// lapMemory is how many bytes of records are kept for the next lap. A short file may have metadata that takes a second to read: it is read once.
const lapMemory = 64 << 20

// openFileMarket reads through the file, to know at which speed it comes to rate records a second on average.
func openFileMarket(ctx context.Context, path string, rate float64) (*fileMarket, error) {
	dec, err := feed.OpenFile(path)
	if err != nil {
		return nil, err
	}
	f := &fileMarket{path: path, dec: dec, meta: *dec.Metadata()}
	gaps, err := f.survey(ctx)
	if err = errors.Join(err, dec.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.records == 0 {
		return nil, fmt.Errorf("%s: it has no market data to play", path)
	}
	f.dec, f.pace = nil, newPace(gaps, f.records, rate)
	if f.lap == nil {
		f.dec, err = feed.OpenFile(path)
	}
	return f, err
}

// survey reads all records, keeps them when they are few, and gives the pauses between them.
func (f *fileMarket) survey(ctx context.Context) (*gapCounts, error) {
	gaps, last, kept := newGapCounts(), uint64(0), true
	for rec, err := range f.dec.Records() {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		if kept = kept && len(f.lap)+len(rec) <= lapMemory; kept {
			f.lap = append(f.lap, rec...)
		}
		schema, ok := feed.SchemaOf(rec.RType(), f.meta.Schema)
		if !ok {
			continue
		}
		f.records++
		if !slices.Contains(f.kinds, schema) {
			f.kinds = append(f.kinds, schema)
		}
		if at := rec.IndexTime(); at != feed.UndefTimestamp {
			if last > 0 && at > last {
				gaps.add(at - last)
			}
			last = max(last, at)
		}
	}
	if !kept {
		f.lap = nil
	}
	return gaps, nil
}

func (f *fileMarket) metadata() feed.Metadata { return f.meta }
func (f *fileMarket) schemas() []feed.Schema  { return f.kinds }
func (f *fileMarket) title(rate float64) string {
	return fmt.Sprintf("playing %s (%s) in a loop, about %s/s", f.path, counted(f.records, "record"), grouped(uint64(rate)))
}

// read gives the next record of the file, from its beginning when it is over.
func (f *fileMarket) read() (rec feed.Record, again bool, err error) {
	if f.dec == nil {
		if again = f.at == len(f.lap); again {
			f.at = 0
		}
		rec = feed.Record(f.lap[f.at:])
		rec = rec[:rec.Size()]
		f.at += len(rec)
		return rec, again, nil
	}
	if rec, err = f.dec.Next(); !errors.Is(err, io.EOF) {
		return rec, false, err
	}
	if err = f.dec.Close(); err == nil {
		if f.dec, err = feed.OpenFile(f.path); err == nil {
			rec, err = f.dec.Next()
		}
	}
	return rec, true, err
}

// next gives the file's records in its order. A time that goes back is due at once.
func (f *fileMarket) next() (feed.Record, time.Duration, error) {
	rec, again, err := f.read()
	if err != nil {
		return nil, 0, err
	}
	if again {
		f.due += f.pace.turn
		f.last = 0
	}
	at := rec.IndexTime()
	if rec.RType().IsControl() || at == feed.UndefTimestamp {
		return rec, f.due, nil
	}
	if f.last > 0 {
		f.due += f.pace.pause(at - min(f.last, at))
	}
	f.last = max(f.last, at)
	return rec, f.due, nil
}
