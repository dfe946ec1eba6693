package journal

import (
	"fmt"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// DatasetInfo is what Inspect tells of a dataset.
type DatasetInfo struct {
	Name    string
	Epoch   uint64
	Exact   bool // tails are the committed ones; else the machine was started since, and they are what the sync log vouches for
	Symbols int  // that the symbol table has
	Gaps    int
	Tapes   []TapeInfo
	Streams []StreamInfo
	Problem string // why nothing more can be told; empty: nothing is wrong
}

// TapeInfo is what Inspect tells of a tape.
type TapeInfo struct {
	Schema     feed.Schema
	RecordSize int    // bytes
	First      uint64 // first record kept
	Tail       uint64
	Segments   int
	Bytes      int64  // of committed records kept
	FirstTime  uint64 // ns, of the first record kept; UndefTimestamp: not known
	LastTime   uint64
}

// StreamInfo is one numbering of a producer's records.
type StreamInfo struct {
	Producer, Stream string
	Records          uint64 // accepted, over all schemas
}

// Inspect tells what a journal directory holds. It takes no lock and changes nothing: it may be used while a server runs.
func Inspect(dir string) ([]DatasetInfo, error) { return inspect(OSDisk{}, dir) }

func inspect(disk Disk, dir string) ([]DatasetInfo, error) {
	dirs, err := datasetDirs(disk, dir)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	var list []DatasetInfo
	for _, dir := range dirs {
		v, err := loadView(disk, dir)
		if err != nil {
			list = append(list, DatasetInfo{Name: baseName(dir), Problem: err.Error()})
			continue
		}
		info := DatasetInfo{Name: v.name, Epoch: v.epoch, Exact: v.running, Symbols: v.countSymbols(), Gaps: v.countGaps()}
		for _, err := range v.logDamage() {
			info.Problem = strings.TrimPrefix(info.Problem+"; "+err.Error(), "; ")
		}
		for i, s := range v.streams {
			info.Streams = append(info.Streams, StreamInfo{s.producer, s.name, max(v.counts[i], s.base) - s.base})
		}
		for schema := range feed.Schema(feed.NumSchemas) {
			if _, ok := v.places[int(schema)]; !ok {
				continue
			}
			t, err := v.inspectTape(schema)
			if err != nil {
				info.Problem = strings.TrimPrefix(info.Problem+"; "+schema.String()+": "+err.Error(), "; ")
			}
			info.Tapes = append(info.Tapes, t)
		}
		if v.logErr != nil {
			info.Problem = strings.TrimPrefix(info.Problem+"; "+syncLogName+": "+v.logErr.Error(), "; ")
		}
		list = append(list, info)
	}
	linked, _, err := strays(disk, dir)
	for _, path := range linked {
		list = append(list, DatasetInfo{Name: baseName(path), Problem: errLinked.Error()})
	}
	return list, err
}

// countGaps counts the ledger's entries as the ledger does: of those about removed records the newest of a tape, and of several at one place one.
func (v *view) countGaps() int {
	gaps, err := parseGaps(v.gaps)
	if err != nil {
		return len(v.gaps)
	}
	return len(*makeLedger(nil, gaps).list.Load())
}

func (v *view) inspectTape(schema feed.Schema) (TapeInfo, error) {
	p := v.places[int(schema)]
	t := TapeInfo{Schema: schema, RecordSize: schema.RecordSize(), Tail: p.tail, FirstTime: undefTime, LastTime: undefTime}
	ordinals, err := v.segments(schema)
	if err != nil {
		return t, err
	}
	t.Segments = len(ordinals)
	if len(ordinals) == 0 {
		return t, missingRecords(v.expired[int(schema)], p.tail)
	}
	t.First, _, t.FirstTime, err = v.edge(schema, ordinals[0], false)
	base, end := uint64(0), uint64(0)
	for i := len(ordinals) - 1; i >= 0 && err == nil && base == end; i-- { // the one in use may be empty
		base, end, t.LastTime, err = v.edge(schema, ordinals[i], true)
	}
	if err != nil {
		if v.gone(schema, ordinals[0], err) {
			return v.inspectTape(schema) // which is shorter now
		}
		return t, err
	}
	t.Bytes = int64(t.Tail-t.First) * int64(t.RecordSize)
	if t.First > v.expired[int(schema)] {
		if err := v.loadGaps(); err != nil { // more may have expired meanwhile
			return t, err
		}
	}
	if expired := v.expired[int(schema)]; t.First > expired {
		return t, missingRecords(expired, t.First)
	}
	next := ordinals[0]
	for _, ordinal := range ordinals {
		if ordinal == next {
			next++
		}
	}
	if next <= p.ordinal {
		return t, fmt.Errorf("%w: there is no segment %d", ErrCorrupt, next)
	}
	return t, nil
}

// edge is a segment's records [base, end), and the time of the first or the last of them.
func (v *view) edge(schema feed.Schema, ordinal uint64, last bool) (base, end, at uint64, err error) {
	f, info, end, err := v.open(schema, ordinal)
	if err != nil {
		return 0, 0, undefTime, err
	}
	defer f.Close()
	seq := info.base
	if last && end > seq {
		seq = end - 1
	}
	return info.base, end, recordTime(f, info, seq, end), nil
}

func recordTime(f File, info segmentInfo, seq, end uint64) uint64 {
	b := make([]byte, info.recordSize)
	if seq >= end {
		return undefTime
	}
	if _, err := f.ReadAt(b, info.header+int64(seq-info.base)*int64(info.recordSize)); err != nil {
		return undefTime
	}
	return feed.Record(b).IndexTime()
}
