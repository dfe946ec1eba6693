package journal

import (
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"
)

// recovered is where a dataset goes on.
type recovered struct {
	trusted   bool // the state page is: nothing is lost
	same      bool // and it is the very page that was stored to, on the machine that stored to it: the epoch goes on
	renew     bool // a page of the present version, and with a witness, takes its place all the same
	old       bool // the page is of an earlier version
	moved     bool // a tape goes on in another segment than the page says
	here      bool // the machine was started since these very files were stored to: what lies beyond the places may have been acknowledged
	untouched bool // and nobody but the journal has changed anything about the page since
	cut       bool // records may be lost
	begun     bool // the epoch had been entered by an opening that did not get to its end
	places    map[int]place
	counts    []uint64          // by stream
	ends      map[int]uint64    // of tapes, as the state page has them: more than was kept is lost; nil: not known
	rest      []rest            // what lies beyond the places
	lost      map[int]uint64    // records of each tape that were cut
	recut     map[string]uint64 // segments that go on in a new file, by path: the first record that it does not keep
}

// recover decides between the state page, which is exact where its sums are true, and the sync log, which is what the disk vouches for. Who the page is
// decides the epoch alone: another boot, mount, device or inode means that the records may go on somewhere else too.
func (o *opening) recover() error {
	d := o.d
	k, why := o.page.kin, o.trust()
	if err := onlyVersion(why); err != nil {
		return err
	}
	if isShortage(why) {
		return why // it says nothing of the page, and passes: nothing is cut for it
	}
	if why == nil {
		o.result.trusted = true
		if o.logErr != nil {
			d.log.Warn("sync log is not readable, the state page is: going on from it", zap.Error(o.logErr))
			if err := o.makeWay(syncLogName, o.logErr); err != nil {
				return err
			}
		}
		if o.result.same {
			o.report("the state page is ours, nothing cut")
			return nil
		}
		if err := o.keepBeyond(); err != nil {
			return err
		}
		if err := o.newEpoch(); err != nil {
			return err
		}
		o.report("the state page's sums are true; " + k.why)
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
	if err := o.makeWay(stateName, why); err != nil {
		return err
	}
	last := o.entries[len(o.entries)-1]
	d.epoch = last.epoch
	if last.clean {
		if err := o.keepRest(); err != nil { // it may be an older copy, put back among newer files: those are another history's
			return err
		}
		o.result.lost, o.result.cut = nil, len(o.result.rest) > 0
		if err := o.newEpoch(); err != nil {
			return err
		}
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
	for _, n := range o.result.lost {
		lost += n
	}
	o.d.log.Info("recovered", zap.String("why", why), zap.Uint64("epoch", o.d.epoch), zap.Int("tapes", len(o.result.places)),
		zap.Uint64("records", records), zap.Int("streams", len(o.d.streams)), zap.Bool("cut", o.result.cut), zap.Uint64("lost", lost))
}

// makeWay moves to quarantine what is no file and stands where one is about to be put: a directory would keep it from its place.
func (o *opening) makeWay(name string, why error) error {
	if !errors.Is(why, errNoFile) {
		return nil
	}
	return o.q.move(o.d.path(name), name)
}

// makeWayForWitness is makeWay for the witness, which every new state page replaces.
func (o *opening) makeWayForWitness() error {
	f, err := o.d.disk.Open(o.d.path(witnessName), true)
	if err == nil {
		return f.Close()
	}
	return o.makeWay(witnessName, err)
}

// walk follows the sync log forward from its checkpoint, as long as every range it vouches for is what it was. A scan backwards for a good entry
// would accept one whose predecessor never reached the disk. Only a segment in use can stop it: one that was left is a hole where it is hurt, see checkRanges.
func (o *opening) walk() error {
	counts := make([]uint64, o.numStreams())
	last, good := o.entries[len(o.entries)-1].places, 0
	for i, e := range o.entries[:o.begunAt()+1] {
		if i > 0 {
			if err := checkRanges(o.d.disk, o.d.dir, e, last, o.expired); err != nil {
				if !errors.Is(err, ErrCorrupt) {
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
	if good+1 < len(o.entries) {
		o.entries[good].clean = false // it was gone on from
	}
	o.entries = o.entries[:good+1]
	o.result = recovered{places: o.entries[good].places, counts: counts, ends: o.result.ends, here: o.result.here, untouched: o.result.untouched}
	return nil
}

// checkRange takes a sealed segment's word: it was sealed after the entry was on disk, so damage there is not a power cut's doing but verify's business,
// and to cut the tape for it would lose what is readable.
func checkRange(f File, info segmentInfo, r syncRange) error {
	if info.sealed {
		return nil
	}
	if r.from < info.base || r.to > info.base+info.records {
		return fmt.Errorf("%w: %s segment %d: range outside of the file", ErrCorrupt, r.schema, r.ordinal)
	}
	crc := uint32(0)
	err := eachChunk(f, info, r.from, r.to, func(b []byte) error {
		crc = updateCRC(crc, b)
		return nil
	})
	if err == nil && crc != r.crc {
		err = fmt.Errorf("%w: %s segment %d: records %d to %d are not what was synced", errSum, r.schema, r.ordinal, r.from, r.to)
	}
	return err
}

// errSum: records are there, and not what they were. That alone can be a power cut's doing. Where a file does not have the records that are looked for, or the
// disk does not give them back, readers are told by a hole, and nothing is cut.
var errSum = fmt.Errorf("%w: a sum differs", ErrCorrupt)

// noSum says that there is nothing to hold a sum against: a segment's file is gone, short, or hurt in its header, or the disk does not give its records back.
func noSum(err error) bool { return isHurt(err) && !errors.Is(err, errSum) }

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
