package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	sideHeader  = 16 // bytes of a header that are there in each version, and all of it in version 1
	sideHeader2 = 40 // bytes of a header of version 2
	sideVersion = 2

	symbolsMagic  = "TWSYMBOL"
	streamsMagic  = "TWSTREAM"
	ledgerMagic   = "TWLEDGER"
	epochsMagic   = "TWEPOCHS"
	outliersMagic = "TWOUTLIE"
)

// Where each log's length stands in an entry of the sync log.
const (
	logSymbols = iota
	logStreams
	logLedger
	logEpochs
	logOutliers
	numSideLogs
)

// sideLogs is all of them, in the order in which an entry of the sync log has their lengths.
var sideLogs = []struct{ name, magic string }{
	{symbolsName, symbolsMagic}, {streamsName, streamsMagic}, {ledgerName, ledgerMagic}, {epochsName, epochsMagic},
	{outliersName, outliersMagic},
}

// sideHead is the header of a side log. A log's length is a logical offset: it never falls, also when the log is written anew without the entries that nobody
// needs. So a length that the sync log or the state page has from before still says which entries there must be.
type sideHead struct {
	version   uint32
	base      int64 // the logical offset at which the entries begin that were appended to this file
	rewritten int64 // bytes of entries before them: on disk, all of them, before the file had its name
}

// freshHead is that of a log without entries.
func freshHead() sideHead { return sideHead{version: sideVersion, base: sideHeader2} }

// bytes is where the first entry begins in the file.
func (h sideHead) bytes() int64 {
	if h.version == 1 {
		return sideHeader
	}
	return sideHeader2
}

// physical is where a logical offset lies in the file. Everything below base counts as whole.
func (h sideHead) physical(at int64) int64 { return h.bytes() + h.rewritten + max(at-h.base, 0) }

// logical is the offset of a place in the file behind what was written anew.
func (h sideHead) logical(at int64) int64 { return h.base + at - h.bytes() - h.rewritten }

func (h sideHead) append(magic string) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, sideHeader2), magic...)
	b = le.AppendUint32(b, h.version)
	b = le.AppendUint32(b, crc32c(b))
	b = le.AppendUint64(b, uint64(h.base))
	b = le.AppendUint64(b, uint64(h.rewritten))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32c(b))
}

// parseSideHead reads the header that b begins with.
func parseSideHead(b []byte, path, magic string) (sideHead, error) {
	if err := checkLogHeader(b, path, magic, sideVersion); err != nil {
		return sideHead{}, err
	}
	le := binary.LittleEndian
	h := sideHead{version: le.Uint32(b[8:])}
	if h.version == 1 {
		h.base = sideHeader
		return h, nil
	}
	if len(b) < sideHeader2 || le.Uint32(b[sideHeader2-4:]) != crc32c(b[:sideHeader2-4]) {
		return h, fmt.Errorf("%w: header of %s fails its CRC", ErrCorrupt, path)
	}
	h.base, h.rewritten = int64(le.Uint64(b[16:])), int64(le.Uint64(b[24:]))
	if h.base < 0 || h.rewritten < 0 || h.rewritten > maxSideLog {
		return h, fmt.Errorf("%w: header of %s names %d bytes below offset %d", ErrCorrupt, path, h.rewritten, h.base)
	}
	return h, nil
}

// emptyLogs is how long the side logs of a new dataset are.
func emptyLogs() (ends [slotLogCount]int64) {
	for i := range sideLogs {
		ends[i] = freshHead().base
	}
	return ends
}

// createSideLog makes an empty log and forces it to disk.
func createSideLog(disk Disk, path, magic string) error {
	f, err := disk.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(freshHead().append(magic), 0); err != nil {
		return err
	}
	return f.Sync()
}

// sideContents is what a side log holds. Places are those in the file.
type sideContents struct {
	head     sideHead
	payloads [][]byte
	whole    int64  // bytes up to the end of the last whole frame
	rest     []byte // what follows
	lost     []lostBytes
	losses   []int // payloads before each of them
}

// size is the length of the log, logical.
func (c *sideContents) size() int64 { return c.head.logical(c.whole) }

// lostBytes is a part of a file that was on disk once and is no frame any more.
type lostBytes struct {
	from, to int64
	bytes    int64 // of entries that are lost: what is there, and what scars in it tell
}

func (l lostBytes) of(path string) error {
	if l.isScar() {
		return fmt.Errorf("%w: entries of %s are lost, %d bytes of them; what else was found of it was put in a new file then", ErrCorrupt, path, l.bytes)
	}
	return fmt.Errorf("%w: bytes %d to %d of %s are no entries any more", ErrCorrupt, l.from, l.to, path)
}

func (l lostBytes) isScar() bool { return l.to-l.from == scarBytes }

// A scar stands for entries that are lost where the others are put in a new file: it is no frame where each byte would belong to one. So every opening, and Verify,
// finds the loss, and how much it is.
const (
	scarMagic = "\x00\x00\x00\x00LOST" // of length 0, so no frame
	scarBytes = int64(len(scarMagic) + 8)
)

// appendScar appends one for n bytes of entries.
func appendScar(dst []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, scarMagic...), uint64(n))
}

// lossAt is what is lost where b, all bytes of a file, has no entries from at up to next.
func lossAt(b []byte, at, next int64) lostBytes {
	l := lostBytes{from: at, to: next, bytes: next - at}
	for b = b[at:min(next, int64(len(b)))]; ; {
		i := bytes.Index(b, []byte(scarMagic))
		if i < 0 || int64(len(b)-i) < scarBytes {
			return l
		}
		b = b[i+len(scarMagic):]
		l.bytes += int64(min(binary.LittleEndian.Uint64(b), maxSideLog)) - scarBytes
	}
}

// readSideLog reads a log. Up to vouched, a length that the sync log names, and in what was written anew, each byte belonged to a frame: what is none
// there is damage, and reading goes on behind it. Beyond, the first thing that is no frame is the end.
func readSideLog(f File, path, magic string, vouched int64) (c sideContents, err error) {
	b, err := readSideFile(f, path)
	if err != nil {
		return c, err
	}
	if c.head, err = parseSideHead(b, path, magic); err != nil {
		return c, err
	}
	size, end := int64(len(b)), c.head.physical(vouched)
	for at := c.head.bytes(); ; {
		for p, ok := nextFrame(b[at:]); ok; p, ok = nextFrame(b[at:]) {
			c.payloads = append(c.payloads, p)
			at += frameHeader + int64(len(p))
		}
		c.whole, c.rest = at, b[at:]
		if at >= end {
			return c, nil
		}
		next := nextWhole(b, at+1, end)
		c.lost, c.losses = append(c.lost, lossAt(b, at, next)), append(c.losses, len(c.payloads))
		if next >= size { // a length that was vouched for never falls, or nobody would know what is lost
			c.whole, c.rest = next, nil
			return c, nil
		}
		at = next
	}
}

// readSideFile is all bytes of a log.
func readSideFile(f File, path string) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxSideLog {
		return nil, fmt.Errorf("%w: %s is %d bytes, the bound is %d", ErrLimit, path, size, maxSideLog)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// nextWhole is where the first whole frame from at on begins; end when there is none before it.
func nextWhole(b []byte, at, end int64) int64 {
	for ; at < min(end, int64(len(b))); at++ {
		if _, ok := nextFrame(b[at:]); ok {
			return at
		}
	}
	return end
}

// sideLogSize is how long a log that somebody may be writing to is at most, logical: what follows its last whole frame counts too.
func sideLogSize(f File, path, magic string) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	b := make([]byte, min(size, sideHeader2))
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	head, err := parseSideHead(b, path, magic)
	return head.logical(size), err
}
