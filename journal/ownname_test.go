package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A dataset that an earlier release let have the lock file's name keeps every gateway from starting: what is said is how it is served again.
func TestDatasetOfTheLockFilesNameIsServedAgainOnceRenamed(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "j"), Options{AnyFilesystem: true}
	j := open(t, dir, o)
	mustAppend(t, openWriter(t, create(t, j), "p", "s"), Run{trades, records(trades, 1, 0, 10)})
	if _, err := j.Create(lockName); !errors.Is(err, ErrName) || strings.Contains(err.Error(), dir) {
		t.Errorf("create: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, lockName)), os.Rename(filepath.Join(dir, testDataset), filepath.Join(dir, lockName))); err != nil {
		t.Fatal(err)
	}
	if err := RemoveDataset(dir, lockName); !errors.Is(err, ErrName) {
		t.Errorf("remove at rest: %v", err)
	}
	if _, err := Open(dir, o); err == nil || !strings.Contains(err.Error(), "rename the directory, such as to LOCK-1") {
		t.Fatalf("open: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, lockName), filepath.Join(dir, "LOCK-1")); err != nil {
		t.Fatal(err)
	}
	if err := checkStreams(open(t, dir, o).Lookup("LOCK-1"), map[uint32]uint64{1: 10}); err != nil {
		t.Error(err)
	}
}

// What else stands in the lock file's place keeps a gateway from starting, too: what is said is that it may go.
func TestOddLockFileIsNamedWithItsRemedy(t *testing.T) {
	for what, place := range map[string]func(path string) error{
		"a pipe":            func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a device":          func(p string) error { return os.Symlink("/dev/zero", p) },
		"a link to nothing": func(p string) error { return os.Symlink("/nowhere/else", p) },
		"a link to itself":  func(p string) error { return os.Symlink(p, p) },
		"a directory":       func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, lockName)
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			o := Options{AnyFilesystem: true}
			if _, err := Open(dir, o); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
				t.Fatalf("opened over %s: %v", what, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			create(t, open(t, dir, o))
		})
	}
}
