package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

// These tests are about where the same bytes are seen from: another mount, another path, another namespace, another layer. Sums decide what is kept, so
// nothing may be cut; who the directory is decides the epoch, so another one must begin. They need root and skip what is missing here.

const (
	mountSynced = 60_000 // records that are acknowledged as on disk before a kill
	mountAcked  = 80_000 // and as written
	mountMore   = 90_000 // that there are in the end
)

// mountsEnv asks for these tests: together they take minutes, and mount and publish as fast as the machine can.
const mountsEnv = "MOUNTS"

func whenAsked(t *testing.T) {
	t.Helper()
	if os.Getenv(mountsEnv) == "" {
		t.Skip("run by: make mounts")
	}
}

// runs runs a command that has to end well.
func runs(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

// needs runs a command, and skips the test with the reason where it cannot be run.
func needs(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Skipf("NOT PROVEN HERE, it needs root and %s: %s: %v: %s", command[0], strings.Join(command, " "), err, out)
	}
}

// mounts mounts something for the rest of the test, or skips it.
func mounts(t *testing.T, at string, args ...string) {
	t.Helper()
	needs(t, append(append([]string{"mount"}, args...), at)...)
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) }) // where the test has not
}

func makeDirs(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		must(t, os.MkdirAll(path, 0o755))
	}
}

// loopDisk is a filesystem in a file.
type loopDisk struct {
	t         *testing.T
	image, at string
}

const loopDiskBytes = 512 << 20 // XFS takes no less than 300 MiB; what is not used takes no room

func newLoopDisk(t *testing.T, kind string) *loopDisk {
	t.Helper()
	dir := t.TempDir()
	d := &loopDisk{t: t, image: filepath.Join(dir, "disk"), at: filepath.Join(dir, "mnt")}
	f, err := os.Create(d.image)
	must(t, err)
	must(t, f.Truncate(loopDiskBytes))
	must(t, f.Close())
	makeDirs(t, d.at)
	needs(t, "mkfs."+kind, "-q", d.image)
	d.mount()
	return d
}

func (d *loopDisk) mount() {
	d.t.Helper()
	mounts(d.t, d.at, "-o", "loop", d.image)
}

// again takes the filesystem out of the tree and back: what was in memory alone is gone, and the mount is another one.
func (d *loopDisk) again() {
	d.t.Helper()
	runs(d.t, "umount", d.at)
	d.mount()
}

// killed publishes, half of it acknowledged as on disk and half as written, and kills the gateway. It returns the epoch and where a subscriber of trades was.
func killed(t *testing.T, data string) (r replay) {
	t.Helper()
	s := startServed(t, nil, data, "--any-filesystem")
	s.publish(mountSynced, feed.AckSynced, servedRecord)
	r = s.replay(feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)}, mountSynced/3)
	s.publish(mountAcked, feed.AckWritten, servedRecord)
	s.kill()
	return r
}

// keptElsewhere checks a gateway that sees from elsewhere what another one left: all is there, nothing is cut, no gap is told, the epoch is another one, and
// publisher and subscriber go on. Then it is killed.
func keptElsewhere(t *testing.T, s *served, before replay) {
	t.Helper()
	if r := s.keepsAll(mountAcked); r.Epoch <= before.at.Epoch {
		t.Errorf("epoch %d, it was %d: it may go on elsewhere too", r.Epoch, before.at.Epoch)
	}
	s.holds(mountAcked)
	s.publish(mountMore, feed.AckWritten, servedRecord)
	s.goesOn(before.at, mountMore, false)
	s.kill()
}

// keptSince checks a gateway that comes after keptElsewhere, and ends it.
func keptSince(t *testing.T, s *served, data string) {
	t.Helper()
	s.keepsAll(mountMore)
	s.holds(mountMore)
	s.end()
	verified(t, data)
}

func TestMountedAgainAfterAKillKeepsAllThatWasAcked(t *testing.T) {
	whenAsked(t)
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			d := newLoopDisk(t, kind)
			data := filepath.Join(d.at, "d")
			before := killed(t, data)
			d.again()
			keptElsewhere(t, startServed(t, nil, data), before)
			d.again()
			keptSince(t, startServed(t, nil, data), data)
		})
	}
}

// The other path of a bind mount is the same directory: all is there, and one gateway has it at a time.
func TestMountBoundElsewhereKeepsAllAndIsLocked(t *testing.T) {
	whenAsked(t)
	dir := t.TempDir()
	here, there := filepath.Join(dir, "here"), filepath.Join(dir, "there")
	makeDirs(t, here, there)
	mounts(t, there, "--bind", here)
	before := killed(t, filepath.Join(here, "d"))
	s := startServed(t, nil, filepath.Join(there, "d"), "--any-filesystem")
	if code, _, errors := tapewire(t.Context(), "serve", "--data", filepath.Join(here, "d"), "--listen", "127.0.0.1:0", "--any-filesystem"); code == exitDone || !strings.Contains(errors, "a gateway runs on") {
		t.Errorf("a second gateway by the other path: exit code %d: %s", code, errors)
	}
	keptElsewhere(t, s, before)
	keptSince(t, startServed(t, nil, filepath.Join(here, "d"), "--any-filesystem"), filepath.Join(here, "d"))
}

// A dataset's directory that is mounted into a second data directory has one gateway at a time, and the other serves the rest of its own.
func TestMountOfOneDatasetInAnotherDirectoryHasOneGateway(t *testing.T) {
	whenAsked(t)
	dir := t.TempDir()
	here, there := filepath.Join(dir, "here"), filepath.Join(dir, "there")
	s := startServed(t, nil, here, "--any-filesystem")
	s.publish(mountSynced, feed.AckWritten, servedRecord)
	makeDirs(t, filepath.Join(there, servedDataset))
	mounts(t, filepath.Join(there, servedDataset), "--bind", filepath.Join(here, servedDataset))
	second := startServed(t, nil, there, "--any-filesystem")
	if p, err := second.dial(t.Context(), feed.AckWritten); err == nil {
		p.Close(t.Context())
		t.Error("a second gateway takes records for it")
	} else if !strings.Contains(second.logged(), "another gateway serves these files") {
		t.Errorf("its log does not say why: %v", err)
	}
	second.end()
	s.publish(mountAcked, feed.AckWritten, servedRecord)
	s.holds(mountAcked)
	s.end()
	verified(t, here)
}

// A container, or a unit with PrivateTmp, has mounts of its own at each start. A tap outside of it reads on.
func TestMountsOfItsOwnKeepAllAndATapOutsideReads(t *testing.T) {
	whenAsked(t)
	own := []string{"unshare", "-m"}
	needs(t, append(own, "true")...)
	data := filepath.Join(t.TempDir(), "d")
	before := killed(t, data)
	s := startServed(t, own, data, "--any-filesystem")
	out := filepath.Join(t.TempDir(), "tap.dbn")
	if code, _, errors := tapewire(t.Context(), "tap", "--data", data, "--dataset", servedDataset, "--schema", "trades", "--start", "0", "--limit", "20000", "-o", out); code != exitDone {
		t.Errorf("tap from outside: exit code %d\n%s", code, errors)
	} else if !bytes.Equal(fileRecords(t, out), servedTapes(60_000)[feed.SchemaTrades]) {
		t.Error("a tap from outside reads something else")
	}
	keptElsewhere(t, s, before)
	keptSince(t, startServed(t, own, data, "--any-filesystem"), data)
}

// overlay mounts a layer over another one.
func overlay(t *testing.T, at, lower, upper, work string) {
	t.Helper()
	makeDirs(t, at, lower, upper, work)
	mounts(t, at, "-t", "overlay", "-o", "lowerdir="+lower+",upperdir="+upper+",workdir="+work, "overlay")
}

// The directory of a container that is stopped and started: it lies in the upper layer of an overlay that is mounted anew.
func TestMountedOverlayKeepsWhatItsUpperLayerHas(t *testing.T) {
	whenAsked(t)
	d := newLoopDisk(t, "ext4")
	at := filepath.Join(d.at, "merged")
	over := func() {
		overlay(t, at, filepath.Join(d.at, "lower"), filepath.Join(d.at, "upper"), filepath.Join(d.at, "work"))
	}
	over()
	data := filepath.Join(at, "d")
	before := killed(t, data)
	runs(t, "umount", at)
	over()
	keptElsewhere(t, startServed(t, nil, data, "--any-filesystem"), before)
	runs(t, "umount", at)
	over()
	keptSince(t, startServed(t, nil, data, "--any-filesystem"), data)
}

// Data that came with a container's image, or from a snapshot below: what is stored to is copied up, into other inodes, and the layer below stays as it is.
func TestMountedOverlayCopiesUpAndLeavesItsLowerLayer(t *testing.T) {
	whenAsked(t)
	d := newLoopDisk(t, "ext4")
	lower, at := filepath.Join(d.at, "lower"), filepath.Join(d.at, "merged")
	makeDirs(t, lower)
	before := killed(t, filepath.Join(lower, "d"))
	is := digest(t, lower)
	over := func() { overlay(t, at, lower, filepath.Join(d.at, "upper"), filepath.Join(d.at, "work")) }
	over()
	data := filepath.Join(at, "d")
	keptElsewhere(t, startServed(t, nil, data, "--any-filesystem"), before)
	keptSince(t, startServed(t, nil, data, "--any-filesystem"), data)
	runs(t, "umount", at)
	over()
	keptSince(t, startServed(t, nil, data, "--any-filesystem"), data)
	if digest(t, lower) != is {
		t.Error("the layer below is not what it was")
	}
	runs(t, "umount", at)
	s := startServed(t, nil, filepath.Join(lower, "d"))
	s.keepsAll(mountAcked)
	s.holds(mountAcked)
}

// digest is one of all files and their names.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h.Write([]byte(path))
		h.Write(b)
		return err
	}))
	return hex.EncodeToString(h.Sum(nil))
}

// What a dead gateway's sockets hold is pages of the filesystem; each kind has its own way to cut, punch and copy.
func TestMountedKindsKeepQueuedRecordsWhenRecoveryCuts(t *testing.T) {
	whenAsked(t)
	kinds := map[string]func(t *testing.T) string{
		"ext4": func(t *testing.T) string { return newLoopDisk(t, "ext4").at },
		"xfs":  func(t *testing.T) string { return newLoopDisk(t, "xfs").at },
		"tmpfs": func(t *testing.T) string {
			at := t.TempDir()
			mounts(t, at, "-t", "tmpfs", "tmpfs")
			return at
		},
		"overlay": func(t *testing.T) string {
			at := newLoopDisk(t, "ext4").at
			overlay(t, filepath.Join(at, "merged"), filepath.Join(at, "lower"), filepath.Join(at, "upper"), filepath.Join(at, "work"))
			return filepath.Join(at, "merged")
		},
	}
	for kind, made := range kinds {
		for name, c := range map[string]queuedCase{"in use": cutInUse, "sealed": cutSealed} {
			for _, path := range []string{"sendfile", "splice"} {
				t.Run(kind+" "+name+" "+path, func(t *testing.T) { checkCut(t, filepath.Join(made(t), "d"), path, c) })
			}
		}
	}
}
