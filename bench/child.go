package main

import (
	"bufio"
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
}

type relayChild struct {
	Subs int
	Spin bool
}

func (c *relayChild) Run() error { return floor.Relay(c.Subs, c.Spin) }

type recvChild struct {
	Path string
	Size int
}

func (c *recvChild) Run() error {
	if err := floor.Receive(c.Path, c.Size); err != nil {
		return err
	}
	return parentDone()
}

type fileChild struct {
	Path  string
	Mode  string
	Subs  int
	Chunk int
}

func (c *fileChild) Run() error { return floor.SendFile(c.Path, c.Mode, c.Subs, c.Chunk) }

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
	Auth     string        // fields of the authentication line, for tapewire
	Sub      []string      `sep:"none"` // subscription lines that take turns, for tapewire
	Pass     int           // bytes before the data, with Sub
	Frame    int           `default:"48"` // bytes of a record on the wire, with Sub
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
			return system.SubscribeWith(c.Addr, c.Auth, line, c.Pass, system.Frame{Size: c.Frame, Records: 1})
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
	Confirm     bool // wait until the server has confirmed everything
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
	confirmed := make(chan error, 1)
	go func() { confirmed <- wire.Listen(conn, c.Records) }()
	say("ready")
	if _, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n'); err != nil {
		return err
	}
	p := load.Produce{Records: c.Records, Rate: c.Rate, Write: c.Write, Instruments: c.Instruments}
	out, err := p.Run(conn, wrap)
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

func say(v any) { _ = json.NewEncoder(os.Stdout).Encode(v) } // nobody listens only when the parent is gone

// parentDone waits until the parent has read the accounts and closes the pipe.
func parentDone() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
