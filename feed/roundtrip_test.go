package feed

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A reader that loses or changes a byte of real data would be found by nothing later on.
func TestRealFilesSurviveDecodingAndEncoding(t *testing.T) {
	dir := dataDir(t)
	v3, records := 0, 0
	for _, name := range dataFiles(t, dir) {
		path := filepath.Join(dir, name)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want := plainBytes(t, path)
		got, d, err := transcode(f, append(fragmentOptions(name), WithoutUpgrade())...)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !d.fragment && d.InputVersion() == 1 {
			// The record count of v1 metadata, which everyone who came later writes as not known.
			copy(want[50:58], bytes.Repeat([]byte{0xFF}, 8))
		}
		if at := firstDifference(got, want); at >= 0 {
			t.Errorf("%s: %d bytes in, %d out, first difference at %d", name, len(want), len(got), at)
		}
		if d.InputVersion() != Version {
			continue
		}
		v3++
		records += d.record
		got, _, err = transcode(bytes.NewReader(want), fragmentOptions(name)...)
		if err != nil || firstDifference(got, want) >= 0 && !d.Metadata().TsOut {
			t.Errorf("%s: upgrading version 3 changes it: %v", name, err)
		}
	}
	if v3 < 50 || !testing.Short() && records < 2_000_000 {
		t.Fatalf("only %d files of version 3 with %d records were compared", v3, records)
	}
	t.Logf("%d files of version 3, %d records", v3, records)
}
