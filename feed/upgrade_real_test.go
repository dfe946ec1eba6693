package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An upgrade that differs from the reference implementation's in a byte would make two truths of one record. The digests
// are of the reference implementation's bytes. With TAPEWIRE_INTEROP_OUT set to a directory, what is compared is written
// there for interop/dbn_upgrade.py, which tells where a difference is and makes the digests.

func TestUpgradeOfCraftedFilesIsTheReferences(t *testing.T) {
	want := upgradedDigests(t)
	for _, f := range craft() {
		input := f.input()
		got, _, err := transcode(bytes.NewReader(input))
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		writeInterop(t, "crafted/"+f.name+".input", input)
		writeInterop(t, "crafted/"+f.name+".dbn", got)
		compareDigest(t, want, "crafted/"+f.name, got)
	}
}

func TestUpgradeOfRealFilesIsTheReferences(t *testing.T) {
	dir := dataDir(t)
	want := upgradedDigests(t)
	compared := 0
	for _, name := range dataFiles(t, dir) {
		d, err := OpenFile(filepath.Join(dir, name), fragmentOptions(name)...)
		if err != nil {
			t.Error(err)
			continue
		}
		d.Close()
		if d.InputVersion() == Version && !strings.Contains(name, "LIVE") {
			continue // covered by the round trip; the live capture is for its many types
		}
		got, _, err := transcode(bytes.NewReader(plainBytes(t, filepath.Join(dir, name))), fragmentOptions(name)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		writeInterop(t, "data/"+name, got)
		compareDigest(t, want, "data/"+name, got)
		compared++
	}
	if compared < 60 {
		t.Errorf("only %d files of versions 1 and 2 were compared", compared)
	}
}

// upgradedDigests reads testdata/upgraded.sha256: hex digests by name.
func upgradedDigests(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/upgraded.sha256")
	if err != nil {
		t.Fatal(err)
	}
	digests := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if digest, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && !strings.HasPrefix(line, "#") {
			digests[name] = digest
		}
	}
	return digests
}

func compareDigest(t *testing.T, want map[string]string, name string, got []byte) {
	t.Helper()
	sum := sha256.Sum256(got)
	switch digest := hex.EncodeToString(sum[:]); {
	case want[name] == "":
		t.Errorf("%s: testdata/upgraded.sha256 has no digest of it; make it with interop/dbn_upgrade.py", name)
	case digest != want[name]:
		t.Errorf("%s: %d bytes with digest %s, the reference implementation's is %s", name, len(got), digest, want[name])
	}
}

// writeInterop writes a file for interop/dbn_upgrade.py when that is asked for.
func writeInterop(t *testing.T, name string, b []byte) {
	t.Helper()
	out := os.Getenv("TAPEWIRE_INTEROP_OUT")
	if out == "" {
		return
	}
	path := filepath.Join(out, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
