package main

import (
	"context"
	little "encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/feed"
)

const (
	// The filesystem stops at once, without writing its own log: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number.
	shutdownRequest = 0x8004587d
	shutdownNoFlush = 2

	pullAfter = 50_000 // records that are acknowledged as on disk before the device goes
)

// pull takes the device from under the filesystem: what it has not written is lost, and every call fails from now on.
func (d *loopDisk) pull() {
	d.t.Helper()
	f, err := os.Open(d.at)
	must(d.t, err)
	defer f.Close()
	var flags [4]byte
	little.LittleEndian.PutUint32(flags[:], shutdownNoFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdownRequest, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		d.t.Skipf("NOT PROVEN HERE: this kernel cannot shut the filesystem down: %v", errno)
	}
}

// A device that is pulled while records come: the gateway says that it takes no more, at either level of acks, and what it had acknowledged as on disk is
// there when the device is back.
func TestMountPulledAndBackKeepsWhatWasSyncedAndAcksNothingMore(t *testing.T) {
	whenAsked(t)
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			d := newLoopDisk(t, kind)
			data := filepath.Join(d.at, "d")
			s := startServed(t, nil, data, "--sync", "5ms", "--retain", "forever")
			f := s.flow(feed.AckSynced)
			eventually(t, "records are on disk", func() bool { return f.acked() >= pullAfter })
			d.pull()
			eventually(t, "the producer is ended", func() bool {
				select {
				case <-f.done:
					return true
				default:
					return false
				}
			})
			acked := f.acked()
			if f.err == nil || acked == copyMost {
				t.Fatalf("the producer had %d records acknowledged and ended with %v", acked, f.err)
			}
			t.Logf("acknowledged as on disk: %d; then: %v", acked, f.err)
			s.takesNothing()
			must(t, s.cmd.Process.Signal(syscall.SIGTERM))
			if err := s.cmd.Wait(); err == nil {
				t.Error("it ended as if everything were on disk")
			}
			d.again()
			s = startServed(t, nil, data)
			kept := s.holdsPrefix(s.recovered().Lost)
			if uint64(kept) < acked {
				t.Errorf("%d records are there, %d were acknowledged as on disk", kept, acked)
			}
			s.publish(kept+1000, feed.AckSynced, servedRecord)
			s.end()
			verified(t, data)
		})
	}
}

// takesNothing checks that the gateway says that it cannot do its job, and acknowledges nothing to a producer that comes now.
func (s *served) takesNothing() {
	s.t.Helper()
	resp, err := http.Get(s.admin + "/readyz")
	must(s.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(s.logged(), `"level":"error"`) {
		s.t.Errorf("readyz: %s; the log: %s", resp.Status, s.logged())
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	p, err := s.dial(ctx, feed.AckWritten)
	if err != nil {
		if s.t.Logf("a producer that comes now is told: %v", err); feed.IsFinal(err) {
			s.t.Error("a producer that comes now gives up for good: a restart ends this state")
		}
		return
	}
	before := p.Accepted()
	_ = p.Publish(servedRecord(int(before)))
	if err := p.WaitAcked(ctx, before+1); err == nil {
		s.t.Error("a record is acknowledged on a device that is gone")
	} else {
		s.t.Logf("a record that comes now is not acknowledged: %v", err)
	}
	_ = p.Close(ctx)
}
