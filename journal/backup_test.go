package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openCopy opens a restored journal and says what it counts.
func openCopy(t *testing.T, dir string) (*Dataset, map[uint32]uint64) {
	t.Helper()
	if r, err := Verify(dir, nil); err != nil || len(r.Problems) > 0 {
		t.Fatalf("verify: %v, %v", r.Problems, err)
	}
	d := open(t, dir, Options{AnyFilesystem: true, MinSegment: 64 << 10, MaxSegment: 64 << 10}).Lookup(testDataset)
	if d == nil {
		t.Fatal("not served")
	}
	return d, accepted(t, d)
}

// A backup that is made while records are published, sealed and expire is one moment of the whole dataset, and what was acknowledged before it began is in it.
func TestBackupWhilePublishingIsOneMomentAndLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	j := open(t, dir, Options{AnyFilesystem: true, MinSegment: 64 << 10, MaxSegment: 64 << 10, Sync: SyncPolicy{Interval: time.Millisecond}})
	d := create(t, j)
	w := openWriter(t, d, "p1", "s")
	openWriter(t, d, "p2", "s")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, total := make(chan error, 1), make(chan uint64, 1)
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 5000)}, Run{mbp1, records(mbp1, 1, 5000, 1)})
	eventually(t, "a segment is sealed", func() bool { return (*d.Tape(trades).segs.Load())[0].sealed.Load() })
	go func() {
		n := uint64(5001)
		defer func() { total <- n }()
		for ctx.Err() == nil {
			if err := appendAll(w, Run{trades, records(trades, 1, n, 97)}, Run{mbp1, records(mbp1, 1, n+97, 31)}); err != nil {
				done <- err
				return
			}
			n += 128
			if n%1280 == 1 {
				if err := w.Map(uint32(n), fmt.Sprint("S", n)); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	var copies []string
	var least []uint64
	for range 5 {
		to := filepath.Join(t.TempDir(), "backup")
		least = append(least, w.Accepted())
		linked := 0
		if err := Backup(dir, to, func(p BackupProgress) {
			if p.Linked {
				linked++
			}
		}); err != nil {
			t.Fatal(err)
		}
		if linked == 0 {
			t.Error("no sealed segment was linked")
		}
		copies = append(copies, to)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	all := <-total
	for i, from := range copies {
		to := filepath.Join(t.TempDir(), "restored")
		if err := Restore(from, to, nil); err != nil {
			t.Fatal(err)
		}
		c, counts := openCopy(t, to)
		if counts[1] < least[i] || counts[1] > all || counts[2] != 0 {
			t.Errorf("backup %d counts %v, accepted before were %d, in all %d", i, counts, least[i], all)
		}
		if err := checkStreams(c, map[uint32]uint64{1: counts[1]}); err != nil {
			t.Errorf("backup %d: %v", i, err)
		}
		if c.Epoch() == d.Epoch() || len(c.Gaps()) > 0 {
			t.Errorf("backup %d is in epoch %d, as the original may be, and tells %v", i, c.Epoch(), c.Gaps())
		}
		// It goes on as a journal of its own; the original and the backup stay what they are.
		mustAppend(t, openWriter(t, c, "p1", "s"), Run{trades, records(trades, 1, counts[1], 3000)})
		if r, err := Verify(from, nil); err != nil || len(r.Problems) > 0 {
			t.Errorf("verify backup %d after its copy went on: %v, %v", i, r.Problems, err)
		}
	}
	if err := checkStreams(d, map[uint32]uint64{1: all}); err != nil {
		t.Error(err)
	}
}

// What a killed gateway left without a sync is in a backup too.
func TestBackupOfAKilledJournalHasWhatWasAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	o := memOptions(nil)
	o.Disk = OSDisk{}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d := create(t, j)
	w := openWriter(t, d, "p1", "s")
	mustAppend(t, w, Run{trades, records(trades, 1, 0, 700)})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, Run{trades, records(trades, 1, 700, 90)})
	abandon(j)
	to, back := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
	if err := errors.Join(Backup(dir, to, nil), Restore(to, back, nil)); err != nil {
		t.Fatal(err)
	}
	c, counts := openCopy(t, back)
	if counts[1] != 790 || checkStreams(c, map[uint32]uint64{1: 790}) != nil {
		t.Errorf("%v records, want 790", counts)
	}
}

// Neither ever writes into a directory that holds something, and one that stopped half way is no journal.
func TestBackupAndRestoreRefuseADirectoryThatIsNotEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	d := create(t, open(t, dir, Options{AnyFilesystem: true}))
	mustAppend(t, openWriter(t, d, "p1", "s"), Run{trades, records(trades, 1, 0, 10)})
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"backup": Backup(dir, full, nil), "restore": Restore(dir, full, nil)} {
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), full) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{"backup": Backup(full, t.TempDir(), nil), "restore": Restore(full, t.TempDir(), nil)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
}

// A backup is made of what is there, also where a side log is hurt: the copy says of itself what the original does, and serves as much.
func TestBackupOfHurtSideLogsSaysWhatIsLost(t *testing.T) {
	for _, log := range sideLogs {
		for what, hurt := range map[string]func(string) error{
			"gone": os.Remove,
			"header": func(file string) error {
				b, err := os.ReadFile(file)
				if err == nil {
					b[20] ^= 1
					err = os.WriteFile(file, b, 0o640)
				}
				return err
			},
			"cut": func(file string) error { return os.Truncate(file, sideHeader2) },
		} {
			dir, copied := filepath.Join(t.TempDir(), "j"), filepath.Join(t.TempDir(), "copy")
			o := smallSegments
			o.MaxClockSkew = 1
			j := open(t, dir, o)
			d := create(t, j)
			w := openWriter(t, d, "p", "s")
			far := record(trades, 1, 1)
			for i := range 8 {
				far[8+i], far[trades.TsRecvOffset()+i] = 0x7f, 0x7f
			}
			if err := errors.Join(w.Map(1, "A"), w.Gap(Gap{Schema: trades, Records: 1, Cause: CauseUpstream})); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, w, Run{trades, far})
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if err := hurt(filepath.Join(dir, testDataset, log.name)); err != nil {
				t.Fatal(err)
			}
			if err := Backup(dir, copied, nil); err != nil {
				t.Errorf("%s of %s: %v", what, log.name, err)
				continue
			}
			wantLost(t, dir, log.name)
			wantLost(t, copied, log.name)
			d = served(t, copied, smallSegments)
			if d.Tape(trades).Tail() != 1 {
				t.Errorf("%s of %s: the copy's tape has %d records", what, log.name, d.Tape(trades).Tail())
			}
			if _, err := d.OpenWriter(WriterOptions{Producer: "p", Stream: "s"}); (err != nil) != (log.name == streamsName) {
				t.Errorf("%s of %s: a producer of the copy is told: %v", what, log.name, err)
			}
		}
	}
}
