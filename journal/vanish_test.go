package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vanishings is what somebody does to a file beside a running gateway, and the word for it.
var vanishings = map[string]struct {
	do   func(path string) error
	word string
}{
	"deleted":            {os.Remove, "removed"},
	"moved":              {func(path string) error { return os.Rename(path, path+".away") }, "removed"},
	"replaced":           {replaceByCopy, "replaced"},
	"by a dir":           {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, dirMode)) }, "re"},
	"by a dangling link": {func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/nowhere/at/all", path)) }, "removed"},
	"cut":                {func(path string) error { return os.Truncate(path, 17) }, "cut"},
}

// replaceByCopy is a copy that is put back by rename: the same bytes in another file.
func replaceByCopy(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path+".back", b, fileMode), os.Rename(path+".back", path))
}

// What is entered into a file that has lost its name is gone at the next start: a stream that somebody was told of, a symbol, a gap. So nothing is acknowledged
// from then on, and what is said names the file and the remedy; other datasets go on.
func TestLogThatLostItsNameIsNoticedBeforeTheNextAck(t *testing.T) {
	for _, log := range []string{stateName, syncLogName, symbolsName, streamsName, ledgerName, epochsName, outliersName, "trades/00000001.tape"} {
		for how, v := range vanishings {
			if how == "cut" && (log == stateName || strings.HasSuffix(log, activeSuffix)) {
				continue // mapped: the store that faults tells
			}
			t.Run(log+" "+how, func(t *testing.T) {
				t.Parallel()
				noticesVanished(t, log, v.word, v.do)
			})
		}
	}
}

func noticesVanished(t *testing.T, log, word string, do func(path string) error) {
	for _, ask := range []string{"sync", "present"} {
		dir := filepath.Join(t.TempDir(), "j")
		j := open(t, dir, Options{Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true})
		d := create(t, j)
		w := openWriter(t, d, "p", "s")
		mustAppend(t, w, Run{trades, records(trades, 1, 0, 10)})
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		other, err := j.Create("OTHER")
		if err != nil {
			t.Fatal(err)
		}
		if err := do(filepath.Join(dir, testDataset, log)); err != nil {
			t.Fatal(err)
		}
		w2, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "new"})
		if log == streamsName && word == "cut" {
			saysVanished(t, err, ErrFault, log, word) // its entry would hide that others are gone
			w2 = w
		} else if err != nil {
			t.Fatal(err)
		}
		was := w2.Synced()
		mustAppend(t, w2, Run{trades, records(trades, 2, 0, 10)})
		if ask == "sync" {
			err, want := d.Sync(), ErrSyncFailed
			saysVanished(t, err, want, log, word)
			if w2.Synced() != was {
				t.Errorf("%d more records are acknowledged as on disk", w2.Synced()-was)
			}
		} else {
			eventually(t, "it is noticed", func() bool { return d.Present() != nil })
			saysVanished(t, d.Present(), ErrFault, log, word)
		}
		if _, err := w.Append([]Run{{trades, records(trades, 1, 10, 1)}}); err == nil {
			t.Error("more is accepted")
		}
		mustAppend(t, openWriter(t, other, "p", "s"), Run{trades, records(trades, 1, 0, 10)})
		if err := errors.Join(other.Sync(), other.Present()); err != nil {
			t.Errorf("another dataset: %v", err)
		}
	}
}

func saysVanished(t *testing.T, err, want error, log, word string) {
	t.Helper()
	if log == stateName { // by which the directory is known
		log = testDataset
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), "somebody "+word) || !strings.Contains(err.Error(), log) || !strings.Contains(err.Error(), "restore the directory from a copy") {
		t.Errorf("%v, want %v and what happened, to what, and the remedy", err, want)
	}
}

// The files of ours that take a log's name while it is in use are no fault, whoever looks meanwhile.
func TestLogsWrittenAnewAndSegmentsSealedAreNoFault(t *testing.T) {
	o := Options{AnyFilesystem: true, MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Each: true}}
	j := open(t, filepath.Join(t.TempDir(), "j"), o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			d.looked.Store(-int64(lookEvery))
			if err := d.Present(); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range uint64(20) {
		mustAppend(t, w, Run{trades, records(trades, 1, 400*i, 400)})
		for _, l := range d.sideLogs() {
			if err := l.rewrite(func(emit func([]byte)) int64 { return l.size.Load() }); err != nil {
				t.Fatal(err)
			}
		}
		d.syncer.mu.Lock()
		d.syncLog.due = true
		d.syncer.mu.Unlock()
	}
	sealAll(t, d, trades)
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
