package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// view is a dataset as its files show it, read without the lock and without changing anything, also while a server runs.
type view struct {
	disk    Disk
	dir     string
	name    string
	running bool // the state page is exact, whether a server runs or was killed
	epoch   uint64
	places  map[int]place
	counts  []uint64
	streams []*stream
	entries []*syncEntry
	symbols [][]byte
	gaps    [][]byte
	epochs  []Epoch
	steps   map[feed.Schema]outlierSteps
	expired map[int]uint64 // first record of a tape that was not removed for its age
	damage  [numSideLogs][]error
	logs    [slotLogCount]int64 // how long the side logs are at least, by the state page

	stateErr, logErr error // why the state page, or the sync log, is of no use
}

const viewTries = 1000 // reads of a state page that keeps changing under us

// loadView reads tails first and everything else after: what a record needs was there before it.
func loadView(disk Disk, dir string) (*view, error) {
	v := &view{disk: disk, dir: dir, name: filepath.Base(dir), places: map[int]place{}}
	if err := checkVersions(disk, dir); err != nil {
		return nil, err
	}
	v.stateErr = v.loadState()
	if v.entries, _, v.logErr = readSyncLog(disk, dir); v.logErr != nil && v.stateErr != nil {
		return nil, errors.Join(v.stateErr, v.logErr)
	}
	if err := v.loadStreams(); err != nil {
		return nil, err
	}
	if v.stateErr != nil {
		last := v.entries[len(v.entries)-1]
		v.epoch, v.places, v.counts = last.epoch, last.places, make([]uint64, MaxStreams)
		for _, e := range v.entries {
			for _, c := range e.counts {
				v.counts[c.stream] = c.count
			}
		}
	}
	return v, v.loadLogs()
}

// gone says whether a segment that could not be opened was removed for its age while we were reading.
func (v *view) gone(schema feed.Schema, ordinal uint64, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	now, err := v.segments(schema)
	return err == nil && len(now) > 0 && ordinal < now[0]
}

// loadState copies the state page between two equal commit numbers, so that the newest slot is whole, and applies that slot to the copy. The page is exact
// while a server runs, where it is the very one that a server stored to last, and else where its sums are true.
func (v *view) loadState() error {
	f, err := v.disk.Open(filepath.Join(v.dir, stateName), true)
	if err != nil {
		return err
	}
	defer f.Close()
	held, err := v.disk.Locked(filepath.Join(filepath.Dir(v.dir), lockName)) // before the page: a server that ends now has stored all of it
	if err != nil {
		return err
	}
	p := &statePage{b: make([]byte, stateBytes)}
	for try := 0; ; try++ {
		if n, err := f.ReadAt(p.b, 0); n < len(p.b) {
			return fmt.Errorf("%w: state page: %w", ErrCorrupt, err)
		}
		again := make([]byte, 8)
		if _, err := f.ReadAt(again, stateCommit); err != nil {
			return err
		}
		if string(again) == string(p.b[stateCommit:stateCommit+8]) || try == viewTries {
			break
		}
	}
	_, epoch, err := checkState(p.b)
	if err != nil {
		return err
	}
	k, err := p.kin(v.disk, v.dir, f)
	if err != nil {
		return err
	}
	logs, err := p.settle()
	if err != nil {
		return err
	}
	if exact := held || k.same || k.machine && p.version() == stateVersion1; !exact {
		if err := v.checkSums(p, epoch, logs); err != nil {
			return fmt.Errorf("state page: %s: %w", k.why, err)
		}
	}
	v.running, v.epoch, v.logs = true, epoch, logs
	v.places, v.counts = p.recovered(MaxStreams)
	return nil
}

// checkSums holds the sums of a page that no server stores to against the files.
func (v *view) checkSums(p *statePage, epoch uint64, logs [slotLogCount]int64) error {
	if p.version() == stateVersion1 {
		return fmt.Errorf("%w: version 1 has no sums", ErrCorrupt)
	}
	var err error
	if v.entries, _, err = readSyncLog(v.disk, v.dir); err != nil {
		return err
	}
	have, err := v.logSizes(logs, v.least)
	if err != nil {
		return err
	}
	if err := errors.Join(v.loadGaps(), v.loadEpochs()); err != nil {
		return err
	}
	places, _ := p.recovered(0)
	if err := errors.Join(p.notBehind(v.entries), outdated(epoch, v.entries), cutSince(v.epochs, epoch, places)); err != nil {
		return err
	}
	if err := p.checkSums(v.disk, v.dir, logs, have); err != nil {
		return err
	}
	return p.vouched(v.disk, v.dir, v.entries, v.expired)
}

// segments is the ordinals of a tape's segments up to the one in use.
func (v *view) segments(schema feed.Schema) ([]uint64, error) {
	names, err := v.disk.List(filepath.Join(v.dir, schema.String()))
	if err != nil {
		return nil, err
	}
	var list []uint64
	for _, name := range names {
		suffix := filepath.Ext(name)
		ordinal, ok := ordinalOf(name)
		if ok && (suffix == activeSuffix || suffix == sealedSuffix) && ordinal <= v.places[int(schema)].ordinal {
			list = append(list, ordinal)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil // one that is there twice is opened once, see openSegmentFile
}

// open opens a segment and says where its committed records end.
func (v *view) open(schema feed.Schema, ordinal uint64) (File, segmentInfo, uint64, error) {
	f, info, err := openSegmentFile(v.disk, filepath.Join(v.dir, schema.String()), schema, ordinal, ordinal == v.places[int(schema)].ordinal)
	if err != nil {
		return nil, info, 0, err
	}
	end := info.base + info.records
	if p := v.places[int(schema)]; ordinal == p.ordinal {
		end = min(end, p.tail)
	}
	return f, info, end, nil
}

// checkEpoch is segmentInfo.checkEpoch with what the log of epochs says, now: one may have begun since it was read. Where entries of it are lost, there is nothing to go by.
func (v *view) checkEpoch(f File, path string, info segmentInfo) error {
	err := info.checkEpoch(f, path, v.epochs)
	if err == nil {
		return nil
	}
	payloads, logErr := v.payloads(logEpochs)
	if isShortage(logErr) {
		return logErr
	}
	epochs, parseErr := parseEpochs(payloads)
	if logErr != nil || parseErr != nil || len(v.damage[logEpochs]) > 0 {
		return nil
	}
	v.epochs = epochs
	return info.checkEpoch(f, path, epochs)
}

// datasetDirs is the directories of a journal's datasets, by name.
func datasetDirs(disk Disk, dir string) ([]string, error) {
	names, err := disk.List(dir)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range names {
		if name, isDir := strings.CutSuffix(n, "/"); isDir && CheckDataset(name) == nil {
			list = append(list, filepath.Join(dir, name))
		}
	}
	return list, nil
}

// errLinked is why a dataset is not served that is somewhere else.
var errLinked = errors.New("it is a symbolic link, and not served: a gateway that has the target, too, would write to the same files. Put the directory in its place, or mount it there")

// strays is what lies in a data directory, has the files of a dataset and is not served: links, and directories whose name no dataset can have.
func strays(disk Disk, dir string) (linked, odd []string, err error) {
	names, err := disk.List(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		name, isDir := strings.CutSuffix(n, "/")
		path := filepath.Join(dir, name)
		switch {
		case isDir == (CheckDataset(name) == nil) || strings.HasSuffix(name, tmpSuffix) || !holdsDataset(disk, path):
		case isDir:
			odd = append(odd, name)
		default:
			linked = append(linked, path)
		}
	}
	return linked, odd, nil
}

// holdsDataset says whether path is, or leads to, a directory with a dataset's files.
func holdsDataset(disk Disk, path string) bool {
	for _, name := range []string{stateName, syncLogName} {
		if f, err := disk.Open(filepath.Join(path, name), true); err == nil {
			f.Close()
			return true
		}
	}
	return false
}
