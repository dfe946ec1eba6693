package journal

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
)

const streamsName = "streams.log"

// StreamHead says how a stream begins: the digest of its first records.
type StreamHead = lsg.Head

// stream counts the records of one (producer, stream) over all schemas. Its count is the state page's, in a slot that it may have from a stream that nobody
// needs any more: that one's count stays below it, so the count of a slot never goes down, and whatever old count a crash leaves is taken for nothing.
type stream struct {
	number         uint32 // slot in the state page
	producer, name string
	owner          string     // the key that made the entry; empty: in open mode. Under Dataset.openMu
	head           StreamHead // under Dataset.openMu
	base           uint64     // count of the slot when the stream got it
	entered        uint64     // wall ns of its entry
	count          atomic.Uint64
	synced         atomic.Uint64

	// Under Dataset.mu.
	dirty   bool       // the sync log does not have the count yet
	wrote   uint32     // schemas of this process's records, a bit each
	earlier bool       // an earlier process wrote records of it, nobody knows where
	ended   []Position // where its last writer left the tapes with records of it: nothing of it lies there or beyond; nil: not known
}

type streamKey struct{ producer, stream string }

// records is how many of the stream's were accepted.
func (s *stream) records() uint64 { return s.count.Load() - s.base }

// append is the stream's entry.
func (s *stream) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, s.number)
	dst = binary.LittleEndian.AppendUint64(dst, s.entered)
	dst = appendText(appendText(dst, s.producer), s.name)
	if s.base == 0 && s.head.Records == 0 && s.owner == "" {
		return dst // an entry of version 1 says all
	}
	dst = binary.LittleEndian.AppendUint64(dst, s.base)
	dst = binary.LittleEndian.AppendUint64(dst, s.head.Records)
	dst = append(dst, s.head.Sum[:]...)
	if s.owner == "" {
		return dst
	}
	return appendText(dst, s.owner)
}

func parseStream(p []byte) (*stream, error) {
	f := fields{b: p}
	s := &stream{number: f.u32(), entered: f.u64()}
	s.producer, s.name = f.text(), f.text()
	if len(f.b) > 0 {
		s.base, s.head.Records = f.u64(), f.u64()
		copy(s.head.Sum[:], f.take(len(s.head.Sum)))
	}
	if len(f.b) > 0 {
		s.owner = f.text()
	}
	if !f.done() || s.number >= MaxStreams || s.base > maxSeq {
		return nil, fmt.Errorf("%w: entry of %s", ErrCorrupt, streamsName)
	}
	s.count.Store(s.base)
	s.synced.Store(s.base)
	return s, nil
}

// parseStreams reads streams.log: of the entries of a number the last one counts. Numbers are given from 0 on without a hole. A producer's name belongs to the
// owner that the last entry has which names one.
func parseStreams(payloads [][]byte) (list []*stream, owners map[string]string, err error) {
	owners = map[string]string{}
	for i, p := range payloads {
		s, err := parseStream(p)
		if err == nil && s.owner != "" {
			owners[s.producer] = s.owner
		}
		switch {
		case err != nil:
			return nil, nil, err
		case int(s.number) < len(list):
			list[s.number] = s
		case int(s.number) == len(list):
			list = append(list, s)
		default:
			return nil, nil, fmt.Errorf("%w: entry %d of %s is of stream %d, those before it are of %d", ErrCorrupt, i, streamsName, s.number, len(list))
		}
	}
	names := map[string]bool{}
	for _, s := range list {
		names[s.producer] = true
	}
	maps.DeleteFunc(owners, func(name, _ string) bool { return !names[name] }) // all its streams have made room
	return list, owners, nil
}

// findStream finds the stream that a writer wants to go on with, or enters it into streams.log. The caller holds openMu.
func (d *Dataset) findStream(o *WriterOptions) (*stream, error) {
	changes, err := d.checkOwner(o)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	s := d.streamOf[streamKey{o.Producer, o.Stream}]
	d.mu.Unlock()
	switch {
	case s == nil && o.Existing:
		return nil, fmt.Errorf("%w: %s of producer %s in %s", ErrNoStream, o.Stream, o.Producer, d.name)
	case s == nil:
		return d.addStream(o)
	}
	if err := s.canResume(o); err != nil {
		return nil, err
	}
	if changes {
		if err := d.setOwner(s, o.Owner); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Head.Records == 0 || o.Head == s.head:
	case s.records() == 0: // nothing of what it was to begin with came
		return s, d.setHead(s, o.Head)
	case s.head.Records == o.Head.Records:
		return nil, fmt.Errorf("%w: stream %s of producer %s begins with records of digest %x (the first %d), and the same number of those that are to go on with it have %x; "+
			"publish other data as another stream", ErrStreamHead, o.Stream, o.Producer, s.head.Sum[:8], s.head.Records, o.Head.Sum[:8])
	}
	return s, nil
}

// canResume says whether the stream's count may go on from where the writer wants it to: it never goes down and never wraps.
func (s *stream) canResume(o *WriterOptions) error {
	count := s.records()
	if !o.HasResume || o.Resume <= count || o.Resume-count <= MaxSkip && s.base+o.Resume <= maxSeq {
		return nil
	}
	return fmt.Errorf("%w: to resume with record %d is too far beyond record %d, which is the next one of stream %s: %d can be skipped at once; check the producer's numbering",
		ErrLimit, o.Resume, count, s.name, uint64(MaxSkip))
}

// addStream makes a new stream, in a slot of its own or in that of one that no kept record needs. The caller holds openMu.
func (d *Dataset) addStream(o *WriterOptions) (*stream, error) {
	d.mu.Lock()
	n, own := len(d.streams), d.streamsOf[o.Producer]
	d.mu.Unlock()
	s := &stream{number: uint32(n), producer: o.Producer, name: o.Stream, owner: o.Owner, head: o.Head, entered: d.now()}
	most, mostOwn := d.mostStreams()
	if n >= most || own >= mostOwn {
		old := d.forgettable(func(old *stream) bool { return own < mostOwn || old.producer == o.Producer })
		if old == nil {
			return nil, fmt.Errorf("%w: dataset %s has %d streams, %d of them of producer %s (%d and %d are the most), and records of all of them are kept or written; "+
				"there is room when records expire (--retain): publish to another dataset, or go on with a stream that exists", ErrTableFull, d.name, n, own, o.Producer, most, mostOwn)
		}
		s.number, s.base = old.number, old.count.Load()
	}
	s.count.Store(s.base)
	s.synced.Store(s.base)
	if err := s.canResume(o); err != nil {
		return nil, err
	}
	if err := d.appendStream(s); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.enterStream(s)
	d.mu.Unlock()
	d.warnOfStreams()
	if o.Owner != "" {
		d.owners[o.Producer] = o.Owner
	}
	return s, nil
}

// mostStreams is how many streams there may be, and how many of one producer.
func (d *Dataset) mostStreams() (all, own int) {
	if n := d.o.streams; n > 0 {
		return n, (3*n + 3) / 4
	}
	return MaxStreams, MaxProducerStreams
}

// appendStream puts the stream's entry into the log. The caller holds openMu.
func (d *Dataset) appendStream(s *stream) error {
	err := d.appendSide(nil, d.streamsLog, s.append(nil))
	if err == nil {
		if d.streamFrames++; d.streamFrames%streamsSlack == 0 {
			d.tidier.kick()
		}
	}
	return err
}

// enterStream puts the stream into its slot, and makes room for it in the list of dirty ones, which Append fills. The caller holds openMu and mu, or is alone.
func (d *Dataset) enterStream(s *stream) {
	d.streamsOf[s.producer]++
	if int(s.number) < len(d.streams) {
		old := d.streams[s.number]
		delete(d.streamOf, streamKey{old.producer, old.name})
		if d.streamsOf[old.producer]--; d.streamsOf[old.producer] == 0 {
			delete(d.streamsOf, old.producer)
			delete(d.owners, old.producer)
		}
		d.streams[s.number] = s
	} else {
		d.streams = append(d.streams, s)
	}
	d.streamOf[streamKey{s.producer, s.name}] = s
	if cap(d.dirty) < len(d.streams) {
		d.dirty = append(make([]*stream, 0, 2*len(d.streams)), d.dirty...)
	}
}

// setHead changes how the stream is known to begin. The caller holds openMu.
func (d *Dataset) setHead(s *stream, h StreamHead) error {
	old := s.head
	s.head = h
	d.nameOwner(s)
	err := d.appendStream(s)
	if err != nil {
		s.head = old
	}
	return err
}

// keepHead gives the stream the writer's head when that says more than the one it has, once all the records that it speaks of were accepted: only then is
// it known to be the stream's. The caller holds openMu.
func (w *Writer) keepHead() {
	s := w.stream
	w.d.mu.Lock()
	known := w.d.streams[s.number] == s && !w.d.closed.Load()
	w.d.mu.Unlock()
	if !known || w.head.Records <= s.head.Records || w.head.Records > w.accepted.Load() {
		return
	}
	if err := w.d.setHead(s, w.head); err != nil { // the old one is as true
		w.d.log.Warn("how a stream begins could not be kept; it stays known by fewer records", zap.String("producer", s.producer), zap.String("stream", s.name), zap.Error(err))
	}
}
