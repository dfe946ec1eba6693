package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tapewire/tapewire/bench/floor"
	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/system"
)

// childCmd is the programs that a run starts of itself. They talk in lines of
// JSON on standard output, and wait on standard input.
type childCmd struct {
	Relay   relayChild   `cmd:""`
	Recv    recvChild    `cmd:""`
	File    fileChild    `cmd:""`
	Drain   drainChild   `cmd:""`
	Produce produceChild `cmd:""`
	Append  appendChild  `cmd:""`
	Tap     tapChild     `cmd:""`
}

type relayChild struct {
	Subs int
	Spin bool
}

func (c *relayChild) Run() error { return floor.Relay(c.Subs, c.Spin) }

type recvChild struct {
	Path string
	Size int
	Lazy bool
}

func (c *recvChild) Run() error {
	if err := floor.Receive(c.Path, c.Size, c.Lazy); err != nil {
		return err
	}
	return parentDone()
}

type fileChild struct {
	Path  string
	Mode  string
	Subs  int
	Chunk int
	Most  int
}

func (c *fileChild) Run() error { return floor.SendFile(c.Path, c.Mode, c.Subs, c.Chunk, c.Most) }

type drainChild struct {
	System   string
	Addr     string
	Batch    int
	Subs     int
	Stalled  int
	Records  int
	Latency  bool
	Skip     int
	Patience time.Duration `default:"20s"`
	Sub      []string      `sep:"none"` // subscription lines that take turns, for tapewire; the rest goes with them
	Dataset  string
	TsOut    bool
	Pass     int // bytes before the data
}

func (c *drainChild) Run() error {
	wire, err := system.WireOf(c.System, c.Batch)
	if err != nil {
		return err
	}
	next := 0
	subscribe := func() (int, system.Frame, error) { return wire.Subscribe(c.Addr) }
	if len(c.Sub) > 0 {
		subscribe = func() (int, system.Frame, error) {
			line := c.Sub[next%len(c.Sub)]
			next++
			return system.Subscription{Dataset: c.Dataset, TsOut: c.TsOut, Line: line, Pass: c.Pass}.Open(c.Addr)
		}
	}
	d := load.Drain{Subscribers: c.Subs, Stalled: c.Stalled, Records: c.Records, Latency: c.Latency, Skip: c.Skip, Patience: c.Patience}
	got, err := d.Run(subscribe, func() { say("ready") })
	if err != nil {
		return err
	}
	say(got)
	return parentDone()
}

type produceChild struct {
	System      string
	Addr        string
	Batch       int
	Records     int
	Rate        int
	Write       int
	Instruments int
	Ticks       string  // a file to send at its own pace, instead
	Speed       float64 // of Ticks: 1 is as it was
	Confirm     bool    // wait until the server has confirmed everything
}

func (c *produceChild) Run() error {
	wire, err := system.WireOf(c.System, c.Batch)
	if err != nil {
		return err
	}
	conn, wrap, err := wire.Produce(c.Addr)
	if err != nil {
		return err
	}
	p := load.NewProduce(&load.Produce{Records: c.Records, Rate: c.Rate, Write: cmp.Or(c.Write, wire.Write), Instruments: c.Instruments, Window: wire.Window})
	confirmed := make(chan error, 1)
	go func() { confirmed <- wire.Listen(conn, c.Records, p.Confirmed) }()
	if err := waitToGo(); err != nil {
		return err
	}
	run := func() (*load.Produced, error) { return p.Run(conn, wrap) }
	if c.Ticks != "" {
		run = func() (*load.Produced, error) { return load.SendTicks(conn, c.Ticks, c.Records, c.Speed) }
	}
	out, err := run()
	if err != nil {
		return err
	}
	if c.Confirm {
		if err := <-confirmed; err != nil {
			return fmt.Errorf("waiting for the last confirmation: %w", err)
		}
		out.ConfirmedNs = time.Now().UnixNano()
	}
	say(out)
	return parentDone() // the connection stays open until then
}

type appendChild struct {
	Dir     string
	Records int
	Every   time.Duration
}

func (c *appendChild) Run() error {
	if err := load.Append(c.Dir, c.Records, c.Every, waitToGo); err != nil {
		return err
	}
	return parentDone()
}

type tapChild struct {
	Dir     string
	Records int
}

func (c *tapChild) Run() error {
	p, err := load.Tap(c.Dir, c.Records, func() { say("ready") })
	if err != nil {
		return err
	}
	say(p)
	return parentDone()
}

// waitToGo says that everything is set up, and waits for the parent.
func waitToGo() error {
	say("ready")
	_, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n')
	return err
}

func say(v any) { _ = json.NewEncoder(os.Stdout).Encode(v) } // nobody listens only when the parent is gone

// parentDone waits until the parent has read the accounts and closes the pipe.
func parentDone() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
