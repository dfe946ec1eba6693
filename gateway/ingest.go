package gateway

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// ingest turns a producer's bytes into commits: instrument lines, then DBN
// metadata, then records. Records are checked where they lie and become runs
// that point into the caller's buffer; what is left of a record at the end of
// the buffer is kept aside. All runs of one buffer are one commit.
type ingest struct {
	p        *producer
	phase    ingestPhase
	blocking bool        // wait for the journal instead of returning
	ended    atomic.Bool // the producer said that nothing follows, and everything is committed

	text      []byte      // of a line that is not complete
	header    []byte      // of metadata that is not complete: its begin
	pieces    [][]byte    // and the rest
	collected int         // bytes of both
	watched   atomic.Bool // the time is taken of the one or the other
	version   uint8       // of the records to come
	tsOut     bool
	declared  feed.Schema      // of the metadata; SchemaNone is any
	known     map[uint32]int64 // instruments declared in this session and their price increment, 0: none; nil: any goes
	asked     atomic.Bool      // an answer is owing, or the text phase goes on: no ack comes between

	told map[uint32]struct{} // ids that the gateway gave out and this session may use
	used [toldIDs]uint64     // 1 + ids that were looked up and may be used, where their low bits say

	declarations int // instrument lines so far
	badSymbols   int // names that were passed over
	entries      int // instruments, mappings and gaps of this turn

	partial []byte // the begin of a record whose end has not come
	whole   []byte // a record that was completed, until it is committed
	upgrade []byte // records of older versions as v3, until they are committed
	runs    []journal.Run
	pending int    // records in runs
	held    []byte // records that the journal could not take yet, v3
}

type ingestPhase uint8

const (
	phaseLines ingestPhase = iota
	phaseMetadata
	phaseRecords
	phaseEnded
)

// maxRuns bounds the runs of one commit; a buffer that alternates between
// schemas more often makes several.
const maxRuns = 1024

// upgradeBuffer holds what one read buffer of older records becomes.
const upgradeBuffer = 2 * readBuffer

// producerLine bounds a line of a producer's text phase, in bytes.
const producerLine = 4 << 10

func (in *ingest) init(p *producer) {
	in.p = p
	in.asked.Store(true)
	in.declared = feed.SchemaNone
	in.runs = make([]journal.Run, 0, 64)
	in.partial = make([]byte, 0, feed.MaxRecordSize)
	in.whole = make([]byte, 0, feed.MaxRecordSize)
}

// unfinished is how many bytes of a record came without the rest.
func (in *ingest) unfinished() int { return len(in.partial) }

// consume takes the next bytes. It returns how many it took; fewer only with an
// error. ErrNotReady and ErrDiskFull mean: wait, then go on with the rest.
// After any other error the session is over; what came before it is committed.
func (in *ingest) consume(b []byte) (n int, err error) {
	if err := in.retryHeld(); err != nil {
		return 0, err
	}
	in.entries = 0
	for n < len(b) {
		if in.tired() {
			err = in.rest()
			break
		}
		var k int
		switch in.phase {
		case phaseLines:
			k, err = in.line(b[n:])
		case phaseMetadata:
			k, err = in.metadata(b[n:])
		case phaseRecords:
			k, err = in.records(b[n:])
		case phaseEnded:
			k = len(b) - n
		}
		n += k
		if err != nil {
			break
		}
	}
	if err = in.commit(err); err == nil && in.phase == phaseEnded {
		in.ended.Store(true) // only now: the last ack counts what has just been committed
	}
	if len(in.text)+len(in.header) > 0 && !in.watched.Swap(true) {
		in.p.watchText()
	}
	return n, err
}

// textEnded notes that a line or the metadata is complete.
func (in *ingest) textEnded() {
	if in.watched.Swap(false) {
		in.p.text.Stop()
	}
}

// line takes one line of the text phase.
func (in *ingest) line(b []byte) (int, error) {
	line, n, err := lsg.CutLine(b)
	if err != nil || n == 0 && len(in.text)+len(b) > producerLine || len(in.text)+len(line) > producerLine {
		return 0, &refusal{code: lsg.CodeLimit, text: fmt.Sprintf("a line longer than %d bytes before start_session", producerLine)}
	}
	if n == 0 {
		in.text = append(in.text, b...)
		return len(b), nil
	}
	text := string(in.text) + string(line)
	switch {
	case lsg.IsStartSession(text):
		in.phase = phaseMetadata
	case lsg.IsInstrument(text):
		if err := in.instrument(text); err != nil {
			return 0, err // nothing is taken of a line that has to wait
		}
	default:
		if err := in.unknown(text); err != nil {
			return 0, err
		}
	}
	in.text = in.text[:0]
	in.textEnded()
	return n, nil
}

// instrument declares one instrument and answers with its id, or says why that
// one cannot be had: the others are no worse for it.
func (in *ingest) instrument(text string) error {
	decl, wrong := lsg.ParseInstrument(text)
	if in.known == nil && (wrong == nil || in.phase == phaseLines) { // in band a refused one changes nothing
		in.known = map[uint32]int64{}
	}
	if err := in.mayDeclare(); err != nil {
		return err
	}
	in.entries++
	if wrong != nil {
		in.declarations++
		in.p.refuseInstrument(decl.Symbol, wrong)
		return nil
	}
	in.asked.Store(true)
	id, err := in.declare(decl)
	if err != nil {
		return err
	}
	in.declarations++
	in.know(id, decl)
	in.tell(id)
	reply, err := lsg.InstrumentReply{Symbol: decl.Symbol, ID: id}.Append(nil)
	if err != nil {
		return err
	}
	in.p.line(reply)
	in.asked.Store(in.phase == phaseLines)
	return nil
}

// mayDeclare bounds the lines that a session has answered.
func (in *ingest) mayDeclare() error {
	if in.declarations >= in.p.srv.limits.InstrumentsPerProducer {
		return &refusal{code: lsg.CodeLimit, text: fmt.Sprintf("more than %d instrument lines in one session", in.p.srv.limits.InstrumentsPerProducer)}
	}
	return in.p.claims.instruments.set(int64(in.declarations + 1))
}

// know takes records of an instrument from now on; also those of the ids that it
// had before its lot changed, which a producer may have to send again.
func (in *ingest) know(id uint32, decl lsg.Instrument) {
	for own := range in.p.writer.OwnIDs(decl.Symbol) {
		if _, ok := in.known[own]; ok {
			break // and so are all older ones
		}
		in.known[own] = 0
	}
	tick, _ := lsg.ParseFixed(decl.PriceIncrement) // none, or checked
	in.known[id] = tick
}

// inlineEntries is how many instruments, mappings and gaps a producer enters
// before the event loop serves the others: each is a small write to a file.
const inlineEntries = 64

// tired reports whether the others are to be served first.
func (in *ingest) tired() bool { return in.entries >= inlineEntries && !in.blocking }

// rest has the others served before the next input is taken.
func (in *ingest) rest() error {
	return in.aside(func(context.Context) error { return nil })
}

// aside has do run off the event loop before anything else is taken.
func (in *ingest) aside(do func(context.Context) error) error {
	if in.blocking {
		return do(in.p.srv.ctx)
	}
	return &offLoop{do: do}
}
