package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// A copy that cp or rsync makes beside a gateway at full rate has files of different moments. What is served of it is what its sums vouch for: of each stream
// its first records, in both tapes, and a history of its own.

const (
	copyRounds = 4
	copyMost   = 1_500_000 // records of a round, some 100 MB
	copyBegins = 200_000   // records that there are when the copy begins; more follow all the time
	copyBurst  = 500       // records in a ms and a little: as fast as the gateway takes them the tapes would end before a copy does
)

// flow is a producer at full rate.
type flow struct {
	acked func() uint64
	sent  func() uint64
	done  chan struct{}
	stop  context.CancelFunc
	err   error // once done
}

// flow publishes until it is stopped, refused, or has published copyMost records.
func (s *served) flow(ack feed.AckLevel) *flow {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	p, err := s.dial(ctx, ack)
	must(s.t, err)
	f := &flow{acked: p.Acked, sent: p.Sent, done: make(chan struct{}), stop: stop}
	go func() {
		defer close(f.done)
		for k := int(p.Accepted()); k < copyMost && ctx.Err() == nil && f.err == nil; k++ {
			f.err = p.Publish(servedRecord(k))
			if k%copyBurst == 0 {
				time.Sleep(time.Millisecond) // paces the market
			}
		}
		if f.err == nil {
			f.err = p.Flush()
		}
		select {
		case <-p.Done():
			f.err = p.Err()
		case <-ctx.Done():
		}
	}()
	s.t.Cleanup(func() { stop(); p.Close(ctx) })
	return f
}

// copied makes a copy beside a gateway at full rate and kills the gateway. copy says whether its program found all files. It returns what the copy is a copy of.
func copied(t *testing.T, data string, copy func() bool) (count uint64, tail replay) {
	t.Helper()
	s := startServed(t, nil, data, "--sync", "20ms", "--any-filesystem", "--retain", "forever")
	f := s.flow(feed.AckWritten)
	eventually(t, "records come", func() bool { return f.acked() >= copyBegins })
	before := f.acked()
	if !copy() {
		t.Fatal("no copy was made of files that come and go")
	}
	if f.acked() == copyMost {
		t.Fatal("the copy took longer than all records")
	}
	count = f.sent() // some of it after the copy, and more than had come when it ended
	t.Logf("copied between record %d and %d", before, count)
	f.stop()
	<-f.done
	trades := uint64(s.accepted()+2) / 3
	tail = s.replay(feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)}, trades)
	s.kill()
	return count, tail
}

// checkCopy serves a copy.
func checkCopy(t *testing.T, data string, most uint64, original replay) {
	t.Helper()
	report, err := journal.Verify(data, nil)
	must(t, err)
	s := startServed(t, nil, data, "--any-filesystem", "--retain", "forever")
	defer s.kill()
	r := s.recovered()
	kept := s.holdsPrefix(r.Lost)
	t.Logf("kept %d records and cut %d; verify found %d problems before: %s", kept, r.Lost, len(report.Problems), r.Why)
	if kept == 0 || uint64(kept) != r.Records || uint64(kept) > most {
		t.Errorf("the copy has %d records, the opening kept %d; there were %d when it was made", kept, r.Records, most)
	}
	if r.Epoch == original.at.Epoch {
		t.Error("the copy goes on in the epoch of what it is a copy of")
	}
	records := uint64(0)
	for _, tape := range report.Tapes {
		records += tape.Records
	}
	if len(report.Problems) == 0 && records != r.Records {
		t.Errorf("verify found %d records and no problem before the opening, which kept %d", records, r.Records)
	}
	// One position is beyond the copy, the other within it.
	got := s.replay(feed.Subscription{Schema: feed.SchemaTrades, Resume: &original.at}, original.at.Seq)
	if !strings.Contains(got.refused, "resume=") {
		t.Errorf("who resumes beyond the copy gets %d bytes, gaps %+v, refused %q; want a refusal", len(got.records), got.gaps, got.refused)
	}
	s.goesOn(lsg.Position{Epoch: original.at.Epoch, Seq: 100}, kept, r.Cut)
	s.end()
	verified(t, data)
}

// copying runs a program until it finds no file gone that it was about to copy: whoever makes a copy is told by it and does it again.
func copying(t *testing.T, to string, gone int, command ...string) bool {
	t.Helper()
	var exit *exec.ExitError
	for range 10 {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err == nil {
			return true
		}
		if !errors.As(err, &exit) || exit.ExitCode() != gone {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("again: %s", out)
		runs(t, "rm", "-rf", to)
	}
	return false
}

func TestMountsAsideACopyByCpWhileRunningIsAPrefixOfEachTape(t *testing.T) {
	whenAsked(t)
	for range copyRounds {
		dir := t.TempDir()
		data, to := filepath.Join(dir, "d"), filepath.Join(dir, "copy")
		count, tail := copied(t, data, func() bool { return copying(t, to, 1, "cp", "-a", data, to) })
		checkCopy(t, to, count, tail)
	}
}

// The second pass finds most files as they were, some grown, some renamed.
func TestMountsAsideACopyByRsyncWhileRunningIsAPrefixOfEachTape(t *testing.T) {
	whenAsked(t)
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Skipf("NOT PROVEN HERE: %v", err)
	}
	for range copyRounds {
		dir := t.TempDir()
		data, to := filepath.Join(dir, "d"), filepath.Join(dir, "copy")
		count, tail := copied(t, data, func() bool {
			for range 2 {
				if !copying(t, to, 24, "rsync", "-a", "--delete", data+"/", to) {
					return false
				}
				time.Sleep(100 * time.Millisecond) // the tapes go on between the two
			}
			return true
		})
		checkCopy(t, to, count, tail)
	}
}
