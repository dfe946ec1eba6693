package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// child runs the program as a process of its own: the test binary is the program when it is called tapewire.
func child(t *testing.T, log string, args ...string) *exec.Cmd {
	t.Helper()
	return childReading(t, nil, log, args...)
}

// childReading is child with something on its standard input.
func childReading(t *testing.T, in *os.File, log string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Args = append([]string{"tapewire"}, args...)
	if in != nil {
		cmd.Stdin = in
	}
	if cmd.Stderr, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	cmd.Process.Kill()
	cmd.Wait()
}

// freeAddr is an address that nobody listens on now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// publishSteadily publishes trades from number 0 on until ctx ends, over whatever happens to the gateway, and returns how many.
func publishSteadily(ctx context.Context, t *testing.T, addr string) (count int) {
	var producer *feed.ResumingProducer
	for producer == nil {
		var err error
		producer, err = feed.DialResumingProducer(ctx, feed.ResumingConfig{
			ProducerConfig: feed.ProducerConfig{Addr: addr, Dataset: "TEST.ONE", Name: "adapter", Stream: "s"},
			Metadata:       feed.Metadata{Schema: feed.SchemaTrades, Start: testStart, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID, Mappings: testMappings()},
		})
		if ctx.Err() != nil {
			t.Error(err)
			return 0
		}
	}
	for ctx.Err() == nil {
		for range 20 {
			if err := producer.Publish(testTrade(count)); err != nil {
				t.Error(err)
				return count
			}
			count++
		}
		if err := producer.Flush(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond) // paces the market
	}
	patience, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := producer.Close(patience); err != nil {
		t.Error(err)
	}
	return count
}

// Whoever is killed when, gateway or recorder: in the end the recordings hold what was published, once and in order, with all names.
func TestRecordingsAreExactWhoeverIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; to repeat: put it into this test", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir, addr := t.TempDir(), freeAddr(t)
	log := filepath.Join(dir, "log")
	serve := func() *exec.Cmd {
		return child(t, log, "serve", "--data", filepath.Join(dir, "d"), "--listen", addr, "--any-filesystem", "--log-level", "error")
	}
	all, some := filepath.Join(dir, "all.dbn"), filepath.Join(dir, "some.dbn")
	recorders := map[string][]string{all: nil, some: {"--symbols", "BRAVO"}}
	args := func(path string, more ...string) []string {
		fixed := []string{"subscribe", "--gateway", addr, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--resume", "-o", path}
		return append(append(fixed, recorders[path]...), more...)
	}
	gateway, running := serve(), map[string]*exec.Cmd{}
	for path := range recorders {
		running[path] = child(t, log, args(path)...)
	}
	ctx, end := context.WithCancel(t.Context())
	published := make(chan int, 1)
	go func() { published <- publishSteadily(ctx, t, addr) }()
	for range 12 {
		time.Sleep(time.Duration(100+rng.IntN(400)) * time.Millisecond) // the moment of the kill is the test
		if rng.IntN(2) == 0 {
			kill(gateway)
			gateway = serve()
			continue
		}
		path := []string{all, some}[rng.IntN(2)]
		kill(running[path])
		if rng.IntN(2) == 0 {
			tear(t, path)
		}
		running[path] = child(t, log, args(path)...)
	}
	end()
	count := <-published
	var want, wanted []byte
	for i := range count {
		want = append(want, testTrade(i)...)
		if testTrade(i).InstrumentID() == 2 {
			wanted = append(wanted, testTrade(i)...)
		}
	}
	for path, cmd := range running {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if code, _, errors := tapewire(t.Context(), args(path, "--until-replayed")...); code != exitDone {
			t.Fatalf("exit code %d\n%s", code, errors)
		}
		expected := map[string][]byte{all: want, some: wanted}[path]
		if got := fileRecords(t, path); !bytes.Equal(got, expected) {
			text, _ := os.ReadFile(log)
			t.Errorf("%s holds %d records, want the %d of %d that were published\n%s", path, len(got)/48, len(expected)/48, count, text)
		}
		dec, err := feed.OpenFile(path)
		must(t, err)
		if names := len(dec.Metadata().Mappings); names != map[string]int{all: 3, some: 1}[path] {
			t.Errorf("%s names %d symbols: %v", path, names, dec.Metadata().Symbols)
		}
		dec.Close()
	}
}

// tear leaves the first bytes of a record at the end of a file, as a crash may.
func tear(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if os.IsNotExist(err) {
		return
	}
	must(t, err)
	_, err = f.Write(testTrade(77)[:20])
	must(t, err)
	must(t, f.Close())
}
