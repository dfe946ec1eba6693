package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// What a view takes of the side logs is what an opening would: of one that is hurt, or gone, the entries that are there. What is wrong is in damage.

func (v *view) loadLogs() (err error) {
	if v.symbols, err = v.payloads(logSymbols); err != nil {
		return err
	}
	if err := v.loadEpochs(); err != nil {
		return err
	}
	payloads, err := v.payloads(logOutliers)
	if err != nil {
		return err
	}
	if v.steps, err = parseOutlierSteps(payloads); err != nil {
		return err
	}
	return v.loadGaps()
}

func (v *view) loadEpochs() error {
	payloads, err := v.payloads(logEpochs)
	if err == nil {
		v.epochs, err = parseEpochs(payloads)
	}
	return err
}

// loadStreams takes all streams, or none when their log is hurt: no dataset goes on with a part of it.
func (v *view) loadStreams() error {
	payloads, err := v.payloads(logStreams)
	if err != nil || len(v.damage[logStreams]) > 0 {
		return err
	}
	if v.streams, _, err = parseStreams(payloads); isDamage(err) {
		v.damage[logStreams] = append(v.damage[logStreams], err)
		err = nil
	}
	return err
}

func (v *view) loadGaps() (err error) {
	if v.gaps, err = v.payloads(logLedger); err != nil {
		return err
	}
	v.expired, err = expiredIn(v.gaps)
	return err
}

// least is how long a side log must be.
func (v *view) least(log int) int64 { return max(vouchedBytes(v.entries, log), v.logs[log]) }

// payloads is the entries of a log.
func (v *view) payloads(log int) ([][]byte, error) {
	v.damage[log] = nil
	c, err := v.readLog(log, v.least(log))
	if log == logOutliers && errors.Is(err, fs.ErrNotExist) && v.least(log) == 0 {
		return nil, nil // a journal of an earlier release has none
	}
	if isHurt(err) {
		v.damage[log] = []error{fmt.Errorf("%w: %s", orCorrupt(err), lossOf[log])}
		return nil, nil
	}
	for _, lost := range c.lost {
		v.damage[log] = append(v.damage[log], fmt.Errorf("%w: %s", lost.of(sideLogs[log].name), lossOf[log]))
	}
	return c.payloads, err
}

// lossOf says what it means that entries of a log are lost.
var lossOf = [numSideLogs]string{
	logSymbols:  "records that they named have no name",
	logStreams:  "no producer is let in, as nobody knows how many records each stream has; put the file back from a backup, or publish to another dataset",
	logLedger:   "gaps that they told are not told any more, and what expired counts as missing",
	logEpochs:   "positions of earlier epochs are refused",
	logOutliers: "times beyond the clock are taken for what they say where an index is made again",
}

// orCorrupt makes damage of a file that is not there.
func orCorrupt(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func (v *view) readLog(log int, least int64) (c sideContents, err error) {
	path := filepath.Join(v.dir, sideLogs[log].name)
	f, err := v.disk.Open(path, true)
	if err != nil {
		return c, err
	}
	defer f.Close()
	return readSideLog(f, path, sideLogs[log].magic, least)
}

// logSizes is how long the side logs are, those that are shorter than least counted as that long. One that is gone or whose header is hurt counts as long as it should
// be. So it is at an opening: no power cut does either.
func (v *view) logSizes(should [slotLogCount]int64, least func(log int) int64) (have [slotLogCount]int64, err error) {
	for i := range sideLogs {
		c, err := v.readLog(i, least(i))
		switch {
		case isHurt(err), i == logStreams && len(c.lost) > 0: // nobody goes on with a part of that one
			have[i] = max(should[i], least(i))
		case err != nil:
			return have, err
		default:
			have[i] = c.size()
		}
	}
	return have, nil
}

// logDamage is what is wrong with the side logs.
func (v *view) logDamage() []error { return slices.Concat(v.damage[:]...) }
