package journal

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	cutRoundsEnv = "POWERCUT_ROUNDS"
	cutRounds    = 2
	cutDisk      = 192 << 20 // bytes of the disk that loses its power

	// ext4 stops at once, without writing its own journal: <linux/ext4.h>, EXT4_IOC_SHUTDOWN.
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// TestPowerCutOnExt4KeepsWhatWasAcked takes the power from a real filesystem while a process publishes: ext4 on a loop device is shut down in the middle of
// whatever it does, what it had not written is gone, and a copy of the device's file is recovered under another mount and with other inodes.
func TestPowerCutOnExt4KeepsWhatWasAcked(t *testing.T) {
	rounds := cutRounds
	if n, err := strconv.Atoi(os.Getenv(cutRoundsEnv)); err == nil {
		rounds = n
	}
	rnd := newRand(t)
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	makeDisk(t, image, mount)
	if !mounted(t, image, mount) {
		return
	}
	var acked, kept [2]uint64
	for round := range rounds {
		publishUntilCut(t, mount, rnd, &acked)
		next := filepath.Join(dir, fmt.Sprint("disk-", round))
		must(t, "cp", "--sparse=always", image, next)
		must(t, "umount", mount)
		must(t, "rm", image)
		image = next
		if !mounted(t, image, mount) {
			t.Fatal("the copy cannot be mounted")
		}
		checkAfterCut(t, round, filepath.Join(mount, "j"), acked, &kept)
		acked = kept // what an opening kept is on disk
	}
	must(t, "umount", mount)
	t.Logf("%d power cuts, %d and %d records on disk", rounds, kept[0], kept[1])
}

func must(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

// makeDisk makes an empty disk, or skips the test and says what is missing here.
func makeDisk(t *testing.T, image, mount string) {
	t.Helper()
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(cutDisk)
		f.Close()
	}
	if err == nil {
		err = os.Mkdir(mount, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("no power cut on ext4 here: mkfs.ext4: %v: %s", err, out)
	}
}

// mounted mounts a disk for the rest of the test.
func mounted(t *testing.T, image, mount string) bool {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("no power cut on ext4 here: mounting a loop device, which only root may: %v: %s", err, out)
		return false
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) }) // where the test has not
	return true
}

// publishUntilCut runs a publisher until the power goes, and keeps what it was told to be on disk.
func publishUntilCut(t *testing.T, mount string, rnd *rand.Rand, acked *[2]uint64) {
	t.Helper()
	var stderr strings.Builder
	cmd, out := startChild(t, filepath.Join(mount, "j"), rnd, &stderr)
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var a, b uint64
			switch n, _ := fmt.Sscanf(lines.Text(), "synced %d %d", &a, &b); {
			case n == 2:
				acked[0], acked[1] = max(acked[0], a), max(acked[1], b)
			case lines.Text() == "go":
				close(begun)
			}
		}
	}()
	select {
	case <-begun:
	case <-ended:
		_ = cmd.Wait()
		t.Fatalf("child did not begin: %s", stderr.String())
	}
	time.Sleep(time.Duration(rnd.IntN(250_000)) * time.Microsecond) // the moment is the point of the test
	d, err := os.Open(mount)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var flags [4]byte
	binary.LittleEndian.PutUint32(flags[:], noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Skipf("no power cut on ext4 here: this kernel cannot shut it down: %v", errno)
	}
	_ = cmd.Process.Kill() // it may have ended by itself: its disk is gone
	<-ended
	_ = cmd.Wait()
}

func checkAfterCut(t *testing.T, round int, dir string, acked [2]uint64, kept *[2]uint64) {
	t.Helper()
	j, err := Open(dir, killOptions())
	if err != nil {
		t.Fatalf("cut %d: %v", round, err)
	}
	d := j.Lookup(testDataset)
	if d == nil {
		t.Fatalf("cut %d: the dataset is gone: %v", round, j.Damaged(testDataset))
	}
	counts := map[uint32]uint64{}
	for i := range kept {
		n := openWriter(t, d, fmt.Sprint("p", i+1), "s").Accepted()
		if n < acked[i] {
			t.Errorf("cut %d: stream %d has %d records, %d were acknowledged as on disk", round, i+1, n, acked[i])
		}
		kept[i], counts[uint32(i+1)] = n, n
	}
	if err := checkStreams(d, counts); err != nil {
		t.Errorf("cut %d: %v", round, err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("cut %d: %v", round, err)
	}
	if report, err := Verify(dir, nil); err != nil || len(report.Problems) > 0 {
		t.Errorf("cut %d: verify: %v, %v", round, report.Problems, err)
	}
}
