package journal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	childEnv   = "TAPEWIRE_JOURNAL_CHILD" // directory; makes the test binary the child of a kill -9 test
	childSeed  = "TAPEWIRE_JOURNAL_SEED"
	killRounds = 25
)

// childMain appends two schemas from two writers until it is killed. It says "go" once it has begun, and "synced N N" when that much of each stream
// was acknowledged as on disk.
func childMain() {
	dir := os.Getenv(childEnv)
	seed, err := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	if err == nil {
		err = childAppend(dir, seed)
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(1)
}

func childAppend(dir string, seed uint64) error {
	j, err := Open(dir, killOptions())
	if err != nil {
		return err
	}
	d, err := j.Create(testDataset)
	if err != nil {
		return err
	}
	failed, synced := make(chan error, 3), make(chan struct{}, 1)
	var writers [2]*Writer
	for id := uint32(1); id <= 2; id++ {
		w, err := d.OpenWriter(WriterOptions{Producer: fmt.Sprint("p", id), Stream: "s"})
		if err != nil {
			return err
		}
		writers[id-1] = w
		rnd := rand.New(rand.NewPCG(seed, uint64(id)))
		go func() {
			n := w.Accepted()
			for {
				a, b := rnd.IntN(40), 1+rnd.IntN(20)
				err := appendAll(w, Run{trades, records(trades, id, n, a)}, Run{mbp1, records(mbp1, id, n+uint64(a), b)})
				if err != nil {
					failed <- err
					return
				}
				n += uint64(a + b)
			}
		}()
	}
	defer d.Watch(nil, func() {
		select {
		case synced <- struct{}{}:
		default:
		}
	})()
	go func() { // so that some are killed while a side log is written anew; nobody appends to them
		for {
			for _, l := range d.sideLogs() {
				if err := rewriteSame(l); err != nil {
					failed <- err
					return
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	fmt.Println("go")
	for {
		select {
		case <-synced:
			fmt.Println("synced", writers[0].Synced(), writers[1].Synced())
		case err := <-failed:
			return err
		}
	}
}

func killOptions() Options {
	return Options{Sync: SyncPolicy{Interval: 3 * time.Millisecond}, MinSegment: 64 << 10, MaxSegment: 256 << 10}
}

func TestKillAtAnyMomentLeavesCountsEqualToRecords(t *testing.T) {
	rnd := newRand(t)
	rounds := killRounds
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	var before [3]uint64
	for round := range rounds {
		killOne(t, dir, rnd)
		j, err := Open(dir, killOptions())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		d := j.Lookup(testDataset)
		if d == nil {
			j.Close()
			continue // killed before the dataset was there
		}
		counts := map[uint32]uint64{}
		for id := uint32(1); id <= 2; id++ {
			n := openWriter(t, d, fmt.Sprint("p", id), "s").Accepted()
			if n < before[id] {
				t.Fatalf("round %d: stream %d went back from %d to %d", round, id, before[id], n)
			}
			before[id], counts[id] = n, n
		}
		if err := checkStreams(d, counts); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if len(d.Epochs()) != 1 {
			t.Fatalf("round %d: epoch %d: a kill must not cut", round, d.Epoch())
		}
		// Half of the rounds go on after a second kill in place of a proper close.
		if round%2 == 0 {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			abandon(j)
		}
	}
	t.Logf("%d and %d records after %d kills", before[1], before[2], rounds)
	if before[1] == 0 || before[2] == 0 {
		t.Error("nothing was ever appended")
	}
	report, err := Verify(dir, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

// startChild starts this test binary as a publisher to dir.
func startChild(t *testing.T, dir string, rnd *rand.Rand, stderr io.Writer) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childSeed+"="+strconv.FormatUint(rnd.Uint64(), 10))
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// killOne runs a child and kills it at a random moment after, or now and then before, it has begun.
func killOne(t *testing.T, dir string, rnd *rand.Rand) {
	t.Helper()
	var stderr strings.Builder
	cmd, out := startChild(t, dir, rnd, &stderr)
	if rnd.IntN(8) > 0 {
		if _, err := io.ReadFull(out, make([]byte, len("go\n"))); err != nil {
			cmd.Wait()
			t.Fatalf("child did not begin: %v: %s", err, stderr.String())
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, out) // until it is killed
	}()
	time.Sleep(time.Duration(rnd.IntN(60_000)) * time.Microsecond) // the moment is the point of the test
	cmd.Process.Kill()
	<-drained
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		t.Fatalf("child ended by itself: %s", stderr.String())
	}
}

// abandon leaves a journal as a kill would: nothing is synced or marked, only the process's hold on it ends.
func abandon(j *Journal) {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	for _, k := range []*keeping{j.reopening, j.keeping} {
		if k != nil {
			k.end()
		}
	}
	for _, d := range *j.datasets.Load() {
		d.mu.Lock()
		d.closed.Store(true)
		d.announce()
		d.mu.Unlock()
		d.stop()
		d.release()
	}
	j.lock.Close()
}
