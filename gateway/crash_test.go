package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// The test binary is also the processes that these tests kill.
const (
	roleEnv = "TAPEWIRE_TEST_ROLE" // server or producer
	dirEnv  = "TAPEWIRE_TEST_DIR"
	addrEnv = "TAPEWIRE_TEST_ADDR"
	nameEnv = "TAPEWIRE_TEST_PRODUCER" // its number
	// CRASH_ROUNDS asks for more rounds than an ordinary run, CRASH_SEED repeats one.
	roundsEnv = "CRASH_ROUNDS"
	seedEnv   = "CRASH_SEED"
)

const (
	crashRounds = 20
	// crashBurst is what a producer sends in one session before it only waits to
	// be killed: about as long as the moment of a kill may take, and a bound on
	// what many rounds put on the disk.
	crashBurst = 60_000
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "server":
		crashServer()
	case "producer":
		n, _ := strconv.Atoi(os.Getenv(nameEnv))
		err := crashProduce(context.Background(), os.Getenv(addrEnv), n, func() { fmt.Println("publishing") }, nil)
		fmt.Fprintln(os.Stderr, "producer:", err)
		os.Exit(1)
	default:
		os.Exit(m.Run())
	}
}

// crashServer serves until it is killed.
func crashServer() {
	log, _ := zap.NewProduction(zap.IncreaseLevel(zap.WarnLevel))
	j, err := journal.Open(os.Getenv(dirEnv), journal.Options{AnyFilesystem: true, Logger: log})
	if err == nil {
		var s *Server
		if s, err = New(j, Config{Listen: os.Getenv(addrEnv), Logger: log}); err == nil {
			if err = s.Start(); err == nil {
				fmt.Println("serving")
				err = s.Wait()
			}
		}
	}
	fmt.Fprintln(os.Stderr, "server:", err)
	os.Exit(1)
}

// crashRecord is the k-th record of a producer: of two schemas, told apart by k.
func crashRecord(producer uint32, k int) []byte {
	if k%3 == 0 {
		return trade(producer, k)
	}
	return quote(producer, k)
}

// crashProduce publishes from what was accepted on, a burst of it. It ends only
// by an error or by stop.
func crashProduce(ctx context.Context, addr string, n int, started func(), stop <-chan struct{}) error {
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: addr, Key: testKey, Dataset: testDataset, Name: fmt.Sprintf("crash-%d", n), Stream: "run"})
	if err != nil {
		return err
	}
	if err := p.Start(metadataOf(feed.SchemaNone)); err != nil {
		return err
	}
	started()
	first := int(p.Accepted())
	for k := first; k < first+crashBurst; k++ {
		if err := p.Publish(feed.Record(crashRecord(uint32(n), k))); err != nil {
			_ = p.Close(ctx)
			return err
		}
	}
	select {
	case <-stop:
		return p.Close(ctx)
	case <-p.Done():
		return p.Err()
	}
}

// child is a process of ours that is going to be killed.
type child struct {
	cmd *exec.Cmd
	err *strings.Builder
}

// startChild runs the test binary in a role and waits for its first line.
func startChild(t *testing.T, role string, env ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), err: &strings.Builder{}}
	c.cmd.Env = append(os.Environ(), append(env, roleEnv+"="+role)...)
	c.cmd.Stderr = c.err
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		c.kill()
		t.Fatalf("%s did not come up: %v\n%s", role, err, c.err)
	}
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func crashSettings(t *testing.T) (rounds int, rng *rand.Rand) {
	rounds = crashRounds
	if testing.Short() {
		rounds = 5
	}
	if n, err := strconv.Atoi(os.Getenv(roundsEnv)); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv(seedEnv), 10, 64); err == nil {
		seed = n
	}
	t.Logf("repeat with: %s=%d %s=%d go test -run '^%s$' ./gateway", seedEnv, seed, roundsEnv, rounds, t.Name())
	return rounds, rand.New(rand.NewPCG(seed, 0))
}

// freeAddr is an address outside the range of ephemeral ports: a client that
// redials a port of that range while nobody listens sooner or later connects to
// itself and keeps the server off it.
func freeAddr(t *testing.T, rng *rand.Rand) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rng.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// The gateway is killed at random moments while two producers stream two
// schemas each; they resume by what was accepted. After every round the tapes
// hold each stream once and in order.
func TestKilledGatewayKeepsEachStreamOnceAndInOrder(t *testing.T) {
	rounds, rng := crashSettings(t)
	dir, addr := t.TempDir(), freeAddr(t, rng)
	env := []string{dirEnv + "=" + dir, addrEnv + "=" + addr}
	server := startChild(t, "server", env...)
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	up := make(chan int, 2*rounds+2) // one message for each session of a producer
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := crashProduce(ctx, addr, n, func() { up <- n }, stop)
				if err == nil {
					return
				}
				var refused *feed.RefusedError
				if errors.As(err, &refused) {
					t.Errorf("producer %d: %v", n, err)
					return
				}
			}
		})
	}
	defer func() { cancel(); wg.Wait() }()
	for round := range rounds {
		for range 2 {
			<-up
		}
		// The moment of the kill is the point of the test.
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
		server.kill()
		server = startChild(t, "server", env...)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
		if round%5 == 4 {
			checkCrashStreams(t, addr, nil)
		}
	}
	for range 2 {
		<-up
	}
	close(stop)
	wg.Wait()
	counts := map[uint32]int{}
	checkCrashStreams(t, addr, counts)
	for n := range uint32(2) {
		if accepted := acceptedBy(t, addr, n); accepted != uint64(counts[n]) {
			t.Errorf("producer %d: %d records accepted, the tapes hold %d", n, accepted, counts[n])
		}
	}
	t.Logf("%d kills, records per producer: %v", rounds, counts)
}

// The same with the producers killed: what was accepted of them is on the
// tapes once, and their successors go on from there.
func TestKilledProducersResumeExactly(t *testing.T) {
	rounds, rng := crashSettings(t)
	dir, addr := t.TempDir(), freeAddr(t, rng)
	startChild(t, "server", dirEnv+"="+dir, addrEnv+"="+addr)
	for round := range rounds {
		var pair []*child
		for n := range 2 {
			pair = append(pair, startChild(t, "producer", addrEnv+"="+addr, nameEnv+"="+strconv.Itoa(n)))
		}
		time.Sleep(time.Duration(rng.IntN(15_000)) * time.Microsecond) // the moment of the kill
		for _, c := range pair {
			c.kill()
		}
		if round%5 == 4 {
			checkCrashStreams(t, addr, nil)
		}
	}
	counts := map[uint32]int{}
	checkCrashStreams(t, addr, counts)
	for n := range uint32(2) {
		if accepted := acceptedBy(t, addr, n); accepted != uint64(counts[n]) {
			t.Errorf("producer %d: %d records accepted, the tapes hold %d", n, accepted, counts[n])
		}
	}
	t.Logf("%d kills, records per producer: %v", 2*rounds, counts)
}

// acceptedBy asks the gateway where a producer would go on.
func acceptedBy(t *testing.T, addr string, n uint32) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: addr, Key: testKey, Dataset: testDataset, Name: fmt.Sprintf("crash-%d", n), Stream: "run"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	return p.Accepted()
}

// checkCrashStreams replays both tapes and checks that each producer's records
// are there once, in order and without a hole, on the tape they belong to. Each
// tape is checked in itself: between schemas, only each stream's numbers count.
func checkCrashStreams(t *testing.T, addr string, counts map[uint32]int) {
	t.Helper()
	highest := map[feed.Schema]map[uint32]int{}
	for _, schema := range []feed.Schema{feed.SchemaTrades, feed.SchemaMbp1} {
		highest[schema] = map[uint32]int{}
		replayTape(t, addr, schema, func(r feed.Record) {
			n, k := r.InstrumentID(), sequence(r)
			want := 0 // the first of its schema
			if schema == feed.SchemaMbp1 {
				want = 1
			}
			if last, ok := highest[schema][n]; ok {
				for want = last + 1; (want%3 == 0) != (schema == feed.SchemaTrades); want++ {
				}
			}
			if k != want {
				t.Fatalf("%v of producer %d: record %d where %d was due", schema, n, k, want)
			}
			highest[schema][n] = k
			if counts != nil {
				counts[n]++
			}
		})
	}
}

// replayTape hands every record of a tape to visit, up to the end of the replay.
func replayTape(t *testing.T, addr string, schema feed.Schema, visit func(feed.Record)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	sub, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: addr, Key: testKey, Dataset: testDataset})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Subscribe(feed.Subscription{Schema: schema, Start: new(uint64)}); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	for r, err := range sub.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if r.RType() == schema.RType() {
			visit(r)
		}
		if strings.Contains(systemText(r), "Finished") {
			return
		}
	}
	t.Fatalf("the replay of %v did not finish", schema)
}
