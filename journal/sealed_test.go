package journal

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// day0 is 2026-11-20 00:00 UTC in ns.
var day0 = uint64(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC).UnixNano())

// dayRecords makes records of instrument id, one an hour from the given hour on.
func dayRecords(s feed.Schema, id uint32, hour, n int) []byte {
	b := records(s, id, 0, n)
	for i := range n {
		r := b[i*s.RecordSize():]
		ts := day0 + uint64(hour+i)*uint64(time.Hour)
		binary.LittleEndian.PutUint64(r[8:], ts)
		if off := s.TsRecvOffset(); off >= 0 {
			binary.LittleEndian.PutUint64(r[off:], ts)
		}
		r[28], r[29] = 'T', 'A'
	}
	return b
}

func TestSealedSegmentIsADBNFileWithItsSymbols(t *testing.T) {
	dir := t.TempDir()
	if keep := os.Getenv("TAPEWIRE_KEEP"); keep != "" {
		dir = keep // for a look with other DBN tools
	}
	j := open(t, dir, Options{MinSegment: smallestSegment, MaxSegment: smallestSegment})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	for id, symbol := range map[uint32]string{1: "BTCUSDT", 2: "ETHUSDT"} {
		if err := w.Map(id, symbol); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, w, Run{trades, dayRecords(trades, 1, 0, 30)}, Run{trades, dayRecords(trades, 2, 3, 30)})
	if err := w.Map(2, "NEWETH"); err != nil { // on the second day
		t.Fatal(err)
	}
	sent := append(dayRecords(trades, 1, 0, 30), dayRecords(trades, 2, 3, 30)...)
	more := dayRecords(trades, 2, 33, 400)
	mustAppend(t, w, Run{trades, more})
	sent = append(sent, more...)
	sealAll(t, d, trades)

	path := filepath.Join(dir, testDataset, "trades", "00000001.dbn")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := feed.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := f.Metadata()
	n := (int(st.Size()) - headerUnit) / trades.RecordSize()
	if int(st.Size()) != headerUnit+n*trades.RecordSize() || uint64(n) != (*d.Tape(trades).segs.Load())[0].limit {
		t.Errorf("file of %d bytes is not cut to its records", st.Size())
	}
	if m.Version != 3 || m.Dataset != testDataset || m.Schema != trades || m.Start != day0 || m.End == undefTime || m.StypeOut != feed.STypeInstrumentID {
		t.Errorf("metadata: %+v", m)
	}
	got := map[string]feed.MappingInterval{}
	for _, x := range m.Mappings {
		got[x.RawSymbol] = x.Intervals[0]
	}
	last := DayOf(day0 + uint64(33+n-60-1)*uint64(time.Hour))
	// On the second day instrument 2 has both names: by days alone nobody can say which.
	want := map[string]feed.MappingInterval{"BTCUSDT": {StartDate: 20261120, EndDate: 20261122, Symbol: "1"},
		"ETHUSDT": {StartDate: 20261120, EndDate: 20261121, Symbol: "2"}, "NEWETH": {StartDate: 20261122, EndDate: (last + 1).Date(), Symbol: "2"}}
	for symbol, interval := range want {
		if got[symbol] != interval {
			t.Errorf("%s is mapped %+v, want %+v", symbol, got[symbol], interval)
		}
	}
	var back []byte
	for {
		r, err := f.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, r...)
	}
	if string(back) != string(sent[:n*trades.RecordSize()]) {
		t.Error("decoded records are not the ones that were sent")
	}
}

func TestSegmentThatHasNoRoomForAllSymbolsNamesThoseThatFit(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment})
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	const n = 600
	var b []byte
	for id := uint32(1); id <= n; id++ {
		if err := w.Map(id, "S"+strconv.Itoa(int(id))); err != nil {
			t.Fatal(err)
		}
		b = append(b, record(trades, id, 1)...)
	}
	mustAppend(t, w, Run{trades, b})
	sealAll(t, d, trades)
	path := segmentPath(d.Tape(trades).dir, 1, sealedSuffix)
	m, err := feed.ParseMetadata(contents(disk, path))
	if want := (headerUnit - metadataBytes - segmentHeader) / symbolBytes; err != nil || len(m.Mappings) != want || m.Schema != trades {
		t.Errorf("%d mappings in a header with room for %d, %v", len(m.Mappings), want, err)
	}
	for _, x := range m.Mappings {
		if x.RawSymbol != "S"+x.Intervals[0].Symbol {
			t.Errorf("%s is mapped %+v", x.RawSymbol, x.Intervals)
		}
	}
}

// All symbols of a wide universe trade all the time: each finished file names each of its records.
func TestFinishedFilesOfAWideUniverseNameEveryRecord(t *testing.T) {
	for _, n := range []int{20_000, 200_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			if n > 20_000 && testing.Short() {
				t.Skip("half a gigabyte of records")
			}
			j := open(t, t.TempDir(), Options{Sync: SyncPolicy{Bytes: maxSyncBytes}})
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			list := make([]DatedMapping, n)
			var round []byte
			for i := range list {
				list[i] = DatedMapping{ID: uint32(i + 1), Symbol: "SYM" + strconv.Itoa(i+1), From: DayOf(day0), To: DayOf(day0) + 1, Kind: KindDated}
				round = append(round, dayRecords(trades, uint32(i+1), 1, 1)...)
			}
			if _, err := w.MapDated(list); err != nil {
				t.Fatal(err)
			}
			files := 0
			for files == 0 {
				mustAppend(t, w, Run{trades, round})
				if segs := *d.Tape(trades).segs.Load(); d.Tape(trades).Tail() > segs[0].limit {
					sealAll(t, d, trades)
					for _, s := range *d.Tape(trades).segs.Load() {
						if s.sealed.Load() {
							files++
						}
					}
				}
			}
			names, err := filepath.Glob(filepath.Join(d.Tape(trades).dir, "*"+sealedSuffix))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			for _, name := range names {
				f, err := feed.OpenFile(name)
				if err != nil {
					t.Fatal(err)
				}
				symbols := map[string]string{}
				for _, m := range f.Metadata().Mappings {
					symbols[m.Intervals[0].Symbol] = m.RawSymbol
				}
				records, without := 0, 0
				for {
					r, err := f.Next()
					if err != nil {
						break
					}
					id := strconv.Itoa(int(r.InstrumentID()))
					if records++; symbols[id] != "SYM"+id {
						without++
					}
				}
				f.Close()
				if records == 0 || without > 0 {
					t.Errorf("%s: %d of %d records have no name", name, without, records)
				}
			}
		})
	}
}

func TestInterruptedSealingIsFinishedByTheNextOpening(t *testing.T) {
	errGone := errors.New("power is gone")
	for stop := 0; ; stop++ {
		disk := NewMemDisk()
		o := Options{Disk: disk, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, RetryInterval: time.Hour}
		j := open(t, "j", o)
		d := create(t, j)
		mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 300)})
		d.sealer.close() // we take its place
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		steps := 0
		disk.Fault(func(op, path string) error {
			if steps++; steps > stop {
				return errGone
			}
			return nil
		})
		failed := d.sealRound()
		disk.Fault(nil)
		after := disk.Clone(stop%2 == 0)
		d.sealer = newWorker()
		go d.sealer.run(time.Hour, func() bool { return false })
		o.Disk = after
		d2 := open(t, "j", o).Lookup(testDataset)
		if err := checkStreams(d2, map[uint32]uint64{1: 300}); err != nil {
			t.Fatalf("stopped at step %d: %v", stop, err)
		}
		sealAll(t, d2, trades)
		if r, err := verify(after, "j", nil); err != nil || len(r.Problems) > 0 || r.Tapes[0].Blocks == 0 {
			t.Fatalf("stopped at step %d: %+v, %v", stop, r, err)
		}
		if !failed {
			if stop < 10 {
				t.Errorf("sealing took %d steps only: the test does not see them", stop)
			}
			return
		}
	}
}

func TestNothingIsSealedBeforeTheSyncLogVouchesForIt(t *testing.T) {
	j := open(t, "j", memOptions(NewMemDisk()))
	d := create(t, j)
	d.sealer.close() // we take its place
	mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 1000)})
	sealed := func() (n int) {
		for _, s := range *d.Tape(trades).segs.Load() {
			if s.sealed.Load() {
				n++
			}
		}
		return n
	}
	if again := d.sealRound(); again || sealed() != 0 {
		t.Errorf("%d segments sealed without a sync", sealed())
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if again := d.sealRound(); again || sealed() < 2 {
		t.Errorf("%d segments sealed after the sync", sealed())
	}
	d.sealer = newWorker()
	go d.sealer.run(time.Hour, func() bool { return false })
}
