package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// recovered is where a dataset goes on.
type recovered struct {
	trusted bool // the state page and the page cache are the ones we left: nothing is lost
	cut     bool // records may be lost: a new epoch begins
	places  map[int]place
	counts  []uint64 // by stream
	rest    []rest   // what lies beyond the places
}

// recover decides between the state page, which is exact as long as the page cache lived on, and the sync log, which is what the disk vouches for.
func (o *opening) recover() error {
	d := o.d
	why := o.trustState()
	if err := onlyVersion(why); err != nil {
		return err
	}
	if why == nil {
		o.result.trusted = true
		if o.logErr != nil {
			d.log.Warn("sync log is not readable, the state page is: going on from it", zap.Error(o.logErr))
		}
		o.report("same boot, nothing cut")
		return nil
	}
	if o.logErr != nil {
		return fmt.Errorf("neither the state page (%w) nor the sync log can be trusted: %w; nothing was changed", why, o.logErr)
	}
	if err := o.walk(); err != nil {
		return err
	}
	if err := o.checkKept(); err != nil {
		return err
	}
	last := o.entries[len(o.entries)-1]
	d.epoch = last.epoch
	if last.clean {
		o.report("closed properly, nothing cut")
		return nil
	}
	o.result.cut = true
	if err := o.keepRest(); err != nil {
		return err
	}
	if err := o.newEpoch(); err != nil {
		return err
	}
	o.report(why.Error())
	return nil
}

// report is the one line that says what a recovery kept and cut, or that the dataset is new.
func (o *opening) report(why string) {
	if o.created {
		o.d.log.Info("created", zap.Uint64("epoch", o.d.epoch))
		return
	}
	var records, lost uint64
	for _, p := range o.result.places {
		records += p.tail
	}
	for _, r := range o.result.rest {
		lost += r.records
	}
	o.d.log.Info("recovered", zap.String("why", why), zap.Uint64("epoch", o.d.epoch), zap.Int("tapes", len(o.result.places)),
		zap.Uint64("records", records), zap.Int("streams", len(o.d.streams)), zap.Bool("cut", o.result.cut), zap.Uint64("quarantined", lost))
}

// trustState reads the state page into the result; an error says why it is not to be trusted.
func (o *opening) trustState() (err error) {
	d := o.d
	if d.state, err = mapState(d.disk, d.dir); err != nil {
		return err
	}
	then, epoch, err := checkState(d.state.b)
	if err != nil {
		return err
	}
	now, err := d.state.file.Identity()
	if err != nil {
		return err
	}
	if then != now {
		return errors.New("another boot, mount or copy than the one it was written on")
	}
	var s slot
	if err := d.state.read(&s); err != nil {
		return err
	}
	if d.state.load(stateCommit) > 0 {
		d.state.apply(&s)
	}
	d.epoch = epoch
	o.result.places, o.result.counts = map[int]place{}, make([]uint64, len(d.streams))
	for schema := range feed.NumSchemas {
		if p := d.state.place(schema); p.ordinal > 0 {
			o.result.places[schema] = p
		}
	}
	for i := range o.result.counts {
		o.result.counts[i] = d.state.count(uint32(i))
	}
	return o.checkUnsynced()
}

// checkUnsynced holds the state page against the sync log: it is never behind it, and what it is ahead by is whole records.
func (o *opening) checkUnsynced() error {
	synced, counts := map[int]place{}, map[uint32]uint64{}
	for _, e := range o.entries {
		synced = e.places
		for _, c := range e.counts {
			counts[c.stream] = c.count
		}
	}
	for stream, n := range counts {
		if int(stream) >= len(o.result.counts) || o.result.counts[stream] < n {
			return fmt.Errorf("state page is behind the sync log in stream %d", stream)
		}
	}
	for schema, old := range synced {
		if p := o.result.places[schema]; p.tail < old.tail || p.ordinal < old.ordinal {
			return fmt.Errorf("state page is behind the sync log in %s", feed.Schema(schema))
		}
	}
	for schema, p := range o.result.places {
		old, ok := synced[schema]
		if !ok {
			old = place{ordinal: 1}
			if len(o.entries) == 0 {
				old = place{p.ordinal, p.base, p.base}
			}
		}
		if err := o.checkWhole(feed.Schema(schema), old, p); err != nil {
			return err
		}
	}
	return nil
}

// checkWhole looks at the header of each record from one place to another.
func (o *opening) checkWhole(schema feed.Schema, from, to place) error {
	for ordinal, seq := from.ordinal, from.tail; ; ordinal++ {
		f, info, err := o.openInfo(schema, ordinal)
		if err != nil {
			return err
		}
		end := min(to.tail, info.base+info.records)
		if ordinal == to.ordinal {
			end = to.tail
		}
		err = eachChunk(f, info, seq, end, func(b []byte) error {
			if n := wholeRecords(b, schema, info.recordSize); n*info.recordSize < len(b) {
				return fmt.Errorf("%w: %s segment %d: a committed record is not whole", ErrCorrupt, schema, ordinal)
			}
			return nil
		})
		f.Close()
		if err != nil || ordinal >= to.ordinal {
			return err
		}
		seq = end
	}
}

// walk follows the sync log forward from its checkpoint, as long as every range it vouches for is what it was. A scan backwards for a good entry
// would accept one whose predecessor never reached the disk.
func (o *opening) walk() error {
	counts := make([]uint64, len(o.d.streams))
	good := 0
	for i, e := range o.entries {
		if i > 0 {
			if err := o.checkRanges(e); err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				o.d.log.Warn("sync log is ahead of the disk, stopping there", zap.Int("entry", i), zap.Error(err))
				break
			}
		}
		for _, c := range e.counts {
			if int(c.stream) >= len(counts) {
				return fmt.Errorf("%w: sync log counts stream %d, %s names %d streams", ErrCorrupt, c.stream, streamsName, len(counts))
			}
			counts[c.stream] = c.count
		}
		good = i
	}
	o.entries = o.entries[:good+1]
	o.result = recovered{places: o.entries[good].places, counts: counts}
	return nil
}

func (o *opening) checkRanges(e *syncEntry) error {
	for _, r := range e.ranges {
		if r.to <= o.expired[int(r.schema)] {
			continue // synced, sealed and removed since
		}
		f, info, err := o.openInfo(r.schema, r.ordinal)
		if err != nil {
			return err
		}
		err = checkRange(f, info, r)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRange takes a sealed segment's word: it was sealed after the entry was on disk, so damage there is not a power cut's doing but verify's business,
// and to cut the tape for it would lose what is readable.
func checkRange(f File, info segmentInfo, r syncRange) error {
	if r.from < info.base || r.to > info.base+info.records {
		return fmt.Errorf("%w: %s segment %d: range outside of the file", ErrCorrupt, r.schema, r.ordinal)
	}
	if info.sealed {
		return nil
	}
	crc := uint32(0)
	err := eachChunk(f, info, r.from, r.to, func(b []byte) error {
		crc = updateCRC(crc, b)
		return nil
	})
	if err == nil && crc != r.crc {
		err = fmt.Errorf("%w: %s segment %d: records %d to %d are not what was synced", ErrCorrupt, r.schema, r.ordinal, r.from, r.to)
	}
	return err
}

// openInfo opens a segment by its ordinal, sealed or not.
func (o *opening) openInfo(schema feed.Schema, ordinal uint64) (File, segmentInfo, error) {
	return openSegmentFile(o.d.disk, o.d.path(schema.String()), ordinal)
}

func openSegmentFile(disk Disk, dir string, ordinal uint64) (File, segmentInfo, error) {
	path := segmentPath(dir, ordinal, activeSuffix)
	f, err := disk.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		path = segmentPath(dir, ordinal, sealedSuffix)
		f, err = disk.Open(path, true)
	}
	if err != nil {
		return nil, segmentInfo{}, err
	}
	info, err := readSegmentInfo(f, path)
	if err != nil {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

// chunkBytes is how much a scan reads at once; it is cut to whole records.
const chunkBytes = 1 << 20

// eachChunk reads records [from, to) of a segment file in chunks of whole records.
func eachChunk(f io.ReaderAt, info segmentInfo, from, to uint64, do func([]byte) error) error {
	size := uint64(info.recordSize)
	if from < info.base {
		return fmt.Errorf("%w: record %d is not in a segment that begins with %d", ErrCorrupt, from, info.base)
	}
	buf := make([]byte, min(chunkBytes/size, max(to, from)-from)*size)
	for from < to {
		b := buf[:min(uint64(len(buf)), (to-from)*size)]
		if _, err := f.ReadAt(b, info.header+int64((from-info.base)*size)); err != nil {
			return fmt.Errorf("%w: records from %d on cannot be read: %w", ErrCorrupt, from, err)
		}
		if err := do(b); err != nil {
			return err
		}
		from += uint64(len(b)) / size
	}
	return nil
}
