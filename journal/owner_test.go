package journal

import (
	"errors"
	"testing"
)

// Another key must neither fence a producer nor move its count.
func TestProducersNameBelongsToItsKey(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	d := create(t, j)
	owned, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "1", Owner: "desk"})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, owned, Run{trades, records(trades, 1, 0, 3)})
	refused := func(d *Dataset) {
		t.Helper()
		for _, o := range []WriterOptions{{Stream: "1"}, {Stream: "2"}, {Stream: "1", Resume: 50, HasResume: true}} {
			o.Producer, o.Owner = "p", "stranger"
			if _, err := d.OpenWriter(o); !errors.Is(err, ErrOwned) {
				t.Errorf("%+v: %v, want ErrOwned", o, err)
			}
		}
	}
	refused(d)
	mustAppend(t, owned, Run{trades, records(trades, 1, 3, 3)}) // nobody fenced it
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, "j", Options{Disk: disk})
	d = j.Lookup(testDataset)
	refused(d)
	if w, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "1"}); err != nil || w.Accepted() != 6 {
		t.Errorf("open mode has no owners: %v", err)
	}
	if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "1", Owner: "heir", Takeover: true}); err != nil {
		t.Errorf("with the right to: %v", err)
	}
	if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "1", Owner: "desk"}); !errors.Is(err, ErrOwned) {
		t.Errorf("the name was taken over: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "1", Owner: "heir"}); err != nil {
		t.Errorf("its new owner after a restart: %v", err)
	}
}

func TestStreamThatMustBeThereIsNotMade(t *testing.T) {
	d := create(t, open(t, "j", Options{Disk: NewMemDisk()}))
	if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "s", Existing: true}); !errors.Is(err, ErrNoStream) {
		t.Errorf("a stream that is not there: %v", err)
	}
	openWriter(t, d, "p", "s")
	if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "s", Existing: true}); err != nil {
		t.Errorf("a stream that is there: %v", err)
	}
}

func TestNotedRecordIsOnTheTapeAndInNoCount(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", Options{Disk: disk})
	w := openWriter(t, create(t, j), "p", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 3)})
	if err := w.Note(trades, records(trades, 1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 4, 2)})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	d := open(t, "j", Options{Disk: disk}).Lookup(testDataset)
	if w = openWriter(t, d, "p", "s"); w.Accepted() != 5 || d.Tape(trades).Tail() != 6 {
		t.Errorf("accepted %d of %d records, want 5 of 6", w.Accepted(), d.Tape(trades).Tail())
	}
}

// A log that is written anew, and a stream that is entered once more, must not give a name back to a key that it was taken from.
func TestNameThatWasTakenOverStaysSoWhateverIsEnteredOfItsStreams(t *testing.T) {
	o := wholeOptions(NewMemDisk())
	j := open(t, "j", o)
	d := create(t, j)
	data := records(trades, 1, 0, 1)
	w, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "2", Owner: "desk", Head: headOf(data)})
	if err == nil {
		_, err = d.OpenWriter(WriterOptions{Producer: "p", Stream: "1", Owner: "heir", Takeover: true})
	}
	if err == nil {
		_, err = d.OpenWriter(WriterOptions{Producer: "p", Stream: "3", Owner: "desk", Takeover: true})
	}
	if err == nil {
		_, err = d.OpenWriter(WriterOptions{Producer: "p", Stream: "2", Owner: "heir", Takeover: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, enter := range []func() error{
		func() error {
			d.openMu.Lock()
			defer d.openMu.Unlock()
			return d.setHead(d.streams[2], headOf(data))
		},
		func() error {
			d.openMu.Lock()
			d.streamFrames = 1 << 20
			d.openMu.Unlock()
			return d.rewriteStreams()
		},
	} {
		if err := enter(); err != nil {
			t.Fatal(err)
		}
		abandon(j)
		j = open(t, "j", o)
		d = j.Lookup(testDataset)
		if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "2", Owner: "desk"}); !errors.Is(err, ErrOwned) {
			t.Fatalf("the name went back: %v", err)
		}
	}
	w.Close()
}
