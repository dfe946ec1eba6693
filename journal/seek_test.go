package journal

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"github.com/tapewire/tapewire/feed"
)

// modelSeek is Seek without an index.
func modelSeek(tape []byte, s feed.Schema, c feed.Clock, ts uint64) uint64 {
	size := s.RecordSize()
	for i := 0; i*size < len(tape); i++ {
		r := feed.Record(tape[i*size : (i+1)*size])
		at := r.TsEvent()
		switch c {
		case feed.ClockRecv:
			at = r.TsRecv()
		case feed.ClockReplay:
			at = s.ReplayTime(r)
		}
		if at != undefTime && at >= ts {
			return uint64(i)
		}
	}
	return uint64(len(tape) / size)
}

func TestSeekFindsWhatAScanWouldFind(t *testing.T) {
	// Times in a narrow range, so that there are ties, and out of order; some undefined. Blocks hold 1365 trades: the tape has several, sealed and not.
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.SampledFrom(allSchemas()).Draw(rt, "schema")
		size := s.RecordSize()
		disk := NewMemDisk()
		o := Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: rapid.SampledFrom([]int64{smallestSegment, 256 << 10}).Draw(rt, "segment")}
		j := open(t, "j", o)
		defer j.Close()
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		n := rapid.IntRange(1, 5000*48/size).Draw(rt, "records")
		drift := rapid.IntRange(0, 3).Draw(rt, "drift")
		seed := rapid.Uint64().Draw(rt, "seed")
		var tape []byte
		for i := range n {
			r := record(s, 1, 0)
			for _, off := range []int{eventOffset, s.TsRecvOffset()} {
				if off < 0 {
					continue
				}
				seed = seed*6364136223846793005 + 1442695040888963407
				ts := uint64(i*drift) + seed>>33%100
				if seed>>40%7 == 0 {
					ts = undefTime
				}
				binary.LittleEndian.PutUint64(r[off:], ts)
			}
			if off := s.FlagsOffset(); off >= 0 {
				r[off] = byte(feed.FlagLast)
				if seed>>45%50 == 0 {
					r[off] |= byte(feed.FlagSnapshot)
				}
			}
			tape = append(tape, r...)
		}
		cut := rapid.IntRange(0, n).Draw(rt, "synced") * size
		mustAppend(t, w, Run{s, tape[:cut]})
		if err := d.Sync(); err != nil { // lets the sealer run, while we go on
			t.Fatal(err)
		}
		mustAppend(t, w, Run{s, tape[cut:]})
		if rapid.Bool().Draw(rt, "restart") {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, "j", o)
			defer j.Close()
			d = j.Lookup(testDataset)
		}
		for range 30 {
			c := rapid.SampledFrom([]feed.Clock{feed.ClockEvent, feed.ClockRecv, feed.ClockReplay}).Draw(rt, "clock")
			ts := rapid.Uint64Range(0, uint64(n*drift+110)).Draw(rt, "ts")
			got, err := d.Tape(s).Seek(c, ts)
			if want := modelSeek(tape, s, c, ts); err != nil || got != want {
				rt.Fatalf("seek %s by %v to %d: %d, %v; a scan finds %d", s, c, ts, got, err, want)
			}
		}
	})
}

func allSchemas() (list []feed.Schema) {
	for s := range feed.Schema(feed.NumSchemas) {
		list = append(list, s)
	}
	return list
}

func TestLostOrDamagedIndexIsMadeAgain(t *testing.T) {
	disk := NewMemDisk()
	o := Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment}
	j := open(t, "j", o)
	d := create(t, j)
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 2000)})
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	dir := d.Tape(trades).dir
	if err := disk.Remove(segmentPath(dir, 1, indexSuffix)); err != nil {
		t.Fatal(err)
	}
	disk.node(segmentPath(dir, 2, indexSuffix)).data[50] ^= 1
	disk.node(segmentPath(dir, 3, indexSuffix)).data[indexHeader+9] ^= 1
	d = open(t, "j", o).Lookup(testDataset)
	for ts := uint64(0); ts < 2000; ts += 7 {
		if seq, err := d.Tape(trades).Seek(feed.ClockEvent, ts); seq != ts || err != nil {
			t.Fatalf("seek to %d finds %d, %v", ts, seq, err)
		}
	}
	if r, err := verify(disk, "j", nil); err != nil || len(r.Problems) > 0 || r.Tapes[0].Blocks == 0 {
		t.Errorf("verify after repair: %+v, %v", r, err)
	}
}

// sealAll syncs and waits until every full segment of the tape is sealed.
func sealAll(t testing.TB, d *Dataset, s feed.Schema) {
	t.Helper()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	tape := d.Tape(s)
	eventually(t, "sealing", func() bool {
		for _, seg := range *tape.segs.Load() {
			if seg.limit < tape.Tail() && !seg.sealed.Load() {
				d.sealer.kick()
				return false
			}
		}
		return true
	})
}

// TestSeekInASegmentThatWasLeftForANewFileMissesNothing: a seek that holds an older list of segments opens one without a mapping.
func TestSeekInASegmentThatWasLeftForANewFileMissesNothing(t *testing.T) {
	const n = 5000
	d := create(t, open(t, "j", Options{Disk: NewMemDisk(), MinSegment: 1 << 20}))
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, n)})
	in := (*d.Tape(trades).segs.Load())[0]
	left := &Segment{tape: in.tape, ordinal: in.ordinal, base: in.base, header: in.header, limit: in.limit}
	if err := left.pin(true); err != nil {
		t.Fatal(err)
	}
	defer left.Release()
	for _, ts := range []uint64{0, 100, 3000, n - 1} {
		if seq, ok, err := left.seek(feed.ClockEvent, ts, n); seq != ts || !ok || err != nil {
			t.Errorf("time %d is found at %d, %v, %v", ts, seq, ok, err)
		}
	}
}
