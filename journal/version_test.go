package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// goldenWant is what must be found in a golden directory.
type goldenWant struct {
	name    string
	killed  bool     // the files are those that a killed process left, on the boot that it ran on
	epochs  []Epoch  // their times apart
	entered [3]int   // when a mapping, a gap and an epoch were, in seconds
	gaps    []string // cause, records and where they lie
	tails   [2]uint64
	cuts    []string  // what verify says that the first opening takes
	digests [2]string // SHA-256 of the records, from the day the directory was made
}

// goldenWants are of one journal: closed properly, and copied while it was open. The copy has records that no sync covered: elsewhere they are cut, and
// the sync log says where; for the machine that wrote them they are there, and the state page says so.
var goldenWants = []goldenWant{
	{
		name:    "v1-closed",
		entered: [3]int{14, 11, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}, {Number: 3, First: []Position{{mbp1, 620}, {trades, 1040}}}},
		gaps:    []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]"},
		tails:   [2]uint64{1040, 620},
		digests: [2]string{"49e22e49e20752837ce9225f02b817d99a46db7e0092f435ce01f7afa7c0be9c",
			"8f55d72e8a15be5e14139dde0c2b8856208e4912d57c1681b1ba9d6761d9db32"},
	},
	{
		name:    "v1-running",
		entered: [3]int{14, 11, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}, {Number: 3, First: []Position{{mbp1, 600}, {trades, 1000}}}},
		gaps: []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]",
			"cut 20 [{mbp-1 600}]", "cut 40 [{trades 1000}]"},
		tails: [2]uint64{1000, 600},
		cuts:  []string{"the next start cuts records 600 to 620, of which 20 are there and whole", "the next start cuts records 1000 to 1040, of which 40 are there and whole"},
		digests: [2]string{"884cea6499203241fd0d77bfa6b85f39bd2bc3244db724e1dd89bc78664af925",
			"3fa04409b80b36e7770e97fa5ededc5bef14e391666432335da2f8741ab53806"},
	},
	{
		name: "v1-running", killed: true,
		entered: [3]int{14, 11, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}},
		gaps:    []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]"},
		tails:   [2]uint64{1040, 620},
		digests: [2]string{"49e22e49e20752837ce9225f02b817d99a46db7e0092f435ce01f7afa7c0be9c",
			"8f55d72e8a15be5e14139dde0c2b8856208e4912d57c1681b1ba9d6761d9db32"},
	},
	// Version 2 has sums in the state page: nothing is cut elsewhere either, and another epoch begins there.
	{
		name:    "v2-closed",
		entered: [3]int{18, 13, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}, {Number: 3, First: []Position{{mbp1, 620}, {trades, 1040}}}},
		gaps:    []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]"},
		tails:   [2]uint64{1040, 620},
		digests: [2]string{"49e22e49e20752837ce9225f02b817d99a46db7e0092f435ce01f7afa7c0be9c",
			"8f55d72e8a15be5e14139dde0c2b8856208e4912d57c1681b1ba9d6761d9db32"},
	},
	{
		name:    "v2-running",
		entered: [3]int{18, 13, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}, {Number: 3, First: []Position{{mbp1, 620}, {trades, 1040}}}},
		gaps:    []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]"},
		tails:   [2]uint64{1040, 620},
		digests: [2]string{"49e22e49e20752837ce9225f02b817d99a46db7e0092f435ce01f7afa7c0be9c",
			"8f55d72e8a15be5e14139dde0c2b8856208e4912d57c1681b1ba9d6761d9db32"},
	},
	{
		name: "v2-running", killed: true,
		entered: [3]int{18, 13, 1},
		epochs:  []Epoch{{Number: 1}, {Number: 2, First: []Position{{mbp1, 100}, {trades, 300}}}},
		gaps:    []string{"upstream 9 [{mbp-1 100} {trades 300}]", "cut 10 [{mbp-1 100}]", "cut 20 [{trades 300}]"},
		tails:   [2]uint64{1040, 620},
		digests: [2]string{"49e22e49e20752837ce9225f02b817d99a46db7e0092f435ce01f7afa7c0be9c",
			"8f55d72e8a15be5e14139dde0c2b8856208e4912d57c1681b1ba9d6761d9db32"},
	},
}

var goldenSchemas = [2]feed.Schema{trades, mbp1}

// TestGoldenFilesOfVersions1And2StayReadable opens what an earlier tapewire left on a disk. When it fails, a format has changed and its version has not, or old
// versions are not read any more: users would lose their tapes.
func TestGoldenFilesOfVersions1And2StayReadable(t *testing.T) {
	if *updateGolden {
		makeGolden(t)
	}
	onDisks(t, func(t *testing.T, dir string, disk Disk) {
		for i, want := range goldenWants {
			dir := fmt.Sprint(dir, i)
			unpackGolden(t, disk, dir, want.name)
			if mem, ok := disk.(*MemDisk); want.killed && ok {
				id, _, err := checkState(contents(mem, path.Join(dir, testDataset, stateName)))
				if err != nil {
					t.Fatal(err)
				}
				mem.boot, mem.node(path.Join(dir, testDataset, stateName)).inode = uint64(id.BootID[0]), id.Inode
			} else if want.killed {
				continue // nobody can take a real machine back there
			}
			want.use(t, disk, dir)
		}
	})
}

// use opens the journal, looks at everything, appends, and looks again.
func (want *goldenWant) use(t *testing.T, disk Disk, dir string) {
	t.Helper()
	wholeIn(t, disk, dir, want.cuts...)
	o := Options{Disk: disk, AnyFilesystem: true, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, nextEpoch: followingEpoch}
	j := open(t, dir, o)
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatal(j.Damaged(testDataset))
	}
	want.check(t, d, want.tails)
	tails := want.tails
	for i, s := range goldenSchemas { // over the end of the segment in use
		w := openWriter(t, d, [2]string{"feed-a", "feed-b"}[i], [2]string{"trades", "quotes"}[i])
		if w.Accepted() != tails[i] || w.Synced() != tails[i] {
			t.Errorf("%s: %s counts %d records, %d synced, want %d", want.name, s, w.Accepted(), w.Synced(), tails[i])
		}
		mustAppend(t, w, Run{s, goldenRecords(s, 1, tails[i], 700)})
		sealAll(t, d, s)
		tails[i] += 700
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wholeIn(t, disk, dir)
	want.check(t, open(t, dir, o).Lookup(testDataset), tails)
	decodeSealed(t, disk, path.Join(dir, testDataset))
}

// wholeIn says that Verify and Inspect find nothing wrong, but for what an opening would cut.
func wholeIn(t *testing.T, disk Disk, dir string, cuts ...string) {
	t.Helper()
	r, err := verify(disk, dir, nil)
	asTold := func(p Problem, cut string) bool { return strings.HasPrefix(p.Text, cut) }
	if err != nil || !slices.EqualFunc(r.Problems, cuts, asTold) || len(r.Tapes) != 2 || r.Tapes[0].Blocks == 0 || r.Tapes[0].Ranges == 0 {
		t.Errorf("verify %s: %+v, %v", dir, r, err)
	}
	list, err := inspect(disk, dir)
	if err != nil || len(list) != 1 || list[0].Problem != "" || len(list[0].Streams) != 2 {
		t.Errorf("inspect %s: %+v, %v", dir, list, err)
	}
}

// check looks at a dataset whose tapes have grown to tails.
func (want *goldenWant) check(t *testing.T, d *Dataset, tails [2]uint64) {
	t.Helper()
	epochs := slices.Clone(d.Epochs())
	for i := range epochs {
		epochs[i].Time = 0
	}
	if fmt.Sprint(epochs) != fmt.Sprint(want.epochs) || d.Epoch() != epochs[len(epochs)-1].Number {
		t.Errorf("%s: epoch %d of %v, want %v", want.name, d.Epoch(), epochs, want.epochs)
	}
	var gaps []string
	for _, g := range d.Gaps() {
		gaps = append(gaps, fmt.Sprint(g.Cause, " ", g.Records, " ", g.At))
	}
	if !slices.Equal(gaps, want.gaps) {
		t.Errorf("%s: gaps %q, want %q", want.name, gaps, want.gaps)
	}
	for i, s := range goldenSchemas {
		b, err := readTape(d.Tape(s))
		if err != nil || len(b) != int(tails[i])*s.RecordSize() || d.Tape(s).First() != 0 {
			t.Fatalf("%s: %s has %d bytes of records from %d on, %v", want.name, s, len(b), d.Tape(s).First(), err)
		}
		if sum := sha256.Sum256(b[:int(want.tails[i])*s.RecordSize()]); hex.EncodeToString(sum[:]) != want.digests[i] {
			t.Errorf("%s: the records of %s are not what was written", want.name, s)
		}
		for seq := uint64(0); seq < tails[i]; seq += 77 {
			if got, err := d.Tape(s).Seek(feed.ClockRecv, goldenAt(seq)); err != nil || got != seq {
				t.Errorf("%s: %s: time of record %d is found at %d, %v", want.name, s, seq, got, err)
			}
		}
	}
	in := d.Symbols().At(0).Instrument
	if want := (Instrument{"BTCUSDT", "0.01", "0.001", "USDT", "SPOT"}); d.Symbols().Len() != 3 || in != want {
		t.Errorf("%d symbols, the first %+v", d.Symbols().Len(), in)
	}
	// Each field for once: one that reads and writes another's place would not be seen otherwise.
	at := []Position{{mbp1, 400}, {trades, 950}}
	mapping := Mapping{ID: 7, Symbol: "NEWETH", Producer: "feed-b", Instrument: Instrument{Symbol: "NEWETH"}, Time: day0 + uint64(want.entered[0])*uint64(time.Second), At: at}
	gap := Gap{Schema: trades, FromTs: goldenAt(299), ToTs: goldenAt(310), FromRecord: 300, ToRecord: 309, Records: 9, Producer: "feed-a", Stream: "trades",
		Cause: "upstream", Time: day0 + uint64(want.entered[1])*uint64(time.Second), At: []Position{{mbp1, 100}, {trades, 300}}}
	if got := d.Symbols().At(2); !reflect.DeepEqual(got, mapping) || !reflect.DeepEqual(d.Gaps()[0], gap) || d.Epochs()[1].Time != day0+uint64(want.entered[2])*uint64(time.Second) {
		t.Errorf("%s: mapping %+v, gap %+v, epoch %+v", want.name, got, d.Gaps()[0], d.Epochs()[1])
	}
	for seq, symbol := range map[uint64]string{0: "ETHUSDT", 399: "ETHUSDT", 400: "NEWETH", 599: "NEWETH"} {
		if got, _ := d.Symbols().SymbolAt(7, mbp1, seq); got != symbol {
			t.Errorf("%s: instrument 7 at record %d is %q, want %s", want.name, seq, got, symbol)
		}
	}
}

// decodeSealed reads each sealed segment as any DBN tool does: together they are the tape's first records.
func decodeSealed(t *testing.T, disk Disk, dir string) {
	t.Helper()
	for i, s := range goldenSchemas {
		names, err := disk.List(path.Join(dir, s.String()))
		if err != nil {
			t.Fatal(err)
		}
		n, symbols := uint64(0), ""
		for _, name := range names {
			if path.Ext(name) != sealedSuffix {
				continue
			}
			dec, err := feed.NewDecoder(bytes.NewReader(fileBytes(t, disk, path.Join(dir, s.String(), name))))
			if err != nil {
				t.Fatal(err)
			}
			m := dec.Metadata()
			if m.Dataset != testDataset || m.Schema != s || m.Start != goldenAt(n) {
				t.Errorf("%s/%s: metadata %+v", s, name, m)
			}
			symbols += fmt.Sprint(m.Symbols)
			for r, err := range dec.Records() {
				if err != nil || r.TsEvent() != goldenAt(n) {
					t.Fatalf("%s/%s: record %d is of %v, %v", s, name, n, time.Unix(0, int64(r.TsEvent())), err)
				}
				n++
			}
		}
		if n < 700 || !strings.HasPrefix(symbols, [2]string{"[BTCUSDT]", "[ETHUSDT]"}[i]) {
			t.Errorf("%s: %d records decoded, symbols %s", s, n, symbols)
		}
	}
}

// An opening that is stopped while it makes the log that an earlier release did not have leaves nothing that the next one takes for a loss.
func TestALogThatWasHalfMadeIsNotTakenForAHurtOne(t *testing.T) {
	for stop := 1; ; stop++ {
		disk := NewMemDisk()
		unpackGolden(t, disk, "j", "v1-closed")
		steps := 0
		disk.Fault(func(op, path string) error {
			if op == "open" || op == "read" || !strings.Contains(path, outliersName) {
				return nil
			}
			if steps++; steps >= stop {
				return errors.New("stopped")
			}
			return nil
		})
		j, err := Open("j", wholeOptions(disk))
		done := err == nil && j.Damaged(testDataset) == nil
		if err == nil {
			abandon(j)
		}
		disk.Fault(nil)
		d := open(t, "j", wholeOptions(disk.Clone(true))).Lookup(testDataset)
		if d.outliers.log.gone > 0 {
			t.Errorf("stopped at step %d: %d bytes of entries are lost", stop, d.outliers.log.gone)
		}
		if done {
			return
		}
	}
}
