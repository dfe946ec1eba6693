package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tapeRecords = 300 // of one schema, over segments of 16 KiB

// writeTape makes a journal in which two streams take turns on the tapes of one dataset. alter may spoil a record.
func writeTape(t *testing.T, alter func(seq int, r []byte)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j, err := journal.Open(dir, journal.Options{AnyFilesystem: true, MinSegment: 16 << 10, MaxSegment: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	d, err := j.Create(datasets[0])
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.OpenWriter(journal.WriterOptions{Producer: "p", Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for seq := range tapeRecords {
		for _, schema := range schemas {
			r := recordAt(schema, seq)
			if alter != nil {
				alter(seq, r)
			}
			for {
				if _, err := w.Append([]journal.Run{{Schema: schema, Bytes: r}}); err == nil {
					break
				}
				if err := w.Wait(t.Context()); err != nil { // there is no room yet
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

// recordAt is what lies at seq of a tape that writeTape made.
func recordAt(schema feed.Schema, seq int) []byte {
	stream := seq % 2 * len(datasets) // both are of the first dataset
	k := dueFrom(0, schema)
	for range seq / 2 {
		k = dueFrom(k+1, schema)
	}
	return appendRecord(nil, stream, k, uint32(symbolOf(stream, k)+1))
}

func openTrack(t *testing.T, dir string) *track {
	t.Helper()
	tp, err := openTape(where{data: dir}, 0, feed.SchemaMbp1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tp.close)
	return &track{schema: feed.SchemaMbp1, tape: tp, follower: newFollower(0, feed.SchemaMbp1, newBook(), new(atomic.Int64))}
}

// receive feeds records of the tape to a track, and returns what it says to the last of them.
func receive(tr *track, seqs ...int) (err error) {
	for _, seq := range seqs {
		r := recordAt(feed.SchemaMbp1, seq)
		if tr.tsOut {
			r = feed.AppendWithTsOut(nil, r, 12345)
		}
		if err = tr.data(r); err != nil {
			return err
		}
	}
	return nil
}

func upTo(from, to int) (seqs []int) {
	for ; from < to; from++ {
		seqs = append(seqs, from)
	}
	return seqs
}

// A check that cannot fail proves nothing: each way in which a stream can be wrong is noticed.
func TestWrongStreamsAreNoticed(t *testing.T) {
	dir := writeTape(t, nil)
	epoch := openTrack(t, dir).tape.tap.Epoch()
	at := func(seq uint64) lsg.Position { return lsg.Position{Schema: "mbp-1", Epoch: epoch, Seq: seq} }
	gap := func(records, seq uint64) lsg.Gap { return lsg.Gap{Records: records, At: at(seq), HasAt: true} }
	for name, c := range map[string]struct {
		do   func(tr *track) error
		want string // in the error; "" for none
	}{
		"all":              {func(tr *track) error { return receive(tr, upTo(0, tapeRecords)...) }, ""},
		"missing":          {func(tr *track) error { return receive(tr, 0, 1, 3) }, "due was number 2"},
		"first is missing": {func(tr *track) error { return receive(tr, 1) }, "due was number 0"},
		"doubled":          {func(tr *track) error { return receive(tr, 0, 1, 1) }, "due was number 2"},
		"out of order":     {func(tr *track) error { return receive(tr, 0, 2, 1) }, "due was number 1"},
		"beyond the tape":  {func(tr *track) error { return receive(tr, append(upTo(0, tapeRecords), tapeRecords)...) }, "not on the tape"},
		"altered":          {func(tr *track) error { r := recordAt(feed.SchemaMbp1, 0); r[20] ^= 1; return tr.data(r) }, "due was number 0"},
		"ts_out":           {func(tr *track) error { tr.tsOut = true; return receive(tr, upTo(0, tapeRecords)...) }, ""},
		"no ts_out": {func(tr *track) error {
			err := receive(tr, 0)
			tr.tsOut = err == nil
			return tr.data(recordAt(feed.SchemaMbp1, 1))
		}, "due was number 1"},
		"filtered":           {func(tr *track) error { only(tr, 4); return receive(tr, 4, 5) }, ""},
		"not filtered":       {func(tr *track) error { only(tr, 4); return receive(tr, 2) }, "due was number 4"},
		"live":               {func(tr *track) error { tr.at, tr.loose = 3, 7; return receive(tr, upTo(5, 20)...) }, ""},
		"live too early":     {func(tr *track) error { tr.at, tr.loose = 3, 7; return receive(tr, 2) }, "due was number 7"},
		"live too late":      {func(tr *track) error { tr.at, tr.loose = 3, 7; return receive(tr, 8) }, "due was number 7"},
		"live, then missing": {func(tr *track) error { tr.at, tr.loose = 3, 7; return receive(tr, 4, 6) }, "due was number 5"},
		"position":           {func(tr *track) error { _ = receive(tr, 0, 1); return tr.position(at(2)) }, ""},
		"position ahead":     {func(tr *track) error { _ = receive(tr, 0, 1); return tr.position(at(3)) }, "number 2 of the tape"},
		"position behind":    {func(tr *track) error { _ = receive(tr, 0, 1); return tr.position(at(1)) }, fmt.Sprintf("told to be at %d:1, is at %d:2", epoch, epoch)},
		"epoch":              {func(tr *track) error { return tr.position(lsg.Position{Epoch: epoch + 1}) }, fmt.Sprintf("told to be at %d:0", epoch+1)},
		"skipped":            {func(tr *track) error { _ = receive(tr, 0); _ = tr.skipped(gap(9, 10)); return receive(tr, 10) }, ""},
		"skipped too few":    {func(tr *track) error { return tr.skipped(gap(9, 10)) }, "the tape has 10"},
		"skipped too many":   {func(tr *track) error { return tr.skipped(gap(11, 10)) }, "the tape has 10"},
		"skipped, filtered":  {func(tr *track) error { only(tr, 4); return tr.skipped(gap(2, 6)) }, ""},
		"replayed":           {func(tr *track) error { tr.replay, tr.goal = true, 2; _ = receive(tr, 0, 1); return tr.replayed() }, ""},
		"replayed too early": {func(tr *track) error { tr.replay, tr.goal = true, 2; _ = receive(tr, 0); return tr.replayed() }, "number 1 of the tape"},
		"replayed twice":     {func(tr *track) error { tr.replay = true; _ = tr.replayed(); return tr.replayed() }, "nobody waits"},
		"silence":            {func(tr *track) error { return tr.pass(1, "a heartbeat came") }, "a heartbeat came"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do(openTrack(t, dir))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// only lets a track want the instrument of one record. Both streams begin with each instrument once, so the record after an even one has it too.
func only(tr *track, seq int) {
	id := feed.Record(recordAt(feed.SchemaMbp1, seq)).InstrumentID()
	tr.wanted = make([]bool, id+1)
	tr.wanted[id] = true
}

// A session is through when nothing is left that it wants, and not before.
func TestSilenceIsKnown(t *testing.T) {
	tr := openTrack(t, writeTape(t, nil))
	for seq := range tapeRecords {
		if silent, err := tr.silent(); silent || err != nil {
			t.Fatalf("before record %d: silent %v, %v", seq, silent, err)
		}
		if err := receive(tr, seq); err != nil {
			t.Fatal(err)
		}
	}
	if silent, err := tr.silent(); !silent || err != nil {
		t.Errorf("silent %v, %v", silent, err)
	}
}

// What is on the tape must be what was published.
func TestWrongTapesAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(seq int, r []byte)
		want  string
	}{
		"right":       {nil, ""},
		"a hole":      {func(seq int, r []byte) { binary.LittleEndian.PutUint32(r[sequence:], 9999) }, "due was record"},
		"no stream":   {func(seq int, r []byte) { r[2] = streams + 1 }, "nobody published"},
		"other bytes": {func(seq int, r []byte) { r[20] ^= byte(seq / 100) }, "not those that were published"},
		"other id":    {func(seq int, r []byte) { r[4] += byte(seq / 200) }, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeTape(t, c.alter)
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // up to the tail
			f := newFollower(0, feed.SchemaTrades, newBook(), new(atomic.Int64))
			err := f.run(ctx, where{data: dir})
			if err == nil {
				err = f.reread(where{data: dir})
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// The record that a replay from a time begins with is found as the gateway finds it.
func TestATimeIsFound(t *testing.T) {
	dir := writeTape(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := newFollower(0, feed.SchemaTrades, newBook(), new(atomic.Int64))
	if err := f.run(ctx, where{data: dir}); err != nil {
		t.Fatal(err)
	}
	tp, err := openTape(where{data: dir}, 0, feed.SchemaTrades)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.close()
	tap, err := journal.OpenTap(dir, datasets[0], feed.SchemaTrades)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	for seq := range tapeRecords {
		ts := feed.Record(recordAt(feed.SchemaTrades, seq)).TsEvent()
		if err := tap.SeekTime(feed.ClockEvent, ts); err != nil {
			t.Fatal(err)
		}
		if got, err := f.find(tp, ts, 0); got != tap.Seq() || err != nil {
			t.Errorf("the time of record %d is at %d, want %d: %v", seq, got, tap.Seq(), err)
		}
	}
}
