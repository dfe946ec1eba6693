package journal

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk that has no room for what an opening of one dataset must write must not keep the others from being served, nor that one once there is room.
func TestDatasetWithoutRoomForItsOpeningWaitsAndHoldsUpNoOther(t *testing.T) {
	disk := NewMemDisk()
	o := memOptions(disk)
	o.RetryInterval = time.Millisecond
	j := open(t, "j", o)
	names := []string{"A", "B"}
	for i, name := range names {
		d, err := j.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, openWriter(t, d, "p", "s"), Run{trades, records(trades, uint32(i), 0, 100)})
	}
	abandon(j)
	served := func(j *Journal, name string) error {
		d := j.Lookup(name)
		if d == nil {
			return errors.Join(errors.New(name+" is not served"), j.Damaged(name))
		}
		return checkStreams(d, map[uint32]uint64{uint32(strings.Index("AB", name)): 100})
	}
	// From another mount all is there, and goes on as another epoch: which needs room.
	disk = disk.Clone(false)
	disk.mount++
	disk.Fault(func(op, path string) error {
		if strings.HasPrefix(path, "j/A/") && (op == "write" || op == "allocate") {
			return syscall.ENOSPC
		}
		return nil
	})
	o.Disk = disk
	j = open(t, "j", o)
	if err := served(j, "B"); err != nil {
		t.Error(err)
	}
	err := j.Damaged("A")
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "free space") || j.Lookup("A") != nil {
		t.Fatalf("the one without room: %v", err)
	}
	if _, err := j.Create("A"); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a producer is told: %v", err)
	}
	told := make(chan struct{}, 1)
	defer j.Watch(func() { told <- struct{}{} })()
	disk.Fault(nil)
	<-told
	if err := errors.Join(served(j, "A"), j.Damaged("A")); err != nil {
		t.Error(err)
	}
	epoch := j.Lookup("A").Epoch()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	// The same with a disk that is full for all of them, and a process that ends before there is room.
	disk = disk.Clone(false)
	disk.mount++
	disk.Limit(disk.Used())
	o.Disk = disk
	j = open(t, "j", o)
	if j.Lookup("A") != nil || len(j.AllDamaged()) != 2 {
		t.Fatalf("on a full disk: %v", j.AllDamaged())
	}
	if err := j.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	disk.Limit(-1)
	j = open(t, "j", o)
	for _, name := range names {
		if err := served(j, name); err != nil {
			t.Error(err)
		}
	}
	if got := j.Lookup("A").Epoch(); got <= epoch {
		t.Errorf("epoch %d after %d", got, epoch)
	}
}
