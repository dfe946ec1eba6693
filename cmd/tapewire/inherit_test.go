package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

const (
	restarts       = 6
	restartDataset = "TEST.RESTART"
	restartFeeds   = 2 // producers, each with an instrument of its own
	restartBots    = 6
	restartPace    = 20 // records of a producer in a millisecond
	// restartPatience is how long a test waits for what must come.
	restartPatience = 20 * time.Second
)

// manager is a service manager: it holds a listener and passes it to one process after the other.
type manager struct {
	t    *testing.T
	ln   *os.File
	addr string
	args []string
}

func newManager(t *testing.T, args ...string) *manager {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the file is a copy
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &manager{t: t, ln: f, addr: ln.Addr().String(), args: append([]string{"serve", "--any-filesystem"}, args...)}
}

// activated is a process that inherits files; only a shell knows its number before it becomes the program.
func activated(names string, files []*os.File, args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec tapewire "$@"`, "sh"}, args...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	return cmd
}

// start runs the program until it serves.
func (m *manager) start() *exec.Cmd {
	m.t.Helper()
	cmd := activated("tapewire.socket", []*os.File{m.ln}, m.args...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "listening on "+m.addr {
			go io.Copy(io.Discard, out)
			return cmd
		}
	}
	_ = cmd.Wait()
	m.t.Fatalf("the gateway does not serve:\n%s", log.String())
	return nil
}

func (m *manager) end(cmd *exec.Cmd) {
	m.t.Helper()
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		m.t.Fatalf("the gateway does not end in order: %v\n%s", err, cmd.Stderr)
	}
}

// restartTrade is record k of a producer.
func restartTrade(producer uint32, k int) feed.Record {
	r := testTrade(k)
	if m, ok := feed.View[feed.TradeMsg](r); ok {
		m.InstrumentID = producer
	}
	return r
}

// restartFeed publishes until stop, and returns how many records the gateway has then.
func restartFeed(ctx context.Context, addr string, n uint32, begun func(), stop <-chan struct{}) (int, error) {
	p, err := feed.DialResumingProducer(ctx, feed.ResumingConfig{
		ProducerConfig: feed.ProducerConfig{Addr: addr, Dataset: restartDataset, Name: fmt.Sprintf("adapter-%d", n), Stream: "1"},
		Metadata: feed.Metadata{Version: 3, Dataset: restartDataset, Schema: feed.SchemaTrades, End: feed.UndefTimestamp,
			StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID},
	})
	if err != nil {
		return 0, err
	}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for k := 0; ; {
		select {
		case <-stop:
			return k, p.Close(ctx)
		case <-ctx.Done():
			return k, errors.Join(ctx.Err(), p.Close(ctx))
		case <-pace.C:
		}
		for range restartPace {
			if err := p.Publish(restartTrade(n, k)); err != nil {
				return k, err
			}
			k++
		}
		err := p.Flush()
		if err == nil && k == restartPace {
			err = p.WaitAcked(ctx, 1)
			begun()
		}
		if err != nil {
			return k, err
		}
	}
}

// restartBot takes the whole tape, over as many sessions as that takes.
type restartBot struct {
	addr     string
	at       *lsg.Position // nil before it is told
	due      [restartFeeds]int
	got      atomic.Int64
	sessions atomic.Int64
}

func (b *restartBot) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := b.session(ctx)
		var ended *feed.SessionError
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.As(err, &ended) || ended.Code != feed.ErrorInternal || !strings.Contains(ended.Text, "reconnect"):
			return fmt.Errorf("session %d, after %d records: %w", b.sessions.Load(), b.got.Load(), err)
		}
	}
	return nil
}

// session is one attempt, which must come about.
func (b *restartBot) session(ctx context.Context) error {
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: b.addr, Dataset: restartDataset, Position: true})
	if err != nil {
		return err
	}
	defer sub.Close()
	want := feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)}
	if b.at != nil {
		want.Start, want.Resume = nil, b.at
	}
	if err := sub.Subscribe(want); err != nil {
		return err
	}
	if _, err := sub.Start(); err != nil {
		return err
	}
	b.sessions.Add(1)
	for r, err := range sub.Records(ctx) {
		if err == nil {
			err = b.take(r)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the session ended without a word")
}

// take checks that a record is the next of its producer, and counts the position on.
func (b *restartBot) take(r feed.Record) error {
	if m, ok := feed.View[feed.SystemMsg](r); ok && lsg.IsPosition(m.Text()) {
		at, err := lsg.ParsePosition(m.Text())
		b.at = &at
		return err
	}
	m, ok := feed.View[feed.TradeMsg](r)
	if !ok {
		return nil
	}
	if n := m.InstrumentID; int(n) >= restartFeeds || string(r) != string(restartTrade(n, b.due[n])) {
		return fmt.Errorf("producer %d: number %d came where %d was due", n, m.Sequence-1, b.due[min(n, restartFeeds-1)])
	}
	b.due[m.InstrumentID]++
	if b.at != nil {
		b.at.Seq++
	}
	b.got.Add(1)
	return nil
}

// probe connects all the time and waits to be greeted, as a client does that has one attempt.
func probe(ctx context.Context, addr string) (greeted int, err error) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return greeted, err
		}
		_ = conn.SetReadDeadline(time.Now().Add(restartPatience))
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if err != nil || !strings.HasPrefix(line, "lsg_version=") {
			return greeted, fmt.Errorf("told %q, %w", line, err)
		}
		greeted++
	}
	return greeted, nil
}

// The gateway restarts again and again under load, with its listener inherited. Adapters and bots come back by themselves: no attempt to connect
// is refused or lost, and each bot holds each record once and in order.
func TestRestartsWithAnInheritedListenerLoseNobody(t *testing.T) {
	m := newManager(t, "--data", filepath.Join(t.TempDir(), "data"))
	server := m.start()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	reading, endReading := context.WithCancel(ctx)
	probing, endProbing := context.WithCancel(ctx)
	stop := make(chan struct{})
	var totals [restartFeeds]int
	var feeds, others sync.WaitGroup
	begun := make(chan struct{}, 2*restartFeeds)
	for n := range restartFeeds {
		feeds.Go(func() {
			var err error
			if totals[n], err = restartFeed(ctx, m.addr, uint32(n), func() { begun <- struct{}{} }, stop); err != nil {
				t.Errorf("producer %d: %v", n, err)
				begun <- struct{}{}
			}
		})
	}
	<-begun // there is a tape, so bots are told where they stand from the first record on
	var bots [restartBots]restartBot
	for i := range bots {
		bots[i].addr = m.addr
		others.Go(func() {
			if err := bots[i].run(reading); err != nil {
				t.Errorf("bot %d: %v", i, err)
			}
		})
	}
	others.Go(func() {
		n, err := probe(probing, m.addr)
		if err != nil {
			t.Errorf("after %d connections that were greeted: %v", n, err)
		}
		t.Logf("%d connections were greeted", n)
	})
	for range restarts {
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond) // the moment is the point of the test: while bots come back, too
		m.end(server)
		server = m.start()
		if t.Failed() {
			break
		}
	}
	endProbing()
	close(stop)
	feeds.Wait()
	total := 0
	for _, n := range totals {
		total += n
	}
	for i := range bots {
		for end := time.Now().Add(restartPatience); bots[i].got.Load() < int64(total) && !t.Failed(); time.Sleep(time.Millisecond) { // polls a count
			if time.Now().After(end) {
				t.Errorf("bot %d has %d of %d records", i, bots[i].got.Load(), total)
			}
		}
	}
	endReading()
	others.Wait()
	for i := range bots {
		if bots[i].due != totals {
			t.Errorf("bot %d holds %v, published were %v", i, bots[i].due, totals)
		}
	}
	t.Logf("%d records, %d sessions of the first bot", total, bots[0].sessions.Load())
	m.end(server)
}

// What cannot be served is refused with what to do about it, and what is meant for another process is left alone.
func TestInheritedDescriptorsAreCheckedBeforeTheyAreServed(t *testing.T) {
	dir := t.TempDir()
	listen := func(network, addr string) *os.File {
		ln, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	one, two, public := listen("tcp", "127.0.0.1:0"), listen("tcp", "127.0.0.1:0"), listen("tcp", "0.0.0.0:0")
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	datagrams, err := conn.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for _, c := range []struct {
		want, names string
		files       []*os.File
		args        []string
	}{
		{"descriptor 3 (live) is no listening TCP socket", "live", []*os.File{file}, nil},
		{"no listening TCP socket: the socket unit needs ListenStream=", "", []*os.File{datagrams}, nil},
		{"listens on unix, not by TCP", "live", []*os.File{listen("unix", filepath.Join(dir, "socket"))}, nil},
		{"two listeners without TLS are inherited", "a:b", []*os.File{one, two}, nil},
		{"leave one of them out", "live", []*os.File{one}, []string{"--listen", "127.0.0.1:1"}},
		{"--keys", "live", []*os.File{public}, nil},
		{"--tls-cert FILE", "live:tls", []*os.File{one, two}, nil},
	} {
		args := append([]string{"serve", "--any-filesystem", "--data", filepath.Join(dir, "data")}, c.args...)
		out, err := activated(c.names, c.files, args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, want exit code %d and %q\n%s", c.names, err, exitUsage, c.want, out)
		}
	}
}

// The variables name a process: one that is started by the one they are meant for must not take its descriptors for listeners. Whoever reads them
// takes them out.
func TestInheritedListenersOfAnotherProcessAreNotTaken(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "live")
	if in, err := inherit(); err != nil || in != (inheritance{}) {
		t.Errorf("%v, %v are taken", in, err)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if value, there := os.LookupEnv(name); there {
			t.Errorf("%s is still %q", name, value)
		}
	}
}
