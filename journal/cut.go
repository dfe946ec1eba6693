package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// rest is what a segment file holds beyond the place that recovery goes on from.
type rest struct {
	schema   feed.Schema
	path     string
	info     segmentInfo
	from, to uint64 // to: behind the last record that is not all zero
	records  uint64
}

// keepRest copies everything beyond the places to quarantine. It looks for what is not zero, and not at record headers:
// after a power cut a hole of lost pages may lie before pages that did reach the disk.
func (o *opening) keepRest() error {
	for schema := range feed.Schema(feed.NumSchemas) {
		p := o.result.places[int(schema)]
		dir := o.d.path(schema.String())
		names, err := o.d.disk.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			suffix := filepath.Ext(name)
			ordinal, ok := ordinalOf(name)
			if !ok || suffix != activeSuffix && suffix != sealedSuffix || ordinal < p.ordinal || suffix == sealedSuffix && ordinal > p.ordinal {
				continue // a sealed segment beyond the place is moved as a whole, see sortFiles
			}
			if err := o.keepSegment(schema, p, ordinal, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *opening) keepSegment(schema feed.Schema, p place, ordinal uint64, path string) error {
	f, err := o.d.disk.Open(path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := readSegmentInfo(f, path)
	if err != nil {
		if ordinal == p.ordinal {
			return err
		}
		return o.q.move(path, fmt.Sprintf("%s.%s", schema, filepath.Base(path))) // a prepared segment whose header never reached the disk
	}
	r := rest{schema: schema, path: path, info: info, from: info.base}
	if ordinal == p.ordinal {
		r.from = p.tail
	}
	if r.to, err = lastStored(f, info, r.from); err != nil {
		return err
	}
	if r.to == r.from {
		return nil
	}
	r.records = r.to - r.from
	o.result.rest = append(o.result.rest, r)
	return o.q.write(fmt.Sprintf("%s.%08d.%d.dbn.frag", schema, ordinal, r.from), func(out File) error {
		at := int64(0)
		return eachChunk(f, info, r.from, r.to, func(b []byte) error {
			_, err := out.WriteAt(b, at)
			at += int64(len(b))
			return err
		})
	})
}

// lastStored is the end of the last record from from on that is not all zero; from when there is none.
func lastStored(f File, info segmentInfo, from uint64) (uint64, error) {
	end, seq, size := from, from, uint64(info.recordSize)
	err := eachChunk(f, info, from, info.base+info.records, func(b []byte) error {
		for ; len(b) > 0; b = b[size:] {
			seq++
			if !allZero(b[:size]) {
				end = seq
			}
		}
		return nil
	})
	return end, err
}

// newEpoch enters the epoch that begins here. An interrupted recovery that had got so far is not repeated.
func (o *opening) newEpoch() error {
	d := o.d
	if n := len(d.epochs); n > 0 && d.epochs[n-1].Number > d.epoch {
		d.epoch = d.epochs[n-1].Number
		return nil
	}
	e := Epoch{Number: d.epoch + 1, Time: d.now()}
	for schema := range feed.NumSchemas {
		if p, ok := o.result.places[schema]; ok {
			e.First = append(e.First, Position{feed.Schema(schema), p.tail})
		}
	}
	if err := d.epochsLog.append(e.append(nil)); err != nil {
		return err
	}
	d.epoch, d.epochs = e.Number, append(d.epochs, e)
	return nil
}

// enterCut tells readers of the records that were cut.
func (o *opening) enterCut() error {
	for _, r := range o.result.rest {
		g := Gap{
			Schema: r.schema, FromTs: undefTime, ToTs: undefTime, Records: r.records, Cause: CauseCut,
			At: []Position{{r.schema, o.result.places[int(r.schema)].tail}},
		}
		if !o.known(g) {
			if err := o.d.enterGap(nil, g); errors.Is(err, ErrDiskFull) {
				return err
			} else if err != nil {
				o.d.enterUnwritten(g, err)
			}
		}
	}
	return nil
}

// wipe clears what was copied to quarantine, so that a later recovery does not find it again. The new epoch is on disk by now; should this fail
// or be interrupted, nothing is wrong, as what lies beyond a tail means nothing.
func (o *opening) wipe() {
	for _, r := range o.result.rest {
		if r.from == r.info.base && r.info.ordinal != o.result.places[int(r.schema)].ordinal {
			continue // a prepared segment beyond the one in use; it was removed
		}
		if err := o.wipeOne(r); err != nil {
			o.d.log.Warn("could not clear what recovery cut", zap.String("file", r.path), zap.Error(err))
		}
	}
}

func (o *opening) wipeOne(r rest) error {
	f, err := o.d.disk.Open(segmentPath(filepath.Dir(r.path), r.info.ordinal, activeSuffix), false)
	if err != nil {
		return err
	}
	defer f.Close()
	zero := make([]byte, chunkBytes)
	size := int64(r.info.recordSize)
	at, end := r.info.header+int64(r.from-r.info.base)*size, r.info.header+int64(r.to-r.info.base)*size
	for at < end {
		n := min(int64(len(zero)), end-at)
		if _, err := f.WriteAt(zero[:n], at); err != nil {
			return err
		}
		at += n
	}
	return f.Sync()
}
