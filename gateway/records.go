package gateway

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// records takes whole records from b and keeps the begin of the last one.
func (in *ingest) records(b []byte) (n int, err error) {
	if len(in.partial) > 0 {
		var done bool
		if n, done, err = in.complete(b); err != nil || !done {
			return n, err
		}
		in.whole = append(in.whole[:0], in.partial...)
		in.partial = in.partial[:0]
		if _, err := in.some(in.whole); err != nil {
			if again(err) { // take its last byte again, after the wait
				in.partial = append(in.partial, in.whole[:len(in.whole)-1]...)
				n--
			}
			return n, err
		}
	}
	for n < len(b) && in.phase == phaseRecords && !in.tired() {
		k, err := in.some(b[n:])
		n += k
		if err != nil {
			return n, err
		}
		if k == 0 { // less than a record is left
			in.partial = append(in.partial, b[n:]...)
			return len(b), nil
		}
	}
	return n, nil
}

// complete adds to the record that was begun; done tells that it is whole. A
// bad head is refused at once: its rest may never come.
func (in *ingest) complete(b []byte) (n int, done bool, err error) {
	size := max(int(in.partial[0])*4, feed.HeaderSize)
	n = min(size-len(in.partial), len(b))
	in.partial = append(in.partial, b[:n]...)
	if len(in.partial) < size {
		_, err = in.scan(in.partial)
	}
	return n, len(in.partial) == size, err
}

// scan gives the schema of the data record that b begins with, and refuses a
// bad one by its first two bytes. SchemaNone without an error means that it is
// a control record, one of an older version, or that the two are not there yet.
func (in *ingest) scan(b []byte) (feed.Schema, error) {
	if len(b) < 2 {
		return feed.SchemaNone, nil
	}
	if size := int(b[0]) * 4; size < feed.HeaderSize || size > feed.MaxRecordSize {
		return feed.SchemaNone, in.badLength(b)
	}
	if feed.RType(b[1]).IsControl() || in.older() {
		return feed.SchemaNone, nil
	}
	schema, n, err := feed.ScanRun(b[:min(len(b), int(b[0])*4)], in.declared)
	if err != nil && n == 0 {
		return feed.SchemaNone, in.badRecord(err)
	}
	return schema, in.checkSchema(schema)
}

// older reports whether records must be upgraded before they are checked.
func (in *ingest) older() bool { return in.version < 3 || in.tsOut }

// checkSchema holds the records to the metadata's schema.
func (in *ingest) checkSchema(schema feed.Schema) error {
	if in.declared == feed.SchemaNone || schema == in.declared {
		return nil
	}
	return in.reject(0, &refusal{
		code: lsg.CodeSchemaMismatch, want: in.declared.String(), got: schema.String(),
		text: "the record is not of the schema that the metadata declares; declare none to send several",
	})
}

// some takes one control record, or as many data records of one schema as b
// begins with. It returns how many bytes it took, also with an error: those are
// never looked at again. 0 without one means that b holds less than a record.
func (in *ingest) some(b []byte) (int, error) {
	if len(b) >= 2 && !feed.RType(b[1]).IsControl() && !in.older() {
		// A bad record behind the run is found again as the first of the rest.
		if schema, n, _ := feed.ScanRun(b, in.declared); n > 0 {
			if err := in.checkSchema(schema); err != nil {
				return 0, err
			}
			return in.take(schema, b[:n])
		}
	}
	if _, err := in.scan(b); err != nil {
		return 0, err
	}
	if len(b) < 2 || len(b) < int(b[0])*4 {
		return 0, nil
	}
	if !feed.RType(b[1]).IsControl() {
		return in.someOlder(b)
	}
	r := feed.Record(b[:int(b[0])*4])
	if err := in.control(r); err != nil {
		return 0, err
	}
	return len(r), nil
}

// someOlder upgrades one record of an older version, or one with ts_out.
func (in *ingest) someOlder(b []byte) (int, error) {
	r := feed.Record(b[:int(b[0])*4])
	// All before the upgrade: a commit gives its buffer free.
	if len(in.runs) == maxRuns || cap(in.upgrade)-len(in.upgrade) < feed.MaxRecordSize || r.RType() == feed.RTypeInstrumentDef {
		if err := in.commit(nil); err != nil {
			return 0, err
		}
	}
	at := len(in.upgrade)
	up, err := feed.Upgrade(in.upgrade, r, in.version, in.tsOut)
	if err != nil {
		return 0, in.badRecord(err)
	}
	in.upgrade = up
	schema, n, err := feed.ScanRun(up[at:], in.declared)
	if err != nil {
		return 0, in.badRecord(err)
	}
	if err := in.checkSchema(schema); err != nil {
		return 0, err
	}
	if k, err := in.take(schema, up[at:at+n]); err != nil || k == 0 {
		in.upgrade = up[:at]
		return 0, err
	}
	return len(r), nil
}

// take adds records of one schema to the commit: all, or those before the first
// that is refused. It returns how many bytes it took.
func (in *ingest) take(schema feed.Schema, run []byte) (int, error) {
	if len(in.runs) == maxRuns {
		if err := in.commit(nil); err != nil {
			return 0, err
		}
	}
	size := schema.RecordSize()
	if off := schema.TsRecvOffset(); off >= 0 && in.p.req.TsRecv != lsg.TsRecvKeep {
		stamp(run, size, off)
	}
	var refused error
	if in.known != nil {
		run, refused = in.onlyKnown(run, size)
	}
	if timed, err := in.onlyTimed(schema, run); err != nil {
		run, refused = timed, err
	}
	if schema == feed.SchemaDefinition {
		if n, err := in.define(run, size); n < len(run) {
			run, refused = run[:n], err
		}
	}
	if in.known == nil {
		if told, err := in.onlyTold(run, size); err != nil {
			run, refused = told, err
		}
	}
	if len(run) > 0 {
		in.pending += len(run) / size
		if last := len(in.runs) - 1; last >= 0 && in.runs[last].Schema == schema && adjoin(in.runs[last].Bytes, run) {
			in.runs[last].Bytes = in.runs[last].Bytes[:len(in.runs[last].Bytes)+len(run)]
		} else {
			in.runs = append(in.runs, journal.Run{Schema: schema, Bytes: run})
		}
	}
	// What was found behind pending records is numbered behind them already.
	return len(run), refused
}

// adjoin reports whether b follows a in the same buffer.
func adjoin(a, b []byte) bool {
	return cap(a)-len(a) >= len(b) && &a[:len(a)+1][len(a)] == &b[0]
}

// stamp sets ts_recv where the producer left it undefined: the time of receipt
// is ours. It happens once, before the records are on a tape.
func stamp(run []byte, size, off int) {
	var now uint64
	for at := off; at < len(run); at += size {
		if binary.LittleEndian.Uint64(run[at:]) == feed.UndefTimestamp {
			if now == 0 {
				now = uint64(time.Now().UnixNano())
			}
			binary.LittleEndian.PutUint64(run[at:], now)
		}
	}
}

// onlyTimed returns the records before the first one that no start could find,
// and the error for that: it goes by ts_event, and has none.
func (in *ingest) onlyTimed(schema feed.Schema, run []byte) ([]byte, error) {
	if schema.ReplayClock() != feed.ClockEvent {
		return run, nil // samples of a book without a trade have none, nor have some definitions
	}
	size, flags := schema.RecordSize(), schema.FlagsOffset()
	for at := 0; at < len(run); at += size {
		r := feed.Record(run[at : at+size])
		ts := r.TsEvent()
		if ts != 0 && ts != feed.UndefTimestamp || flags >= 0 && feed.Flags(r[flags])&feed.FlagSnapshot != 0 {
			continue
		}
		got := "0"
		if ts != 0 {
			got = "undefined"
		}
		return run[:at], in.reject(at/size, &refusal{
			code: lsg.CodeBadTime, want: "ts_event in ns since 1970", got: got,
			text: "a replay of " + schema.String() + " goes by ts_event, and this record has none; set it to the venue's time, or to the time of receipt",
		})
	}
	return run, nil
}

// onlyKnown holds a session that declared instruments to them: it returns the
// records before the first one of another instrument, and the error for that.
func (in *ingest) onlyKnown(run []byte, size int) ([]byte, error) {
	for at := 0; at < len(run); at += size {
		r := feed.Record(run[at : at+size])
		id := r.InstrumentID()
		tick, ok := in.known[id]
		if ok && tick > 0 && offTick(r, tick) {
			if err := in.offTick(at/size, r, tick); err != nil {
				return run[:at], err
			}
		}
		if !ok {
			return run[:at], in.reject(at/size, &refusal{
				code: lsg.CodeUnknownInstrument, got: fmt.Sprint(id),
				text: "this session declared its instruments and this id is none of them; declare it or use the id of the instrument= reply",
			})
		}
	}
	return run, nil
}

// onlyTold keeps a session that declared nothing from records of an instrument
// that the gateway gave an id to, unless it was told that id: it returns the
// records before the first such one, and the error for that.
func (in *ingest) onlyTold(run []byte, size int) ([]byte, error) {
	for at := 0; at < len(run); at += size {
		id := feed.Record(run[at : at+size]).InstrumentID()
		used := &in.used[id%toldIDs]
		if *used == uint64(id)+1 {
			continue
		}
		if symbol, ours := in.p.feed.dataset.Symbols().Allocated(id); ours {
			if _, told := in.told[id]; !told {
				return run[:at], in.reject(at/size, &refusal{
					code: lsg.CodeUnknownInstrument, got: fmt.Sprint(id),
					text: "the gateway gave this id to " + symbol + ", and this session did not say that it means that; declare it, or map the id to " + symbol + " before its records",
				})
			}
		} else if err := in.p.writer.Uses(id); err != nil {
			return run[:at], err
		}
		*used = uint64(id) + 1
	}
	return run, nil
}
