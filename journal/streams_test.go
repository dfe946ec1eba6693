package journal

import (
	"crypto/sha256"
	"errors"
	"math"
	"strings"
	"testing"
)

// headOf is the head of a stream that begins with b, records of trades.
func headOf(b []byte) StreamHead {
	return StreamHead{Records: uint64(len(b) / trades.RecordSize()), Sum: sha256.Sum256(b)}
}

func openHead(d *Dataset, stream string, h StreamHead) (*Writer, error) {
	return d.OpenWriter(WriterOptions{Producer: "p", Stream: stream, Head: h})
}

// TestStreamIsNotGoneOnWithByOtherData: a name of a stream that is used for another file is refused, also after a restart and after a rewrite of the log.
func TestStreamIsNotGoneOnWithByOtherData(t *testing.T) {
	disk := NewMemDisk()
	o := wholeOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	data, other := records(trades, 1, 0, 20), records(trades, 2, 0, 20)
	w, err := openHead(d, "s", headOf(data[:5*48]))
	if err != nil {
		t.Fatal(err)
	}
	if err := appendManual(w, Run{trades, data[:5*48]}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for round := range 3 {
		if _, err := openHead(d, "s", headOf(other[:5*48])); !errors.Is(err, ErrStreamHead) || !strings.Contains(err.Error(), "another stream") {
			t.Fatalf("round %d: other data: %v", round, err)
		}
		for _, same := range []StreamHead{{}, headOf(data[:5*48]), headOf(data[:3*48]), headOf(data)} {
			w, err := openHead(d, "s", same)
			if err != nil || w.Accepted() != 5 || w.Head() != headOf(data[:5*48]) {
				t.Fatalf("round %d: the same data: %v", round, err)
			}
			w.Close() // of all 20 records only 5 came: what they begin with is not known
		}
		if round == 1 {
			if err := rewriteSame(d.streamsLog); err != nil {
				t.Fatal(err)
			}
		}
		abandon(j)
		j = open(t, "j", o)
		d = j.Lookup(testDataset)
	}
	// The file has grown, and all of it comes.
	w, err = openHead(d, "s", headOf(data))
	if err == nil {
		err = appendManual(w, Run{trades, data[5*48:]})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := openHead(d, "s", headOf(other)); !errors.Is(err, ErrStreamHead) {
		t.Errorf("other data of the grown file's length: %v", err)
	}
	// A stream of which nothing came may begin in another way.
	for _, h := range []StreamHead{headOf(data), headOf(other)} {
		w, err := openHead(d, "empty", h)
		if err != nil || w.Head() != h {
			t.Fatalf("a stream without records: %v", err)
		}
		w.Close()
	}
}

// appendManual appends to a journal without goroutines.
func appendManual(w *Writer, runs ...Run) error {
	for len(runs) > 0 {
		n, err := w.Append(runs)
		runs = skip(runs, n)
		if errors.Is(err, ErrNotReady) {
			w.d.prepareRound()
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestResumeFarBeyondTheCountIsRefusedAndCostsNobodyARecord: a count that wraps made the state page look older than the sync log, and all producers of the
// dataset lost what was acknowledged as written.
func TestResumeFarBeyondTheCountIsRefusedAndCostsNobodyARecord(t *testing.T) {
	disk := NewMemDisk()
	o := wholeOptions(disk)
	j := open(t, "j", o)
	d := create(t, j)
	victim, attacker := openWriter(t, d, "victim", "v"), openWriter(t, d, "attacker", "a")
	if err := errors.Join(appendManual(attacker, Run{trades, records(trades, 2, 0, 10)}), d.Sync()); err != nil {
		t.Fatal(err)
	}
	for _, resume := range []uint64{math.MaxUint64, math.MaxUint64 - 5, 1 << 63, 1 << 62, 10 + MaxSkip + 1} {
		for _, stream := range []string{"a", "new"} {
			_, err := d.OpenWriter(WriterOptions{Producer: "attacker", Stream: stream, Resume: resume, HasResume: true})
			if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "check the producer's numbering") {
				t.Errorf("resume=%d of stream %s: %v", resume, stream, err)
			}
		}
	}
	w, err := d.OpenWriter(WriterOptions{Producer: "attacker", Stream: "a", Resume: 10 + MaxSkip, HasResume: true})
	if err != nil || w.Accepted() != 10+MaxSkip || w.Synced() != 10 {
		t.Fatalf("the farthest that may be skipped: %v", err)
	}
	err = errors.Join(appendManual(w, Run{trades, records(trades, 2, 10, 10)}), d.Sync(), appendManual(victim, Run{mbp1, records(mbp1, 1, 0, 50)}))
	if err != nil {
		t.Fatal(err)
	}
	abandon(j)
	d = open(t, "j", o).Lookup(testDataset)
	if d == nil || d.Epoch() != 1 || openWriter(t, d, "victim", "v").Accepted() != 50 || openWriter(t, d, "attacker", "a").Accepted() != 20+MaxSkip {
		t.Errorf("after a kill: %+v", d)
	}
}
