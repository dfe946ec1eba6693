package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// killedPipe is a gateway and a publisher of standard input, processes that a test kills.
type killedPipe struct {
	t         *testing.T
	addr      string
	dir, log  string
	gateway   *exec.Cmd
	publisher *exec.Cmd
	header    []byte // the input's metadata
	records   []byte
	in        *os.File // where the publisher's input is written
}

const pipeRecord = 48 // bytes

func startKilledPipe(t *testing.T, count int) *killedPipe {
	t.Helper()
	whole, err := os.ReadFile(tradesFile(t, count))
	must(t, err)
	k := &killedPipe{t: t, addr: freeAddr(t), dir: t.TempDir()}
	k.log = filepath.Join(k.dir, "log")
	k.header, k.records = whole[:len(whole)-count*pipeRecord], whole[len(whole)-count*pipeRecord:]
	k.serve()
	return k
}

func (k *killedPipe) serve() {
	k.gateway = child(k.t, k.log, "serve", "--data", filepath.Join(k.dir, "d"), "--listen", k.addr, "--any-filesystem", "--log-level", "error")
}

// publish starts a publisher, whose input begins with the metadata.
func (k *killedPipe) publish(args ...string) {
	k.t.Helper()
	r, w, err := os.Pipe()
	must(k.t, err)
	k.publisher = childReading(k.t, r, k.log, append([]string{"publish", "--gateway", k.addr, "--stream", "s", "-"}, args...)...)
	must(k.t, r.Close())
	k.t.Cleanup(func() { w.Close() })
	k.in = w
	k.feed(k.header)
}

// feed writes to the publisher's input, which may be dead.
func (k *killedPipe) feed(b []byte) { k.in.Write(b) }

// accepted is what the gateway has of the stream, as a feed that goes on would ask.
func (k *killedPipe) accepted() int {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 20*time.Second)
	defer cancel()
	for {
		p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: k.addr, Dataset: "TEST.ONE", Name: "publish-s", Stream: "s"})
		if err == nil {
			must(k.t, p.Close(ctx))
			return int(p.Accepted())
		}
		if ctx.Err() != nil {
			k.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // polls a gateway that starts
	}
}

// isExact waits for the publisher and compares the tape with the whole input.
func (k *killedPipe) isExact() {
	k.t.Helper()
	k.in.Close()
	if err := k.publisher.Wait(); err != nil {
		log, _ := os.ReadFile(k.log)
		k.t.Fatalf("the publisher: %v\n%s", err, log)
	}
	got := filepath.Join(k.dir, "got.dbn")
	if code, _, errors := tapewire(k.t.Context(), "subscribe", "--gateway", k.addr, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--until-replayed", "-o", got); code != exitDone {
		k.t.Fatalf("exit code %d\n%s", code, errors)
	}
	if b := fileRecords(k.t, got); !bytes.Equal(b, k.records) {
		k.t.Errorf("%d records on the tape, want these %d, once and in order", len(b)/pipeRecord, len(k.records)/pipeRecord)
	}
}

// A pipe cannot be read again: what flows through it while the gateway dies and comes back must be there once.
func TestAPipeFlowsOnOverKilledGateways(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; to repeat: put it into this test", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	k := startKilledPipe(t, 60_000)
	k.accepted() // it listens
	k.publish()
	k.feed(k.records[:pipeRecord])
	k.hasTaped(1) // there was a session
	for rest := k.records[pipeRecord:]; len(rest) > 0; {
		n := min(1+rng.IntN(500_000), len(rest))
		k.feed(rest[:n])
		if rest = rest[n:]; len(rest) > 0 {
			kill(k.gateway)
			if rng.IntN(2) == 0 {
				time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // the input meets a gateway that is away
			}
			k.serve()
		}
	}
	k.isExact()
	if log, _ := os.ReadFile(k.log); !strings.Contains(string(log), "trying again") {
		t.Error("no session was lost, so this test has shown nothing")
	}
}

// Whoever is killed when, gateway or publisher: a pipe that is started again goes on by count.
func TestAPipeThatIsStartedAgainGoesOnByCount(t *testing.T) {
	for name, rest := range map[string]bool{"from its beginning": false, "from accepted on": true} {
		t.Run(name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d; to repeat: put it into this test", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			k := startKilledPipe(t, 60_000)
			grew, last := 0, 0
			for range 8 {
				at, args := 0, []string{"--resume"}
				accepted := k.accepted()
				if accepted > last {
					grew, last = grew+1, accepted
				}
				if rest {
					at, args = accepted*pipeRecord, append(args, "--from-accepted")
				}
				k.publish(args...)
				n := rng.IntN(max(1, len(k.records)-at))
				k.feed(k.records[at : at+n])
				time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond) // the moment of the kill is the test
				if rng.IntN(2) == 0 {
					kill(k.gateway)
					k.serve()
				}
				kill(k.publisher)
			}
			at, args := 0, []string{"--resume"}
			if accepted := k.accepted(); rest {
				at, args = accepted*pipeRecord, append(args, "--from-accepted")
			}
			k.publish(args...)
			k.feed(k.records[at:])
			k.isExact()
			if grew == 0 {
				t.Error("no killed publisher brought anything, so this test has shown nothing")
			}
		})
	}
}

// A feed that goes on is no input from the beginning: passing over its first records would lose them without a word.
func TestANamedPipeIsHeldAgainstItsBeginning(t *testing.T) {
	gateway := startGateway(t)
	whole, err := os.ReadFile(tradesFile(t, 1000))
	must(t, err)
	header, records := whole[:len(whole)-1000*pipeRecord], whole[len(whole)-1000*pipeRecord:]
	publish := func(from, to int, args ...string) (int, string) {
		var out, errors bytes.Buffer
		in := bytes.NewReader(append(bytes.Clone(header), records[from*pipeRecord:to*pipeRecord]...))
		code := run(t.Context(), append([]string{"publish", "--gateway", gateway, "-"}, args...), console{in: in, out: &out, err: &errors})
		return code, out.String() + errors.String()
	}
	for _, c := range []struct {
		name     string
		from, to int
		args     []string
		code     int
		says     string
	}{
		{"begins", 0, 300, []string{"--stream", "s"}, exitDone, "300 records published"},
		{"a feed that went on", 300, 500, []string{"--stream", "s"}, exitUsage, "the first 1 record of stream s are others than these"},
		{"a feed that went on, with --resume", 300, 700, []string{"--stream", "s", "--resume"}, exitUsage, "add --resume --from-accepted"},
		{"the same from its beginning", 0, 500, []string{"--stream", "s"}, exitDone, "200 records published to TEST.ONE with 3 symbol mappings after the 300 that were there"},
		{"the rest", 500, 700, []string{"--stream", "s", "--resume", "--from-accepted"}, exitDone, "200 records published to TEST.ONE with 3 symbol mappings after the 500 that were there"},
		{"less than there is", 0, 600, []string{"--stream", "s", "--resume"}, exitUsage, "has 700 records of stream s already, but here are only 600"},
		{"whole", 0, 1000, []string{"--stream", "s", "--resume"}, exitDone, "300 records published"},
		{"began with --from-accepted", 0, 100, []string{"--stream", "rest", "--resume", "--from-accepted", "--dataset", "TEST.TWO"}, exitDone, "100 records published"},
		{"beginning not known", 0, 200, []string{"--stream", "rest", "--dataset", "TEST.TWO"}, exitUsage, "add --resume when this input is the same from its beginning"},
		{"beginning not known, with --resume", 0, 200, []string{"--stream", "rest", "--resume", "--dataset", "TEST.TWO"}, exitDone, "100 records published"},
		{"no stream", 0, 1, []string{"--resume"}, exitUsage, "name it with --stream ID"},
		{"no --resume", 0, 1, []string{"--stream", "s", "--from-accepted"}, exitUsage, "add --resume"},
	} {
		if code, text := publish(c.from, c.to, c.args...); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s", c.name, code, c.code, c.says, text)
		}
	}
	got := filepath.Join(t.TempDir(), "got.dbn")
	if code, _, errors := tapewire(t.Context(), "subscribe", "--gateway", gateway, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--until-replayed", "-o", got); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	if !bytes.Equal(fileRecords(t, got), records) {
		t.Error("the tape does not hold the input once and in order")
	}
}

// What a gateway acknowledged as written and lost, as in a power cut, may be held no more: whoever ran the pipe must not read that all is well.
func TestAPipeTellsOfRecordsThatTheGatewayLost(t *testing.T) {
	const before = 1000
	total := before + feed.DefaultMaxHeld/pipeRecord + 200_000 // the first of them are held no more when all are read
	k := startKilledPipe(t, total)
	data, older := filepath.Join(k.dir, "d"), filepath.Join(k.dir, "older")
	k.accepted() // it listens
	k.publish()
	k.feed(k.records[:before*pipeRecord])
	k.hasTaped(before)
	kill(k.gateway)
	must(t, os.CopyFS(older, os.DirFS(data)))
	k.serve()
	k.feed(k.records[before*pipeRecord:])
	kill(k.gateway)
	must(t, os.RemoveAll(data))
	must(t, os.Rename(older, data))
	k.serve()
	k.in.Close()
	k.publisher.Wait()
	log, _ := os.ReadFile(k.log)
	if code := k.publisher.ProcessState.ExitCode(); code != exitMissing || !strings.Contains(string(log), "records that it had acknowledged") {
		t.Errorf("exit code %d, want %d\n%s", code, exitMissing, log)
	}
	got := filepath.Join(k.dir, "got.dbn")
	if code, _, errors := tapewire(t.Context(), "subscribe", "--gateway", k.addr, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--until-replayed", "-o", got); code != exitMissing {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	b := fileRecords(t, got)
	missing := total - len(b)/pipeRecord
	if want := append(k.records[:before*pipeRecord:before*pipeRecord], k.records[(before+missing)*pipeRecord:]...); missing == 0 || !bytes.Equal(b, want) {
		t.Errorf("%d of %d records on the tape, want all but one span after the first %d", total-missing, total, before)
	}
	if want := "the gateway lost " + counted(uint64(missing), "record"); !strings.Contains(string(log), want) {
		t.Errorf("want %q in\n%s", want, log)
	}
}

// hasTaped waits until the tape has its first n records.
func (k *killedPipe) hasTaped(n int) {
	k.t.Helper()
	if code, _, errors := tapewire(k.t.Context(), "subscribe", "--gateway", k.addr, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--limit", strconv.Itoa(n)); code != exitDone {
		k.t.Fatalf("exit code %d\n%s", code, errors)
	}
}
