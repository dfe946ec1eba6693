package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/gateway"
	"github.com/tapewire/tapewire/journal"
)

// startGateway runs an open gateway for one test and returns its address.
func startGateway(t *testing.T) string {
	t.Helper()
	j, err := journal.Open(t.TempDir(), journal.Options{AnyFilesystem: true})
	if err != nil {
		t.Fatal(err)
	}
	server, err := gateway.New(j, gateway.Config{Listen: "127.0.0.1:0", Limits: gateway.DefaultLimits()})
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownPatience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.Addr().String()
}

// tapewire runs a command in this process and returns its exit code and what it wrote.
func tapewire(ctx context.Context, args ...string) (code int, out, errors string) {
	var o, e bytes.Buffer
	code = run(ctx, args, console{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

func tradesFile(t *testing.T, count int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trades.dbn")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeTrades(f, "TEST.ONE", count, 0, -1); err != nil {
		t.Fatal(err)
	}
	return path
}

func fileRecords(t *testing.T, path string) []byte {
	t.Helper()
	dec, err := feed.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var b []byte
	for rec, err := range dec.Records() {
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, rec...)
	}
	return b
}

// cutter passes bytes on to a gateway, and cuts the first connection that brings so many of them.
func cutter(t *testing.T, to string, after int64) (addr string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int64)
	var cut atomic.Bool
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go io.Copy(in, out)
				if n, _ := io.CopyN(out, in, after); n == after && !cut.Swap(true) {
					return
				}
				io.Copy(out, in)
			}()
		}
	}()
	return l.Addr().String(), connections
}

func TestConnectionLostWhilePublishingIsDialledAgain(t *testing.T) {
	gateway := startGateway(t)
	path := tradesFile(t, 50_000)
	addr, connections := cutter(t, gateway, 1_000_003) // within a record
	code, out, errors := tapewire(t.Context(), "publish", "--gateway", addr, path)
	if code != exitDone || !strings.Contains(out, "50,000 records published") || !strings.Contains(errors, "trying again") {
		t.Fatalf("exit code %d\n%s%s", code, out, errors)
	}
	if n := connections.Load(); n != 3 { // one asks for the stream that an earlier release would have made
		t.Errorf("%d connections, want 3", n)
	}
	got := filepath.Join(t.TempDir(), "got.dbn")
	if code, _, errors := tapewire(t.Context(), "subscribe", "--gateway", gateway, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--until-replayed", "-o", got); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	if !bytes.Equal(fileRecords(t, got), fileRecords(t, path)) {
		t.Error("the tape does not hold the file's records once and in order")
	}
}

// A name can have one session: with one for all, the second publisher would end the first.
func TestPublishersSideBySideDoNotFenceEachOther(t *testing.T) {
	gateway := startGateway(t)
	file, err := os.ReadFile(tradesFile(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	in, feeding := io.Pipe()
	var out, errors bytes.Buffer
	first := make(chan int, 1)
	go func() {
		defer in.Close() // or a publisher that gave up would leave us writing for ever
		first <- run(t.Context(), []string{"publish", "--gateway", gateway, "-"}, console{in: in, out: &out, err: &errors})
	}()
	const half = 500 * 48 // bytes
	if _, err := feeding.Write(file[:len(file)-half]); err != nil {
		t.Fatal(err)
	}
	// What follows comes when the first one's session is there: its half is on the tape.
	if code, _, errors := tapewire(t.Context(), "subscribe", "--gateway", gateway, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "--limit", "1"); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	if code, _, errors := tapewire(t.Context(), "publish", "--gateway", gateway, tradesFile(t, 300)); code != exitDone {
		t.Errorf("the second: exit code %d\n%s", code, errors)
	}
	if _, err := feeding.Write(file[len(file)-half:]); err != nil {
		t.Error(err)
	}
	feeding.Close()
	if code := <-first; code != exitDone || !strings.Contains(out.String(), "1,000 records published") {
		t.Errorf("the first: exit code %d\n%s%s", code, out.String(), errors.String())
	}
}

func TestInterruptedRecordingIsAWholeFile(t *testing.T) {
	gateway := startGateway(t)
	const count = 1000
	path, got := tradesFile(t, count), filepath.Join(t.TempDir(), "got.dbn")
	if code, _, errors := tapewire(t.Context(), "publish", "--gateway", gateway, path); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, errors)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan string, 1)
	go func() {
		code, _, errors := tapewire(ctx, "subscribe", "--gateway", gateway, "--dataset", "TEST.ONE", "--schema", "trades", "--start", "0", "-o", got)
		if code != exitDone {
			ended <- errors
		}
		close(ended)
	}()
	whole := len(fileRecords(t, path))
	for deadline := time.Now().Add(20 * time.Second); ; {
		if info, err := os.Stat(got); err == nil && info.Size() > int64(whole) {
			break // all records, and a header before them
		}
		if time.Now().After(deadline) {
			t.Fatal("the records do not come")
		}
		time.Sleep(time.Millisecond) // polls a file
	}
	interrupt()
	if errors, failed := <-ended; failed {
		t.Fatal(errors)
	}
	if !bytes.Equal(fileRecords(t, got), fileRecords(t, path)) {
		t.Error("the file does not hold what was received")
	}
}

// Subscribers are told of no gap that the gateway refuses, so whoever publishes it must not be told that all went well.
func TestPublishingAGapThatIsRefusedIsNoSuccess(t *testing.T) {
	addr := startGateway(t)
	var file bytes.Buffer
	enc, err := feed.NewEncoder(&file, feed.Metadata{Version: 3, Dataset: "TEST.ONE", Schema: feed.SchemaTrades, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID})
	for _, rec := range []feed.Record{testTrade(0), feed.AppendSystem(nil, testStart, feed.SystemUnset, "gap|schema=nonsense|cause=upstream"), testTrade(1)} {
		if err == nil {
			err = enc.Write(rec)
		}
	}
	path := filepath.Join(t.TempDir(), "gap.dbn")
	if err == nil {
		err = os.WriteFile(path, file.Bytes(), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{path, "-"} {
		var out, errors bytes.Buffer
		code := run(t.Context(), []string{"publish", "--gateway", addr, input, tradesFile(t, 20)}, console{in: bytes.NewReader(file.Bytes()), out: &out, err: &errors})
		if code != exitMissing || !strings.Contains(errors.String(), "nonsense") || !strings.Contains(errors.String(), "refused 1 line, as told above") {
			t.Errorf("%s: exit code %d, want %d\n%s%s", input, code, exitMissing, out.String(), errors.String())
		}
		if !strings.Contains(out.String(), "2 records published") || !strings.Contains(out.String(), "trades.dbn: ") {
			t.Errorf("%s: the rest, and the next file, are not published\n%s%s", input, out.String(), errors.String())
		}
	}
}

func TestInterruptedPublishingSaysHowFarItCame(t *testing.T) {
	path := tradesFile(t, 1000)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a gateway that accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			interrupt()
			<-t.Context().Done()
		}
	}()
	code, _, errors := tapewire(ctx, "publish", "--gateway", l.Addr().String(), path)
	if code != exitFailed || !strings.Contains(errors, "stopped with at least 0 records kept") {
		t.Errorf("exit code %d: %s", code, errors)
	}
}
