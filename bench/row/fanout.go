package row

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/tapewire/tapewire/bench/harness"
	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// fanOut is one producer and some subscribers on one server.
type fanOut struct {
	system  string
	flags   []string // of tapewire serve
	spin    bool     // of the relay
	batch   int      // records of a message, where there are messages
	subs    int
	stalled int // more subscribers, which never read
	records int
	rate    int // records a second; zero: flat out
	write   int // bytes of one write, flat out
	latency bool
	skip    int // records that do not count for latency

	instruments int
	sub         []string // subscription lines that take turns; dataset, tsOut and pass go with them
	dataset     string
	tsOut       bool
	pass        int    // bytes before the data
	expect      int    // records for each subscriber, where not all
	ticks       string // a file of real ticks to send instead, see load.Ticks
	speed       float64

	syscalls bool // count them, which costs time
}

// outcome is what one run of it cost and gave.
type outcome struct {
	cost     harness.Account
	wall     time.Duration // from the first record due to the last one everywhere
	drained  load.Drained
	produced load.Produced
	syscalls int64
	sends    float64 // calls by which tapewire sent, as it counts them
}

// start starts the server of a system.
func (b *Bench) start(f *fanOut, dir string) (*system.Server, error) {
	switch f.system {
	case system.Tapewire:
		return b.programs.StartTapewire(filepath.Join(dir, "tapes"), f.flags...)
	case system.RelayName:
		args := []string{"relay", fmt.Sprint("--subs=", f.subs)}
		if f.spin {
			args = append(args, "--spin")
		}
		return system.StartChild(args...)
	case system.NATS:
		return b.programs.StartNATS(dir)
	case system.JetStream:
		return b.programs.StartJetStream(dir)
	case system.Redis:
		return b.programs.StartRedis(dir)
	case system.Kafka:
		return b.programs.StartKafka(dir)
	}
	return nil, fmt.Errorf("no system is called %q", f.system)
}

// drainArgs is the drain's command line.
func (f *fanOut) drainArgs(addr string) []string {
	args := []string{"drain", "--system=" + f.system, "--addr=" + addr, fmt.Sprint("--batch=", f.batch), fmt.Sprint("--subs=", f.subs),
		fmt.Sprint("--stalled=", f.stalled), fmt.Sprint("--records=", f.wanted()), fmt.Sprint("--skip=", f.skip)}
	if f.latency {
		args = append(args, "--latency")
	}
	for _, s := range f.sub {
		args = append(args, "--sub="+s)
	}
	if len(f.sub) > 0 {
		args = append(args, "--dataset="+f.dataset, fmt.Sprint("--pass=", f.pass), fmt.Sprint("--ts-out=", f.tsOut))
	}
	return args
}

func (f *fanOut) wanted() int {
	if f.expect > 0 {
		return f.expect
	}
	return f.records
}

func (f *fanOut) produceArgs(addr string) []string {
	return []string{"produce", "--system=" + f.system, "--addr=" + addr, fmt.Sprint("--batch=", f.batch), fmt.Sprint("--records=", f.records),
		fmt.Sprint("--rate=", f.rate), fmt.Sprint("--write=", f.write), fmt.Sprint("--instruments=", f.instruments),
		"--ticks=" + f.ticks, fmt.Sprint("--speed=", f.speed)}
}

// warmBytes is more memory than a run flat out makes pages of.
const warmBytes = 3 << 30

// fan runs it once.
func (b *Bench) fan(f fanOut) (*outcome, error) {
	f.batch = max(f.batch, 1)
	dir, remove, err := b.dir()
	if err != nil {
		return nil, err
	}
	defer remove()
	if f.rate == 0 {
		if err := harness.WarmMemory(warmBytes); err != nil {
			return nil, err
		}
	}
	server, err := b.start(&f, dir)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	return b.load(&f, server)
}

// load puts the two ends on a running server.
func (b *Bench) load(f *fanOut, server *system.Server) (*outcome, error) {
	drain, err := harness.Child(f.drainArgs(server.Addr)...)
	if err != nil {
		return nil, err
	}
	defer drain.Stop()
	var word string
	if err := drain.Read(&word); err != nil {
		return nil, err
	}
	producer, err := harness.Child(f.produceArgs(server.Addr)...)
	if err != nil {
		return nil, err
	}
	defer producer.Stop()
	if err := producer.Read(&word); err != nil {
		return nil, err
	}
	o := &outcome{}
	var counter *harness.SyscallCounter
	if f.syscalls {
		if counter, err = harness.CountSyscalls(server.PIDs()[0], filepath.Join(b.Scratch, "perf.txt")); err != nil {
			return nil, fmt.Errorf("%w: %w", system.ErrUnavailable, err)
		}
	}
	before, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	sends := 0.0
	if server.Admin != "" {
		if sends, err = server.Metric("tapewire_send_calls_total"); err != nil {
			return nil, err
		}
	}
	if err := producer.Go(); err != nil {
		return nil, err
	}
	if err := drain.Read(&o.drained); err != nil {
		return nil, err
	}
	after, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	if counter != nil {
		if o.syscalls, err = counter.Stop(); err != nil {
			return nil, err
		}
	}
	if server.Admin != "" {
		if o.sends, err = server.Metric("tapewire_send_calls_total"); err != nil {
			return nil, err
		}
		o.sends -= sends
	}
	if err := producer.Read(&o.produced); err != nil {
		return nil, err
	}
	o.cost = after.Since(before)
	o.wall = time.Duration(o.drained.EndNs - o.produced.StartNs)
	return o, nil
}

// throughput is the figures of a run flat out.
func (f *fanOut) throughput(o *outcome) map[string]float64 {
	delivered := float64(f.wanted()) * float64(f.subs)
	return map[string]float64{
		result.CPUPerRecord: float64(o.cost.CPU) / delivered,
		result.Delivered:    delivered / o.wall.Seconds(),
		result.Switches:     float64(o.cost.Switches) / o.wall.Seconds(),
		result.Memory:       float64(o.cost.Anon),
	}
}

// flatOut is a variant of it.
func (b *Bench) flatOut(name string, f fanOut) variant {
	return variant{name, func() (map[string]float64, error) {
		o, err := b.fan(f)
		if err != nil {
			return nil, err
		}
		return f.throughput(o), nil
	}}
}

// countSyscalls adds to each variant how many system calls its server made for a
// delivered record, in a pass of its own: counting slows it down.
func (b *Bench) countSyscalls(row *result.Row, of map[string]fanOut) {
	for i := range row.Variants {
		v := &row.Variants[i]
		f, ok := of[v.Name]
		if !ok || v.Unavailable != "" {
			continue
		}
		f.syscalls = true
		o, err := b.fan(f)
		if err != nil {
			row.Notes = append(row.Notes, fmt.Sprintf("System calls of %s were not counted: %v.", v.Name, err))
			continue
		}
		perRecord := float64(o.syscalls) / (float64(f.wanted()) * float64(f.subs))
		v.Add(result.Syscalls, perRecord)
		fmt.Fprintf(b.Log, "  syscalls %-28s %.5g a delivered record\n", v.Name, perRecord)
	}
}
