package journal

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// aCut is what is said of records that an opening takes out of a tape.
type aCut struct {
	schema          string
	from, to, whole uint64
	gap             bool // readers are told
}

// foretold is the cuts that a report names, those of which nothing is there among its notes.
func foretold(r Report) (cuts []aCut) {
	for _, p := range slices.Concat(r.Problems, r.Notes) {
		c := aCut{schema: p.Tape}
		if _, err := fmt.Sscanf(p.Text, "the next start cuts records %d to %d, of which %d", &c.from, &c.to, &c.whole); err == nil {
			c.gap = strings.Contains(p.Text, "as a gap")
			cuts = append(cuts, c)
		} else if _, err := fmt.Sscanf(p.Text, "records %d to %d are gone, and the next start", &c.from, &c.to); err == nil {
			c.gap = true
			cuts = append(cuts, c)
		}
	}
	return cuts
}

// toldCuts is the cuts that a ledger has, in the words of a report.
func toldCuts(gaps []Gap) (cuts []aCut) {
	for _, g := range gaps {
		if g.Cause == CauseCut {
			at := seqIn(g.At, g.Schema)
			cuts = append(cuts, aCut{schema: g.Schema.String(), from: at, to: at + g.Records, gap: true})
		}
	}
	return cuts
}

// killedJournal is what a kill left: of trades 70 records and of mbp-1 30 that the sync log vouches for, and as many again, or some more, that were acknowledged as
// written. pages is the state page as it was long before the sync, and after it.
func killedJournal(t *testing.T, more int) (disk *MemDisk, pages [2][]byte) {
	t.Helper()
	disk = NewMemDisk()
	j, err := Open("j", memOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	n := uint64(0)
	publish := func(batches int) {
		for range batches {
			mustAppend(t, w, Run{trades, records(trades, 1, n, 7)}, Run{mbp1, records(mbp1, 1, n+7, 3)})
			n += 10
		}
	}
	publish(5)
	pages[0] = contents(disk, path.Join("j", testDataset, stateName))
	publish(5)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	pages[1] = contents(disk, path.Join("j", testDataset, stateName))
	publish(more)
	abandon(j)
	return disk, pages
}

// TestVerifyForetellsWhatTheNextStartCuts: a kill loses nothing, but where the state page is gone or hurt nobody knows that, and the opening cuts what was acknowledged
// as written. Who verifies before it must not be told that everything is whole.
func TestVerifyForetellsWhatTheNextStartCuts(t *testing.T) {
	state := path.Join("j", testDataset, stateName)
	put := func(d *MemDisk, page []byte) {
		n := d.node(state)
		n.data, n.given = page, nil
		d.restamp(n)
	}
	for name, hurt := range map[string]func(d *MemDisk, pages [2][]byte){
		"gone":           func(d *MemDisk, _ [2][]byte) { sure(d.Remove(state)) },
		"hurt":           func(d *MemDisk, _ [2][]byte) { d.node(state).data[20] ^= 1 },
		"hurt in counts": func(d *MemDisk, _ [2][]byte) { d.node(state).data[stateStreams+8] ^= 1 },
		"a directory":    func(d *MemDisk, _ [2][]byte) { sure(d.Remove(state)); sure(d.Mkdir(state)) },
		"older than the sync log": func(d *MemDisk, pages [2][]byte) {
			put(d, pages[0])
		},
		"as old as the sync log": func(d *MemDisk, pages [2][]byte) { put(d, pages[1]) },
	} {
		for more, whole := range map[int]map[string]uint64{0: nil, 10: {"trades": 70, "mbp-1": 30}, 200: {"trades": 1400, "mbp-1": 600}} {
			t.Run(fmt.Sprintf("%s, %d batches", name, more), func(t *testing.T) {
				disk, pages := killedJournal(t, more)
				hurt(disk, pages)
				r, err := verify(disk, "j", nil)
				if err != nil {
					t.Fatal(err)
				}
				cuts := map[string]aCut{}
				for _, c := range foretold(r) {
					cuts[c.schema] = c
				}
				for s, n := range whole {
					tail := uint64(map[string]int{"trades": 70, "mbp-1": 30}[s])
					if want := (aCut{s, tail, tail + n, n, name != "as old as the sync log"}); cuts[s] != want {
						t.Errorf("verify foretells %+v, want %+v; problems %v", cuts[s], want, r.Problems)
					}
				}
				if len(cuts) != len(whole) || len(whole) == 0 && name != "hurt" && name != "hurt in counts" && name != "a directory" && len(r.Problems) > 0 {
					t.Errorf("verify finds %v", r.Problems)
				}
				checkCuts(t, disk, cuts)
			})
		}
	}
}

func sure(err error) {
	if err != nil {
		panic(err)
	}
}

// checkCuts opens the journal: what is cut is what was foretold, and and told as a gap where that was foretold. The bytes are in quarantine.
func checkCuts(t *testing.T, disk *MemDisk, want map[string]aCut) {
	t.Helper()
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	for _, s := range []feed.Schema{trades, mbp1} {
		c, cut := want[s.String()]
		tail := map[feed.Schema]uint64{trades: 70, mbp1: 30}[s]
		if d.Tape(s).Tail() != tail || cut && tail != c.from {
			t.Errorf("%s ends with record %d, foretold is %+v", s, d.Tape(s).Tail(), c)
		}
		whole := uint64(0)
		for n, name := range inQuarantine(disk) {
			if !strings.HasPrefix(name, s.String()+".") {
				continue
			}
			info, err := readSegmentInfo(&memFile{disk: disk, node: n, name: name}, name)
			if err != nil {
				t.Fatal(err)
			}
			b := n.data[info.header:]
			whole += uint64(wholeRecords(b, s, info.recordSize)) - (max(c.from, info.base) - info.base)
		}
		if whole != c.whole {
			t.Errorf("%s: %d records are in quarantine, foretold were %+v", s, whole, c)
		}
	}
	foretold := slices.Collect(maps.Values(want))
	if err := sameCuts(foretold, nil, toldCuts(d.Gaps())); err != nil {
		t.Error(err)
	}
}

// What is no loss is no problem: a journal that was closed, one that was killed in mid-batch, and one that a gateway has open.
func TestVerifyForetellsNoCutWhereNothingIsLost(t *testing.T) {
	state := path.Join("j", testDataset, stateName)
	for name, left := range map[string]func(t *testing.T) *MemDisk{
		"closed, and the page is gone": func(t *testing.T) *MemDisk {
			disk, _ := killedJournal(t, 10)
			sure(open(t, "j", memOptions(disk)).Close())
			sure(disk.Remove(state))
			return disk
		},
		"killed": func(t *testing.T) *MemDisk {
			disk, _ := killedJournal(t, 10)
			return disk
		},
		"killed in mid-batch": func(t *testing.T) *MemDisk {
			disk, _ := halfBatch(t)
			return disk
		},
		"a container that was killed in mid-batch": func(t *testing.T) *MemDisk {
			disk, _ := halfBatch(t)
			disk.mount++
			return disk
		},
		"open": func(t *testing.T) *MemDisk {
			disk, _ := killedJournal(t, 10)
			open(t, "j", memOptions(disk))
			return disk
		},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := verify(left(t), "j", nil); err != nil || len(r.Problems) > 0 {
				t.Errorf("verify: %v, problems %v", err, r.Problems)
			}
		})
	}
}

// TestHurtSideLogIsNoForetoldCut: a side log that ends before the place that the state page knows costs its own entries alone where no power cut came between, and that of the streams
// costs no record anywhere. Who is told of a cut would put an older state page in the place of the true one.
func TestHurtSideLogIsNoForetoldCut(t *testing.T) {
	for _, name := range []string{symbolsName, ledgerName, streamsName} {
		for how, hurt := range map[string]func(disk *MemDisk, n *memNode) *MemDisk{
			"cut":     func(disk *MemDisk, n *memNode) *MemDisk { n.data = n.data[:len(n.data)-3]; return disk },
			"flipped": func(disk *MemDisk, n *memNode) *MemDisk { n.data[len(n.data)-3] ^= 1; return disk },
			"cut where it is on disk, in a copy": func(disk *MemDisk, n *memNode) *MemDisk {
				if name == streamsName {
					n.data = n.data[:sideHeader2+10]
				}
				return disk.Clone(true)
			},
		} {
			t.Run(name+" is "+how, func(t *testing.T) {
				disk := NewMemDisk()
				j, err := Open("j", memOptions(disk))
				sure(err)
				d := create(t, j)
				w := openWriter(t, d, "p", "s")
				mustAppend(t, w, Run{trades, records(trades, 1, 0, 70)})
				sure(d.Sync())
				sure(w.Map(1, "ONE"))
				sure(w.Gap(Gap{Schema: trades, FromTs: 1, ToTs: 2, Cause: CauseUpstream}))
				openWriter(t, d, "p2", "s2")
				mustAppend(t, w, Run{trades, records(trades, 1, 70, 70)})
				abandon(j)
				disk = hurt(disk, disk.node(path.Join("j", testDataset, name)))
				r, err := verify(disk, "j", nil)
				sure(err)
				tape := open(t, "j", memOptions(disk)).Lookup(testDataset).Tape(trades)
				if cuts := foretold(r); tape.Tail() != 140 || len(cuts) > 0 || tape.Holes() != nil {
					t.Errorf("foretold is %+v; the tail is %d, holes %v", cuts, tape.Tail(), tape.Holes())
				}
			})
		}
	}
}

// TestTapeWhoseDirectoryIsGoneIsToldAsCut: where the page that counts its records is not trusted, what the sync log does not vouch for is in no file and must be in a gap, as verify foretells.
func TestTapeWhoseDirectoryIsGoneIsToldAsCut(t *testing.T) {
	disk, _ := killedJournal(t, 10)
	flipStored(t, disk, "mbp-1", 35)
	disk.mu.Lock()
	delete(disk.node(path.Join("j", testDataset)).children, "trades")
	disk.mu.Unlock()
	r, err := verify(disk, "j", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	told := toldCuts(d.Gaps())
	if err := sameCuts(foretold(r), nil, told); err != nil || !slices.Contains(told, aCut{schema: "trades", from: 70, to: 140, gap: true}) {
		t.Errorf("told is %+v: %v", told, err)
	}
}

// TestASegmentThatIsThereTwiceIsForetoldOnce: its file in use was copied beside it as a sealed one.
func TestASegmentThatIsThereTwiceIsForetoldOnce(t *testing.T) {
	disk, _ := killedJournal(t, 10)
	sure(disk.Remove(path.Join("j", testDataset, stateName)))
	from, to := path.Join("j", testDataset, "trades", "00000001.tape"), path.Join("j", testDataset, "trades", "00000001.dbn")
	b := contents(disk, from)
	sure(writeWhole(disk, to, func(f File) error {
		_, err := f.WriteAt(b, 0)
		return err
	}))
	r, err := verify(disk, "j", nil)
	if want := (aCut{"trades", 70, 140, 70, true}); err != nil || !slices.Contains(foretold(r), want) {
		t.Errorf("foretold is %+v, want %+v: %v", foretold(r), want, err)
	}
}

// TestGatewayThatStartsUnderVerifyIsNoProblem: it changes the files that are being read, so an error says nothing of them.
func TestGatewayThatStartsUnderVerifyIsNoProblem(t *testing.T) {
	disk, _ := killedJournal(t, 10)
	dir := path.Join("j", testDataset)
	v, err := loadView(disk, dir)
	sure(err)
	x := &verifier{view: v, report: &Report{}, told: map[Problem]bool{}}
	starts := true
	disk.Fault(func(op, name string) error {
		if op != "read" || path.Base(name) != ledgerName {
			return nil
		}
		disk.node(path.Join("j", lockName)).locked = starts
		return syscall.EIO
	})
	if err := x.foresee(); err != nil {
		t.Errorf("it was started meanwhile: %v", err)
	}
	disk.node(path.Join("j", lockName)).locked, starts = false, false
	if err := x.foresee(); !errors.Is(err, syscall.EIO) {
		t.Errorf("it was not: %v", err)
	}
}

// TestNoCutIsForetoldOfADatasetThatWillNotBeServed: a ledger that belongs to a later sync log says that more has expired than is there.
func TestNoCutIsForetoldOfADatasetThatWillNotBeServed(t *testing.T) {
	disk, _ := killedJournal(t, 10)
	log := path.Join("j", testDataset, syncLogName)
	older := contents(disk, log)
	d := open(t, "j", memOptions(disk)).Lookup(testDataset)
	sure(d.enterGap(nil, Gap{Schema: trades, FromTs: 1, ToTs: 2, Records: 100, Cause: CauseExpired, At: []Position{{trades, 100}}}))
	sure(d.j.Close())
	n := disk.node(log)
	n.data, n.given = older, nil
	sure(disk.Remove(path.Join("j", testDataset, stateName)))
	r, err := verify(disk, "j", nil)
	sure(err)
	told := slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.Text, "will not be served") })
	if j := open(t, "j", memOptions(disk)); j.Lookup(testDataset) != nil || !told || len(foretold(r)) > 0 {
		t.Errorf("foretold is %+v, problems %v; not served: %v", foretold(r), r.Problems, j.Damaged(testDataset))
	}
}

// TestForetoldAsWholeIsNoMoreThanWhatIsCut: records of a batch that a kill left half copied lie behind what is cut, are whole too, and were never acknowledged.
func TestForetoldAsWholeIsNoMoreThanWhatIsCut(t *testing.T) {
	for _, hurt := range []struct{ record, whole int }{{75, 10}, {-1, 0}} {
		disk := NewMemDisk()
		j, err := Open("j", memOptions(disk))
		sure(err)
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 70)})
		sure(d.Sync())
		mustAppend(t, w, Run{trades, records(trades, 1, 70, 10)})
		s := d.Tape(trades).active
		copy(s.data[s.Offset(80):], records(trades, 1, 80, 50))
		if hurt.record < 0 {
			clear(s.data[s.Offset(70):s.Offset(80)])
		}
		abandon(j)
		if hurt.record >= 0 {
			flipStored(t, disk, "trades", hurt.record)
		}
		r, err := verify(disk, "j", nil)
		sure(err)
		want := []aCut{{schema: "trades", from: 70, to: 80, whole: uint64(hurt.whole), gap: true}}
		if got := foretold(r); !slices.Equal(got, want) {
			t.Errorf("foretold is %+v, want %+v: %v", got, want, r.Notes)
		}
		d = open(t, "j", memOptions(disk)).Lookup(testDataset)
		if err := sameCuts(foretold(r), nil, toldCuts(d.Gaps())); err != nil {
			t.Error(err)
		}
	}
}

// flipStored flips a bit in a record of a tape's first segment.
func flipStored(t *testing.T, disk *MemDisk, schema string, record int) {
	t.Helper()
	name := path.Join("j", testDataset, schema, "00000001.tape")
	n := disk.node(name)
	info, err := readSegmentInfo(&memFile{disk: disk, node: n, name: name}, name)
	if err != nil {
		t.Fatal(err)
	}
	n.data[info.header+int64(record*info.recordSize)+17] ^= 1
}

// foretell asks verify what the next opening of the world's journal cuts; the ledger's cuts so far are told.
func (w *world) foretell() (cuts, told []aCut, err error) {
	v, err := loadView(w.disk, path.Join("j", testDataset))
	if err != nil {
		return nil, nil, err
	}
	gaps, err := parseGaps(v.gaps)
	if err != nil {
		return nil, nil, err
	}
	r, err := verify(w.disk, "j", nil)
	return foretold(r), toldCuts(gaps), err
}

// sameCuts holds what was foretold against what a ledger tells, beyond what it told before: nothing else, and nothing less.
func sameCuts(foretold, before, told []aCut) error {
	for i := range foretold {
		foretold[i].whole = 0
		if c := foretold[i]; c.gap && !slices.Contains(told, c) {
			return fmt.Errorf("foretold was a cut of %+v, the ledger has %+v", c, told)
		}
	}
	for _, c := range told {
		if !slices.Contains(before, c) && !slices.Contains(foretold, c) {
			return fmt.Errorf("the opening cut %+v, foretold were %+v", c, foretold)
		}
	}
	return nil
}
