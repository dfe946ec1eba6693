package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// forgottenTape makes a journal that has lost what it can, and a mirror that has it. The follower has read all of it.
func forgottenTape(t *testing.T) (w where, f *follower) {
	t.Helper()
	w = where{data: writeTape(t, nil), mirror: t.TempDir()}
	m := mirror{w}
	if err := m.round(); err != nil {
		t.Fatal(err)
	}
	f = newFollower(0, feed.SchemaMbp1, newBook(), &atomic.Int64{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.run(ctx, w); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(w.data, journal.Options{
		AnyFilesystem: true, MinSegment: 16 << 10, MaxSegment: 16 << 10, Retain: journal.Retention{Age: time.Nanosecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for end := time.Now().Add(time.Minute); j.Datasets()[0].Tape(feed.SchemaMbp1).First() == 0; time.Sleep(await) {
		if time.Now().After(end) {
			t.Fatal("nothing expires")
		}
	}
	f.expiry.age.Store(int64(time.Hour)) // the looks are made up: the tape was complete before
	f.past = []growth{{time.Now().Add(-2 * time.Hour), f.seq}, {time.Now().Add(-time.Minute), f.seq}, {time.Now(), f.seq}}
	return w, f
}

// openForgotten is a track of a tape that has lost its beginning, and what it begins with.
func openForgotten(t *testing.T, w where, f *follower) (*track, uint64) {
	t.Helper()
	tp, err := openTape(w, 0, feed.SchemaMbp1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tp.close)
	first, err := tp.first()
	if err != nil || first == 0 || first >= tapeRecords-2 {
		t.Fatalf("the tape begins with %d of %d: %v", first, tapeRecords, err)
	}
	return &track{schema: feed.SchemaMbp1, tape: tp, follower: f}, first
}

// What a session is told of records that have expired is held against what has.
func TestWrongExpiriesAreNoticed(t *testing.T) {
	w, f := forgottenTape(t)
	tr, x := openForgotten(t, w, f)
	first, epoch := int(x), tr.tape.tap.Epoch()
	gap := func(records, seq int) lsg.Gap {
		return lsg.Gap{Records: uint64(records), At: lsg.Position{Epoch: epoch, Seq: uint64(seq)}, HasAt: true}
	}
	told := func(tr *track, records, seq int, then ...int) error {
		if err := tr.expired(gap(records, seq), time.Now()); err != nil {
			return err
		}
		return receive(tr, then...)
	}
	young := func(tr *track) *track {
		tr.follower = newFollower(0, feed.SchemaMbp1, newBook(), f.expiry.age)
		tr.follower.past = []growth{{time.Now().Add(-2 * time.Hour), 5}, {time.Now().Add(-time.Minute), 5}, {time.Now(), 5}}
		return tr
	}
	for name, c := range map[string]struct {
		do   func(tr *track) error
		want string // in the error; "" for none
	}{
		"all":                   {func(tr *track) error { return told(tr, first, first, upTo(first, tapeRecords)...) }, ""},
		"after some":            {func(tr *track) error { _ = receive(tr, 0, 1); return told(tr, first-2, first, first) }, ""},
		"too few":               {func(tr *track) error { _ = receive(tr, 0, 1); return told(tr, first-3, first) }, "but number 2 of the tape"},
		"too many":              {func(tr *track) error { _ = receive(tr, 0, 1); return told(tr, first-1, first) }, fmt.Sprintf("was at %d:2", epoch)},
		"none":                  {func(tr *track) error { return told(tr, 0, first) }, "told that 0 records"},
		"no place":              {func(tr *track) error { return tr.expired(lsg.Gap{Records: 3}, time.Now()) }, "told that 3 records"},
		"of another epoch":      {func(tr *track) error { g := gap(first, first); g.At.Epoch++; return tr.expired(g, time.Now()) }, fmt.Sprintf("before %d:", epoch+1)},
		"the end of no segment": {func(tr *track) error { return told(tr, first-1, first-1) }, "in the middle of a segment"},
		"the whole tape":        {func(tr *track) error { return told(tr, tapeRecords, tapeRecords) }, "ends at 300"},
		"young":                 {func(tr *track) error { return told(young(tr), first, first) }, "ended at 5 when it was old enough"},
		"and goes on too late":  {func(tr *track) error { return told(tr, first, first, first+1) }, "due was number"},
		"filtered":              {func(tr *track) error { only(tr, 4); _ = receive(tr, 4, 5); return told(tr, first-20, first) }, ""},
		"filtered, too few":     {func(tr *track) error { only(tr, 4); _ = receive(tr, 4); return told(tr, first-20, first) }, "but number 5 of the tape"},
		"behind a skip":         {func(tr *track) error { _ = tr.skipped(gap(first-5, first-5)); return told(tr, 5, first, first) }, ""},
		"with what was skipped": {func(tr *track) error { _ = tr.skipped(gap(first-5, first-5)); return told(tr, first, first) }, fmt.Sprintf("was at %d:", epoch)},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := openForgotten(t, w, f)
			err := c.do(tr)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A replay begins with what is kept. From a time that is not, it is told so, and no other is.
func TestWrongBeginningsAreNoticed(t *testing.T) {
	w, f := forgottenTape(t)
	at := func(seq int) uint64 { return feed.Record(recordAt(feed.SchemaMbp1, seq)).TsEvent() }
	_, x := openForgotten(t, w, f)
	first := int(x)
	// from is a session that begins with the time of a record.
	from := func(tr *track, seq int) *track {
		tr.start, tr.replay, tr.loose = at(seq), true, unplaced
		tr.begins = []uint64{x}
		tr.at, _ = f.find(tr.tape, tr.start, x) // read already
		_ = tr.placed(time.Now())
		return tr
	}
	gap := lsg.Gap{FromTs: at(20), ToTs: at(first-1) + 1}
	for name, c := range map[string]struct {
		do   func(tr *track) error
		want string
	}{
		"a time that has expired": {func(tr *track) error {
			if err := from(tr, 20).agedOut(gap); err != nil {
				return err
			}
			return receive(tr, upTo(first, tapeRecords)...)
		}, ""},
		"without a word":      {func(tr *track) error { return receive(from(tr, 20), first) }, "was not told"},
		"told and late":       {func(tr *track) error { from(tr, 20); _ = tr.agedOut(gap); return receive(tr, first+1) }, "due was number"},
		"told twice":          {func(tr *track) error { from(tr, 20); _ = tr.agedOut(gap); return tr.agedOut(gap) }, "nobody caused"},
		"told too late":       {func(tr *track) error { from(tr, 20); tr.compared = 1; return tr.agedOut(gap) }, "nobody caused"},
		"of another time":     {func(tr *track) error { return from(tr, 21).agedOut(gap) }, "asked for"},
		"up to another":       {func(tr *track) error { g := gap; g.ToTs++; return from(tr, 20).agedOut(g) }, "asked for"},
		"a time that is kept": {func(tr *track) error { return receive(from(tr, first+1), upTo(first+1, tapeRecords)...) }, ""},
		"kept, and said not to be": {func(tr *track) error {
			return from(tr, first+9).agedOut(lsg.Gap{FromTs: at(first + 9), ToTs: gap.ToTs})
		}, "asked for"},
		"nobody asked for a time": {func(tr *track) error { return tr.agedOut(gap) }, "nobody caused"},
		"the beginning": {func(tr *track) error {
			tr.at, tr.begins, tr.replay, tr.loose = x, []uint64{x}, true, unplaced
			_ = tr.placed(time.Now())
			return receive(tr, upTo(first, tapeRecords)...)
		}, ""},
		"the beginning, late": {func(tr *track) error {
			tr.at, tr.begins, tr.replay, tr.loose = x, []uint64{x}, true, unplaced
			_ = tr.placed(time.Now())
			return receive(tr, first+1)
		}, "due was number"},
		"the beginning, which expires just then": {func(tr *track) error {
			tr.at, tr.begins, tr.replay, tr.loose = 0, []uint64{0}, true, unplaced
			_ = tr.placed(time.Now())
			return receive(tr, upTo(first, tapeRecords)...)
		}, ""},
		"the beginning, and what expires just then comes too": {func(tr *track) error {
			tr.at, tr.begins, tr.replay, tr.loose = 0, []uint64{0}, true, unplaced
			_ = tr.placed(time.Now())
			return receive(tr, upTo(0, tapeRecords)...)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := openForgotten(t, w, f)
			err := c.do(tr)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A gap that nobody caused is noticed, whatever it says.
func TestUncausedGapsAreNoticed(t *testing.T) {
	w, f := forgottenTape(t)
	tr, _ := openForgotten(t, w, f)
	here := fmt.Sprintf("|epoch=%d|seq=3", tr.tape.tap.Epoch())
	for _, text := range []string{
		"gap|schema=mbp-1|cause=upstream|records=3" + here,
		"gap|schema=mbp-1|cause=damaged|records=3" + here,
		"gap|schema=mbp-1|cause=skipped|records=3" + here,
		"gap|schema=trades|cause=expired|records=3" + here,
		"gap|schema=mbp-1|from_ts=1|to_ts=2|cause=expired",
	} {
		tr, _ := openForgotten(t, w, f)
		s := &session{run: &run{}, plan: &plan{slow: lsg.SlowWarn}, tracks: map[feed.Schema]*track{feed.SchemaMbp1: tr}, acks: 1}
		if err := s.gap(text); err == nil || !strings.Contains(err.Error(), "nobody caused") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The whole tape is read from two places, and each has to be what it was.
func TestWhatHasExpiredIsInTheMirror(t *testing.T) {
	w, f := forgottenTape(t)
	if err := f.reread(w); err != nil {
		t.Error(err)
	}
	if err := f.reread(where{data: w.data}); !errors.Is(err, journal.ErrAgedOut) {
		t.Errorf("without the mirror: %v", err)
	}
	_, first := openForgotten(t, w, f)
	if err := f.lost(first, time.Now()); err != nil {
		t.Error(err)
	}
	if err := f.lost(uint64(tapeRecords)+1, time.Now()); err == nil {
		t.Error("that more is gone than there was is not noticed")
	}
	f.expiry.told.Store(first + 1)
	if err := f.lost(first, time.Now()); err == nil {
		t.Error("that a session was told more than is gone is not noticed")
	}
}

// A prepared segment that a recovery made again is another file of the same name.
func TestMirrorFollowsAFileThatIsMadeAgain(t *testing.T) {
	w := where{data: writeTape(t, nil), mirror: t.TempDir()}
	m := mirror{w}
	tapeDir := filepath.Join(datasets[0], feed.SchemaMbp1.String())
	files, _ := filepath.Glob(filepath.Join(w.data, tapeDir, "*"+segmentName))
	if len(files) == 0 {
		t.Fatal("no segment is in use")
	}
	from, to := files[0], filepath.Join(w.mirror, tapeDir, filepath.Base(files[0]))
	for range 2 {
		if err := m.round(); err != nil || !sameFile(t, from, to) {
			t.Fatalf("%s is not linked: %v", from, err)
		}
		remake(t, from)
		if sameFile(t, from, to) {
			t.Fatal("the file was not made again: the test tests nothing")
		}
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	is, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(is, was)
}

// remake puts another file of the same content in a file's place.
func remake(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".tmp", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
