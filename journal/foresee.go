package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
)

// What a dataset's files hold beyond the places that the next opening would go on from is lost to readers by that opening, also where each record of it is whole
// and was acknowledged: the state page alone says that it was. So who looks before the start is told, while what is missing can still be put back.

// remains is what the files of a tape hold beyond a place.
type remains struct {
	end   uint64 // behind the last record that is not all zero
	whole uint64 // records of it with the header of their schema
	known uint64 // of these, those that were committed as far as anybody knows
}

// foresee says what the next opening would cut. It asks what an opening asks, and changes nothing.
func (x *verifier) foresee() error {
	if served, err := x.served(); served || err != nil {
		return err
	}
	o, why, err := x.cuts()
	var found [feed.NumSchemas]remains
	for schema := range feed.Schema(feed.NumSchemas) {
		if err == nil && why != nil {
			found[schema], err = x.remains(o, schema)
		}
	}
	if served, e := x.served(); served || e != nil {
		return e // it has been started meanwhile: what was read may be half of before and half of after
	}
	if err != nil || why == nil {
		return err
	}
	for schema := range feed.Schema(feed.NumSchemas) {
		x.foretell(o, schema, found[schema], why)
	}
	return nil
}

// cuts is an opening that knows the places it goes on from, and why those are no later ones; nil when it cuts nothing.
func (x *verifier) cuts() (o *opening, why, err error) {
	if o, err = x.opening(); err != nil {
		return nil, nil, err
	}
	why = o.trust()
	switch {
	case isShortage(why) || errors.Is(why, fs.ErrPermission):
		return nil, nil, why
	case why == nil && (o.result.same || o.closedThere()):
		return nil, nil, nil // what lies beyond was never acknowledged
	case why == nil:
		o.result.trusted = true
		return o, fmt.Errorf("%s knows of no more, and %s", stateName, o.page.kin.why), nil
	case o.logErr != nil:
		return nil, nil, nil // nothing is cut: it will not be served
	}
	if err := o.walk(); err != nil {
		return nil, nil, err
	}
	if err := o.checkKept(); err != nil {
		return nil, nil, fmt.Errorf("the dataset will not be served, so restore it from a copy: %w", err)
	}
	return o, fmt.Errorf("%s is of no use (%w), and %s vouches for no more", stateName, why, syncLogName), nil
}

// foretell says what becomes of a tape's records beyond the place that an opening goes on from; why that is no later one.
func (x *verifier) foretell(o *opening, schema feed.Schema, b remains, why error) {
	tail, aside := o.result.places[int(schema)].tail, "puts them in "+quarantineDir+"/"
	lost := o.result.cutTo(schema, b.end)
	if !o.result.trusted && o.entries[len(o.entries)-1].clean {
		if b.end > tail {
			x.note(schema, 0, fmt.Sprintf("records %d to %d lie beyond where the journal was closed, so they are another copy's: the next start %s", tail, b.end, aside))
		}
		return
	}
	switch {
	case lost > 0 && b.known > 0:
		x.problem(schema, 0, fmt.Errorf("the next start cuts records %d to %d, of which %d are there and whole: it tells them as a gap and %s, as %w; %s", tail, tail+lost, b.known, aside, why, keepThem))
	case lost > 0:
		x.note(schema, 0, fmt.Sprintf("records %d to %d are gone, and the next start tells them as a gap: none of them is there and whole", tail, tail+lost))
	case b.whole > 0 && o.page.kin.machine:
		x.problem(schema, 0, fmt.Errorf("the next start cuts records %d to %d, of which %d are there and whole: it %s, as %w; %s", tail, b.end, b.whole, aside, why, keepThem))
	case b.end > tail:
		x.note(schema, 0, fmt.Sprintf("what lies beyond record %d was not acknowledged, or by another copy: the next start %s, as %v", tail, aside, why))
	}
}

const keepThem = "if you have the " + stateName + " that belongs to these files, put it back before the start; else copy the directory first"

// opening is one that has read what it goes by, and holds nothing.
func (x *verifier) opening() (*opening, error) {
	d := &Dataset{disk: x.disk, dir: x.dir, name: x.name, log: zap.NewNop(), epochs: x.epochs, streams: x.streams}
	d.noWriters = errors.Join(x.damage[logStreams]...)
	o := &opening{d: d, expired: x.expired}
	if err := o.readSyncLog(); err != nil {
		return nil, err
	}
	if err := o.readPage(); err != nil {
		return nil, err
	}
	have, err := x.logSizes(o.page.logs, o.least)
	if err != nil {
		return nil, err
	}
	log := func(i int) *sideLog {
		l := new(sideLog)
		l.size.Store(have[i])
		return l
	}
	d.symbols, d.ledger = newSymbols(log(logSymbols)), &ledger{log: log(logLedger)}
	d.streamsLog, d.epochsLog, d.outliers.log = log(logStreams), log(logEpochs), log(logOutliers)
	return o, nil
}

// served says whether a server has the dataset: in this data directory, or in another that leads to it.
func (x *verifier) served() (bool, error) {
	held, err := x.disk.Locked(filepath.Join(filepath.Dir(x.dir), lockName))
	if err != nil || held {
		return held, err
	}
	return x.disk.Locked(filepath.Join(x.dir, stateName))
}

// remains looks for what keepRest would find.
func (x *verifier) remains(o *opening, schema feed.Schema) (b remains, err error) {
	p := o.result.places[int(schema)]
	b.end = p.tail
	known := p.tail + o.result.cutTo(schema, math.MaxUint64)
	err = eachInUse(x.disk, filepath.Join(x.dir, schema.String()), p, func(ordinal uint64, path string) error {
		f, err := x.disk.Open(path, true)
		if err != nil {
			return unlessHurt(err)
		}
		defer f.Close()
		info, err := readSegmentInfo(f, path)
		if err != nil {
			return unlessHurt(err)
		}
		from := max(p.beyond(ordinal, info), b.end) // a segment that is there twice counts once
		to, err := lastStored(f, info, from)
		if err == nil && to > from {
			b.end = to
			err = eachChunk(f, info, from, to, func(chunk []byte) error {
				for ; len(chunk) > 0; chunk = chunk[info.recordSize:] {
					n := uint64(wholeRecords(chunk[:info.recordSize], schema, info.recordSize))
					if b.whole += n; from < known {
						b.known += n
					}
					from++
				}
				return nil
			})
		}
		return unlessHurt(err)
	})
	return b, err
}
