package journal

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gapAt is a report of one missing record.
func gapAt(from, to uint64) Gap {
	return Gap{Schema: trades, FromTs: from, ToTs: to, Records: 1, Cause: CauseUpstream}
}

// toldOf is how many reports, and records, the marks of trades tell of.
func toldOf(d *Dataset) (marks int, reports, missing uint64) {
	for _, m := range d.Tape(trades).Marks() {
		if m.Gap != nil {
			marks++
			reports += m.Gap.Merged + 1
			missing += m.Gap.Records
		}
	}
	return marks, reports, missing
}

// TestReportsAtOnePlaceAreOneGapAndReadersAreToldOfAll: a million reports take the room of one, and what live readers are told adds up to them.
func TestReportsAtOnePlaceAreOneGapAndReadersAreToldOfAll(t *testing.T) {
	const n = 20_000
	disk := NewMemDisk()
	o := wholeOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	w, other := openWriter(t, d, "p", "s"), openWriter(t, d, "q", "s")
	if err := appendManual(w, Run{trades, records(trades, 1, 0, 5)}); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(n) {
		if err := w.Gap(gapAt(1000-i%7, 2000+i%11)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // they have no time, are of another cause, of another producer, or lie elsewhere: none is one with another
		err := errors.Join(w.Gap(gapAt(undefTime, undefTime)), w.Gap(Gap{Schema: trades, FromTs: 1, ToTs: 2, Records: 1, Cause: "halt"}), other.Gap(gapAt(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := appendManual(w, Run{trades, records(trades, 1, 5, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Gap(gapAt(1000, 2000)); err != nil {
		t.Fatal(err)
	}
	d.tidyRound()
	if marks, reports, missing := toldOf(d); marks > gapsToldSingly+20 || reports != n+10 || missing != n+10 {
		t.Errorf("%d marks tell of %d reports and %d records, want %d", marks, reports, missing, n+10)
	}
	check := func(when string) {
		t.Helper()
		gaps := d.Gaps()
		if len(gaps) != 5 || d.Tables()[1].Used != 5 {
			t.Fatalf("%s: %d gaps, want 5", when, len(gaps))
		}
		if g := gaps[0]; g.Records != n || g.Merged != n-1 || g.FromTs != 994 || g.ToTs != 2010 || seqIn(g.At, trades) != 5 {
			t.Errorf("%s: the first is %+v", when, g)
		}
	}
	check("while open")
	if size := len(contents(disk, "j/"+testDataset+"/"+ledgerName)); size > 2*gapsSlack*100 {
		t.Errorf("the log has %d bytes", size)
	}
	abandon(j)
	d = open(t, "j", o).Lookup(testDataset)
	check("after a kill")
	if marks, reports, _ := toldOf(d); marks != 5 || reports != n+10 {
		t.Errorf("after a kill %d marks tell of %d reports", marks, reports)
	}
	if list, err := inspect(disk, "j"); err != nil || list[0].Gaps != 5 {
		t.Errorf("inspect: %+v, %v", list, err)
	}
}

// fillGaps enters gaps at places of their own until the ledger has no room for the producer.
func fillGaps(t *testing.T, w *Writer) (entered int) {
	t.Helper()
	for ; ; entered++ {
		if err := appendManual(w, Run{trades, record(trades, 1, w.Accepted())}); err != nil {
			t.Fatal(err)
		}
		if err := w.Gap(gapAt(1, 2)); errors.Is(err, ErrTableFull) {
			return entered
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullLedgerEndsNoFeedAndStopsNoOpening: one producer takes its share and no more, what cannot be entered is counted, and what a recovery must enter finds room.
func TestFullLedgerEndsNoFeedAndStopsNoOpening(t *testing.T) {
	disk := NewMemDisk()
	o := wholeOptions(disk)
	o.MaxSegment = 1 << 20
	j := open(t, "j", o)
	d := create(t, j)
	attacker, victim := openWriter(t, d, "attacker", "a"), openWriter(t, d, "victim", "v")
	if n := fillGaps(t, attacker); n != MaxProducerGaps {
		t.Errorf("one producer entered %d gaps, its share is %d", n, MaxProducerGaps)
	}
	if err := victim.Gap(gapAt(1, 2)); err != nil {
		t.Errorf("a gap of another producer: %v", err)
	}
	fillGaps(t, openWriter(t, d, "attacker2", "a"))
	if table := d.Tables()[1]; table.Used != table.Limit || d.GapsNotEntered() != 2 {
		t.Errorf("%+v, %d gaps not entered", table, d.GapsNotEntered())
	}
	w, err := d.OpenWriter(WriterOptions{Producer: "late", Stream: "l", Resume: 50, HasResume: true})
	if err != nil || w.Accepted() != 50 || w.Skipped() != 50 || d.GapsNotEntered() != 3 {
		t.Errorf("a producer that lost records is refused: %v", err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	tail := d.Tape(trades).Tail()
	if err := appendManual(victim, Run{trades, records(trades, 2, 0, 40)}); err != nil {
		t.Fatal(err)
	}
	abandon(j)
	disk = disk.Clone(true) // not on disk: a recovery cuts it
	loseBeyond(disk, 0)
	o.Disk = disk
	d = open(t, "j", o).Lookup(testDataset)
	if d == nil {
		t.Fatal("the dataset is not served")
	}
	if d.Tape(trades).Tail() > tail || d.Epoch() == 1 {
		t.Errorf("tail %d in epoch %d: nothing was cut", d.Tape(trades).Tail(), d.Epoch())
	}
	if w := openWriter(t, d, "victim", "v"); appendManual(w, Run{trades, records(trades, 2, 0, 10)}) != nil {
		t.Error("the victim cannot go on")
	}
}

// TestGapsBeforeTheFirstKeptRecordMakeRoom: and those at or behind it stay.
func TestGapsBeforeTheFirstKeptRecordMakeRoom(t *testing.T) {
	a := newAging(t, "j", NewMemDisk(), Retention{})
	for range 20 {
		a.fill(100, time.Second)
		if err := a.w.Gap(gapAt(1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := a.expireFirst(); err != nil {
			t.Fatal(err)
		}
	}
	first := a.tape().First()
	want := 0
	for _, g := range a.d.Gaps() {
		if g.isExpired() || seqIn(g.At, trades) >= first {
			want++
		}
	}
	a.d.ledger.mu.Lock()
	a.d.dropGaps()
	a.d.ledger.mu.Unlock()
	if got := a.d.Gaps(); first == 0 || len(got) != want || want > 20 || want < 2 {
		t.Fatalf("%d gaps of 20 stay from record %d on, want %d", len(got), first, want)
	}
	if err := a.d.ledger.rewrite(); err != nil {
		t.Fatal(err)
	}
	abandon(a.j)
	a.open()
	if got := a.d.Gaps(); len(got) != want || a.tape().First() != first {
		t.Errorf("%d gaps after a kill, want %d", len(got), want)
	}
}

// TestDamageAlwaysFindsRoomInTheLedger: in as many places as a bad disk has, and each opening tells the same.
func TestDamageAlwaysFindsRoomInTheLedger(t *testing.T) {
	disk := NewMemDisk()
	o := wholeOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	if err := appendManual(openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 10)}); err != nil {
		t.Fatal(err)
	}
	enter := func() {
		for i := range uint64(3 * gapsReserved) {
			at := i * 7919 % (3 * gapsReserved) * 10 // in no order
			if err := d.enterHole(d.Tape(trades), Hole{at, at + 5, CauseDamaged}); err != nil {
				t.Fatal(err)
			}
		}
	}
	enter()
	if err := d.enterGap(nil, Gap{Schema: trades, Cause: CauseCut, Records: 1, At: []Position{{trades, 3}}}); err != nil {
		t.Errorf("a recovery's entry: %v", err)
	}
	n := len(d.Gaps())
	if n > gapsReserved+2 {
		t.Errorf("%d entries, reserved are %d", n, gapsReserved)
	}
	if enter(); len(d.Gaps()) != n {
		t.Errorf("%d entries when all is told again, before %d", len(d.Gaps()), n)
	}
	if n := d.Tables()[1].Used; n != 0 {
		t.Errorf("%d entries of producers", n)
	}
}

// TestDatasetThatCannotBeOpenedStopsNoOther: and is served when what was in the way is over, without a restart.
func TestDatasetThatCannotBeOpenedStopsNoOther(t *testing.T) {
	disk := NewMemDisk()
	o := wholeOptions(disk)
	j := open(t, "j", o)
	for _, name := range []string{"A.ONE", "B.TWO"} {
		d, err := j.Create(name)
		if err == nil {
			err = appendManual(openWriter(t, d, "p", "s"), Run{trades, records(trades, 1, 0, 10)})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	abandon(j)
	disk.Fault(func(op, path string) error {
		if strings.Contains(path, "A.ONE") && (op == "create" || op == "write") {
			return syscall.EMFILE
		}
		return nil
	})
	j = open(t, "j", o)
	if j.Lookup("B.TWO") == nil || j.Lookup("A.ONE") != nil || !errors.Is(j.Damaged("A.ONE"), syscall.EMFILE) {
		t.Fatalf("served are %v, not served %v", j.Datasets(), j.AllDamaged())
	}
	if _, err := j.Create("A.ONE"); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("what is in the way still is: %v", err)
	}
	disk.Fault(nil)
	d, err := j.Create("A.ONE")
	if err != nil || openWriter(t, d, "p", "s").Accepted() != 10 || j.Damaged("A.ONE") != nil || j.Lookup("A.ONE") != d {
		t.Errorf("not served when nothing is in the way any more: %v", err)
	}
}

// TestSlotOfAForgottenStreamGivesNobodyItsOldCount: after expiry a stream makes room; the next one in its slot counts from 0, whatever a kill or a power
// cut leaves of either count.
func TestSlotOfAForgottenStreamGivesNobodyItsOldCount(t *testing.T) {
	rnd := newRand(t)
	for round := range 40 {
		disk := NewMemDisk()
		a := newAging(t, "j", disk, Retention{})
		abandon(a.j)
		a.o.streams = 4
		a.open()
		a.fill(700, time.Second)
		a.w.Close()
		for i := range 2 { // their records stay
			w := openWriter(t, a.d, "keep", fmt.Sprint("k", i))
			mustAppend(t, w, Run{mbp1, records(mbp1, 9, uint64(i)*5, 5)})
			w.Close()
		}
		last := openWriter(t, a.d, "last", "l")
		mustAppend(t, last, Run{trades, records(trades, 2, 0, 700)})
		if err := a.d.Sync(); err != nil {
			t.Fatal(err)
		}
		sealAll(t, a.d, trades)
		if _, err := a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"}); !errors.Is(err, ErrTableFull) || !strings.Contains(err.Error(), "expire") {
			t.Fatalf("a stream beyond the bound, when all are needed: %v", err)
		}
		for a.tape().First() < 700 {
			if err := a.expireFirst(); err != nil {
				t.Fatal(err)
			}
		}
		w, err := a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"})
		if err != nil || w.Accepted() != 0 || w.Synced() != 0 || w.stream.number != 0 || w.stream.base != 700 {
			t.Fatalf("the slot of a stream that is not needed: %v", err)
		}
		synced := uint64(0)
		mustAppend(t, w, Run{trades, records(trades, 3, 0, 7)})
		if round%4 > 1 {
			if err := a.d.Sync(); err != nil {
				t.Fatal(err)
			}
			synced = 7
		}
		mustAppend(t, w, Run{trades, records(trades, 3, 7, 5)})
		abandon(a.j)
		if power := round%2 == 1; power {
			disk.PowerCut(rnd)
		} else {
			synced = 12
		}
		a.j = open(t, "j", a.o)
		a.d = a.j.Lookup(testDataset)
		w, err = a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"})
		if errors.Is(err, ErrTableFull) && synced == 0 {
			abandon(a.j)
			continue // the power cut took the entry: the slot is the old stream's again
		}
		if err != nil || w.Accepted() < synced || w.Accepted() > 12 || w.Synced() != w.Accepted() {
			t.Fatalf("round %d: the new stream counts %d after 12, of which %d are on disk, %v", round, w.Accepted(), synced, err)
		}
		n := w.Accepted()
		mustAppend(t, w, Run{trades, records(trades, 3, n, 3)})
		abandon(a.j)
		a.j = open(t, "j", a.o)
		a.d = a.j.Lookup(testDataset)
		if got := openWriter(t, a.d, "new", "n").Accepted(); got != n+3 || a.d.Epoch() < 1 {
			t.Fatalf("round %d: %d after a second kill, want %d", round, got, n+3)
		}
		abandon(a.j)
	}
}

// TestStreamsOfAnEarlierProcessMakeRoomToo: when all that was there at the opening has expired, and no earlier.
func TestStreamsOfAnEarlierProcessMakeRoomToo(t *testing.T) {
	a := newAging(t, "j", NewMemDisk(), Retention{})
	abandon(a.j)
	a.o.streams = 1
	a.open()
	a.fill(700, time.Second)
	abandon(a.j)
	a.j = open(t, "j", a.o)
	a.d = a.j.Lookup(testDataset)
	if _, err := a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"}); !errors.Is(err, ErrTableFull) {
		t.Fatalf("records of the only stream are kept: %v", err)
	}
	a.w = openWriter(t, a.d, "p", "s")
	a.fill(700, time.Second)
	a.w.Close()
	for a.tape().First() < a.tape().Tail()-300 {
		if err := a.expireFirst(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"}); !errors.Is(err, ErrTableFull) {
		t.Fatalf("its last records are kept: %v", err)
	}
	a.d.mu.Lock()
	a.d.streams[0].ended = []Position{{trades, a.tape().First()}} // as if what is in use had been another's
	a.d.mu.Unlock()
	if w, err := a.d.OpenWriter(WriterOptions{Producer: "new", Stream: "n"}); err != nil || w.Accepted() != 0 {
		t.Fatalf("no record of the stream is kept: %v", err)
	}
}

// TestOneProducersStreamsLeaveRoomForOthers: streams of which nothing came make room at once.
func TestOneProducersStreamsLeaveRoomForOthers(t *testing.T) {
	o := wholeOptions(NewMemDisk())
	o.streams = 8
	d := create(t, open(t, "j", o))
	for i := range 6 {
		w := openWriter(t, d, "greedy", fmt.Sprint(i))
		if err := appendManual(w, Run{trades, records(trades, 1, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	if _, err := d.OpenWriter(WriterOptions{Producer: "greedy", Stream: "more"}); !errors.Is(err, ErrTableFull) {
		t.Errorf("one producer's seventh stream of eight: %v", err)
	}
	for i := range 30 {
		openWriter(t, d, "empty", fmt.Sprint(i)).Close()
	}
	if n := d.Tables()[0]; n.Used != 6 || n.Limit != MaxStreams {
		t.Errorf("%+v", n)
	}
	if err := d.rewriteStreams(); err != nil {
		t.Fatal(err)
	}
}
