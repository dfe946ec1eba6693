package feed

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// dataDir is where real market data lies beside the repository; tests that need it skip without it.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = filepath.Dir(dir)
	}
	data := filepath.Join(dir, "..", "shared", "data", "dbn")
	if _, err := os.Stat(data); err != nil {
		t.Skipf("no real market data: %v", err)
	}
	return data
}

// dataFiles lists the DBN files of the data, by their paths below it. Large ones are left out of -short runs.
func dataFiles(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(e.Name(), ".dbn") {
			return err
		}
		if info, err := e.Info(); err != nil || testing.Short() && info.Size() > 1<<20 {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("want the whole corpus of well over 100 files, got %d", len(files))
	}
	return files
}

// fragmentOptions declares a fragment by its name: the version in it, 2 when there is none.
func fragmentOptions(name string) []DecoderOption {
	switch {
	case !strings.Contains(name, ".frag"):
		return nil
	case strings.Contains(name, ".v1."):
		return []DecoderOption{WithFragment(1)}
	case strings.Contains(name, ".v3."):
		return []DecoderOption{WithFragment(3)}
	}
	return []DecoderOption{WithFragment(2)}
}

// plainBytes is a file's contents, decompressed by another way than the Decoder's.
func plainBytes(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".zst") {
		return b
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(b, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return plain
}

// transcode decodes an input and writes what it gives: metadata, unless it is a fragment, and records.
func transcode(src io.Reader, opts ...DecoderOption) ([]byte, *Decoder, error) {
	d, err := NewDecoder(src, opts...)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	var out []byte
	if !d.fragment {
		if out, err = d.Metadata().Append(nil); err != nil {
			return nil, d, err
		}
	}
	for r, err := range d.Records() {
		if err != nil {
			return out, d, err
		}
		out = append(out, r...)
	}
	return out, d, nil
}

// firstDifference is the first index at which a and b differ; -1 when they do not.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
