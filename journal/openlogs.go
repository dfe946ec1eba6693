package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.uber.org/zap"
)

// pageSays is what the state page tells, where it can be read: before it is known whether it is to be trusted.
type pageSays struct {
	page  *statePage // settled, unless err says otherwise
	kin   kin
	logs  [slotLogCount]int64 // how long they were at its newest commit
	epoch uint64
	same  bool  // it is the very page that was stored to, and of the sync log, so no power cut took anything
	err   error // it says nothing
}

func (o *opening) readPage() error {
	page, k, err := readState(o.d.disk, o.d.dir)
	if isShortage(err) {
		return err
	}
	o.page.page, o.page.kin = page, k
	if err == nil {
		if _, o.page.epoch, err = checkState(page.b); err == nil {
			o.page.logs, err = page.settle()
		}
	}
	// A page that is ahead of a log that was closed properly is not of it: an older copy, without a page, was put back among newer files.
	closed := len(o.entries) > 0 && o.entries[len(o.entries)-1].clean
	o.page.same, o.page.err = k.same && err == nil && !closed, err
	return nil
}

// vouchedBytes is how many bytes of a side log the sync log names as being on disk.
func vouchedBytes(entries []*syncEntry, log int) int64 {
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].logs[log]
}

// least is how long a side log must be: what is missing of that is damage. Beyond what the sync log names as being on disk a power cut may have taken something.
func (o *opening) least(log int) int64 {
	least := vouchedBytes(o.entries, log)
	if o.page.same {
		least = max(least, o.page.logs[log])
	}
	return least
}

// longest is how long a side log was at least, as far as anybody knows.
func (o *opening) longest(log int) int64 { return max(vouchedBytes(o.entries, log), o.page.logs[log]) }

// beyond is the last of payloads, as many as have their frames in the last n bytes of a log.
func beyond(payloads [][]byte, n int64) [][]byte {
	from := len(payloads)
	for ; from > 0 && n >= frameHeader+int64(len(payloads[from-1])); from-- {
		n -= frameHeader + int64(len(payloads[from-1]))
	}
	return payloads[from:]
}

func (o *opening) openLogs() (err error) {
	d := o.d
	if err := o.openStreams(); err != nil {
		return err
	}
	if err := o.openEpochs(); err != nil {
		return err
	}
	if o.symbolLog, o.symbols, err = o.openLog(logSymbols); err != nil {
		return err
	}
	d.symbols = newSymbols(o.symbolLog) // so that a failed opening closes it
	if o.ledgerLog, o.gaps, err = o.openLog(logLedger); err != nil {
		return err
	}
	d.ledger = &ledger{log: o.ledgerLog}
	o.newGaps = beyond(o.gaps, o.ledgerLog.size.Load()-o.least(logLedger))
	if err := o.openOutliers(); err != nil {
		return err
	}
	o.expired, err = expiredIn(o.gaps)
	return err
}

// openLog opens a log of which each entry means something without the others. Where it is gone, or its header is hurt, a new one begins.
func (o *opening) openLog(log int) (*sideLog, [][]byte, error) {
	d, magic := o.d, sideLogs[log].magic
	path := d.path(sideLogs[log].name)
	l, payloads, err := openSideLog(d.disk, path, magic, o.q, o.least(log), true)
	switch {
	case !isHurt(err):
		return l, payloads, err
	case log == logOutliers && errors.Is(err, fs.ErrNotExist) && o.longest(log) == 0: // of an earlier release
		err = writeWhole(d.disk, path, func(f File) error { // one that is half made would be a hurt one
			_, err := f.WriteAt(freshHead().append(magic), 0)
			return err
		})
	case o.page.err != nil && o.logErr != nil: // neither can be trusted: nothing is changed
		return nil, nil, err
	default:
		err = o.renew(log, err)
	}
	if err != nil {
		return nil, nil, err
	}
	return openSideLog(d.disk, path, magic, o.q, o.least(log), true)
}

// isHurt says that a file is gone, that its header is hurt, or that it is no file. No power cut does that to one that was on disk before it was used.
func isHurt(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) }

// renew puts a log in the place of one that is gone or cannot be opened: of the entries that are found in what is there, and as long as the old one is known to have
// been. A scar behind them says that others are lost. What was there goes to quarantine.
func (o *opening) renew(log int, why error) error {
	d := o.d
	path := d.path(sideLogs[log].name)
	var there, content []byte
	f, err := d.disk.Open(path, true)
	switch {
	case errors.Is(err, errNoFile):
		err = o.q.move(path, filepath.Base(path))
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		there, err = readSideFile(f, path)
		f.Close()
	}
	if err != nil {
		return err
	}
	if len(there) > 0 {
		if err := o.q.keep(path, 0, there); err != nil {
			return err
		}
	}
	found := 0
	for at := nextWhole(there, 0, int64(len(there))); at < int64(len(there)); at = nextWhole(there, at, int64(len(there))) {
		p, _ := nextFrame(there[at:])
		content = appendFrame(content, p)
		at += frameHeader + int64(len(p))
		found++
	}
	base := max(freshHead().base, o.longest(log))
	content = appendScar(content, max(1, max(base, int64(len(there)))-freshHead().base-int64(len(content))))
	head := sideHead{version: sideVersion, base: base, rewritten: int64(len(content))}
	d.log.Error("a side log begins anew: entries of it are lost, and stay told as such; to have them back, stop the server and put the newest backup of the file in its place",
		zap.String("file", path), zap.Int("entries_found", found), zap.Error(why))
	return diskError(writeWhole(d.disk, path, func(f File) error {
		_, err := f.WriteAt(append(head.append(sideLogs[log].magic), content...), 0)
		return err
	}))
}

// openStreams opens the log of streams. A stream's number is its place in it, so without all of them nobody knows which count is whose: a producer that went on
// with another's would be told to send too much or too little. Then readers are served, the log stays as it is, and no writer is let in.
func (o *opening) openStreams() error {
	d := o.d
	path := d.path(streamsName)
	l, payloads, err := openSideLog(d.disk, path, streamsMagic, o.q, o.least(logStreams), false)
	var list []*stream
	if err == nil {
		d.streamsLog = l
		list, d.owners, err = parseStreams(payloads)
	}
	if err != nil && !isDamage(err) {
		return err
	}
	if err != nil {
		if l != nil {
			l.file.Close()
		}
		d.streamsLog = &sideLog{path: path} // nothing is stored to it
		d.streamsLog.size.Store(o.longest(logStreams))
		d.streamsLog.synced.Store(o.longest(logStreams))
		d.noWriters = fmt.Errorf("%w; the records of %s are served, and it takes no others, as nobody knows how many each stream has: "+
			"put %s back from a backup and start again, or publish to another dataset", orCorrupt(err), d.name, path)
		d.log.Error("dataset takes no records", zap.Error(d.noWriters))
		return nil
	}
	for _, s := range list {
		d.enterStream(s)
	}
	d.streamFrames = len(payloads)
	return nil
}

// numStreams is how many counts there are.
func (o *opening) numStreams() int {
	if o.d.noWriters != nil {
		return MaxStreams
	}
	return len(o.d.streams)
}

// keepCounts is the counts of streams that nobody knows: they are kept for the day when their log is back.
func (o *opening) keepCounts() []streamCount {
	if o.d.noWriters != nil {
		o.d.unknown = nonZero(o.result.counts)
	}
	return o.d.unknown
}

func nonZero(counts []uint64) (list []streamCount) {
	for i, n := range counts {
		if n > 0 {
			list = append(list, streamCount{uint32(i), n})
		}
	}
	return list
}

// openEpochs opens the log of epochs. Where entries are lost, positions of the epochs before the last of them cannot be judged any more: they are forgotten, so that
// such a position is refused as one of another history.
func (o *opening) openEpochs() error {
	d := o.d
	l, payloads, err := o.openLog(logEpochs)
	if err != nil {
		return err
	}
	d.epochsLog = l
	if l.gone > 0 {
		payloads = payloads[l.since():]
	}
	if d.epochs, err = parseEpochs(payloads); err != nil || l.gone == 0 {
		return err
	}
	if len(payloads) > 0 {
		d.epochs = d.epochs[len(d.epochs)-len(payloads):]
		return nil
	}
	e := Epoch{Number: o.page.epoch}
	if o.page.err != nil {
		if len(o.entries) == 0 {
			return nil // neither can be trusted: the dataset will not be served
		}
		e.Number = o.entries[len(o.entries)-1].epoch
	}
	d.log.Error("entries of the log of epochs are lost: positions of earlier epochs are refused", zap.String("file", l.path), zap.Uint64("epoch", e.Number))
	d.epochs = []Epoch{e}
	if err := l.append(e.append(nil)); err != nil && !errors.Is(err, ErrDiskFull) { // without room the next opening enters it
		return err
	}
	return nil
}
