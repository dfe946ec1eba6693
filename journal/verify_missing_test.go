package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a copy of a data directory lacks must not look whole because nothing is there that could be wrong.
func TestVerifySaysWhatShouldBeThereAndIsNot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	o := Options{MinSegment: smallestSegment, MaxSegment: smallestSegment, Sync: SyncPolicy{Bytes: maxSyncBytes}, AnyFilesystem: true}
	j := open(t, dir, o)
	d := create(t, j)
	w := openWriter(t, d, "p", "s")
	for i := range uint64(4) {
		mustAppend(t, w, Run{trades, records(trades, 1, 300*i, 300)})
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	sealAll(t, d, trades)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, nil); err != nil || len(r.Problems)+len(r.Notes) > 0 {
		t.Fatalf("a whole journal: %+v, %v", r, err)
	}
	in := func(dir string, names ...string) string {
		return filepath.Join(append([]string{dir, testDataset}, names...)...)
	}
	hurtAt := func(path string, at int) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[at] ^= 0x10
		return os.WriteFile(path, b, fileMode)
	}
	entries, _, err := readSyncLog(OSDisk{}, in(dir))
	if err != nil {
		t.Fatal(err)
	}
	first := sideHeader + frameHeader + len(entries[0].append(nil))
	for name, c := range map[string]struct {
		hurt    func(dir string) error
		problem string // that has to be among those found; empty: none may be
		note    string
	}{
		"the first file": {func(dir string) error {
			return errors.Join(os.Remove(in(dir, "trades", "00000001.dbn")), os.Remove(in(dir, "trades", "00000001.idx")))
		}, "/trades: journal is damaged: records 0 to 256 are missing", ""},
		"the first two": {func(dir string) error {
			return errors.Join(os.Remove(in(dir, "trades", "00000001.dbn")), os.Remove(in(dir, "trades", "00000002.dbn")))
		}, "records 0 to 512 are missing", ""},
		"one between":    {func(dir string) error { return os.Remove(in(dir, "trades", "00000002.dbn")) }, "records 256 to 512 are missing", ""},
		"the one in use": {func(dir string) error { return os.Remove(in(dir, "trades", "00000005.tape")) }, "records 1024 to 1200 are missing", ""},
		"all files": {func(dir string) error {
			return errors.Join(os.RemoveAll(in(dir, "trades")), os.Mkdir(in(dir, "trades"), dirMode))
		}, "records 0 to 1200 are missing", ""},
		"the tape":          {func(dir string) error { return os.RemoveAll(in(dir, "trades")) }, "trades: no such file", ""},
		"an index":          {func(dir string) error { return os.Remove(in(dir, "trades", "00000002.idx")) }, "", "records 256 to 512 have no block index"},
		"the sync log":      {func(dir string) error { return os.Remove(in(dir, syncLogName)) }, syncLogName, ""},
		"the streams":       {func(dir string) error { return os.Remove(in(dir, streamsName)) }, streamsName, ""},
		"its first entry":   {func(dir string) error { return hurtAt(in(dir, syncLogName), first-3) }, syncLogName, ""},
		"an entry":          {func(dir string) error { return hurtAt(in(dir, syncLogName), first+frameHeader+5) }, "is whole up to entry 1", ""},
		"an entry's length": {func(dir string) error { return hurtAt(in(dir, syncLogName), first+1) }, "is whole up to entry 1", ""},
		"the directory, but for a link": {func(dir string) error {
			return errors.Join(os.Rename(in(dir), dir+"-elsewhere"), os.Symlink(dir+"-elsewhere", in(dir)))
		}, "symbolic link", ""},
		"the name": {func(dir string) error { return os.Rename(in(dir), in(dir)+"-old") }, "", "not looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			hurt := filepath.Join(t.TempDir(), "j")
			if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := c.hurt(hurt); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(hurt, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !has(r.Problems, c.problem) || c.problem == "" && len(r.Problems) > 0 {
				t.Errorf("problems %v, want %q", r.Problems, c.problem)
			}
			if !has(r.Notes, c.note) {
				t.Errorf("notes %v, want %q", r.Notes, c.note)
			}
			list, err := Inspect(hurt)
			if err != nil {
				t.Fatal(err)
			}
			told := false
			for _, info := range list {
				told = told || info.Problem != ""
			}
			if entry := strings.Contains(name, "entry"); c.problem != "" && !entry && !told {
				t.Errorf("the list says nothing: %+v", list)
			}
		})
	}
}

func has(list []Problem, text string) bool {
	for _, p := range list {
		if strings.Contains(p.String(), text) {
			return true
		}
	}
	return text == ""
}

// A link would have two journals write to one directory, each under a lock of its own.
func TestLinkedDatasetIsNotServedAndSaidSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, Options{AnyFilesystem: true})
	create(t, j)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, testDataset)
	if err := errors.Join(os.Rename(path, dir+"-elsewhere"), os.Symlink(dir+"-elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{AnyFilesystem: true})
	if err := j.Damaged(testDataset); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("%v", err)
	}
	if _, err := j.Create(testDataset); err == nil {
		t.Error("it can be published to")
	}
}
