package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tapewire/tapewire/feed"
)

const (
	publishEvery = 10 * time.Millisecond
	reportEvery  = 100 * time.Millisecond
	burst        = time.Second      // a publisher that fell behind its rate catches up with no more than this
	dialPatience = time.Minute      // a gateway that is being started again is there by then
	endPatience  = 30 * time.Second // for the last acks
)

// publisher is one stream's process, until it is killed. It is told "pause", "go" and "end" on standard input, and says on
// standard output where it begins ("from N"), what is acked ("acked N"), how many records it sent ("paused N"), and that all of them
// are acked ("ended N DROPPED").
type publisher struct {
	stream int
	rate   int // records a second
	p      *feed.ResumingProducer
	ids    [symbols]uint32
	buf    []byte
	next   uint64
	paused bool
	from   uint64 // the record with which the rate began to count
	since  time.Time
}

// publish is the program of a publisher; its result is the exit code.
func publish(args []string) int {
	flags := flag.NewFlagSet("publish", flag.ExitOnError)
	addr := flags.String("addr", "", "the gateway")
	stream := flags.Int("stream", 0, "which stream")
	rate := flags.Int("rate", 1000, "records a second")
	_ = flags.Parse(args) // it exits
	b := &publisher{stream: *stream, rate: *rate}
	err := b.dial(*addr)
	if err == nil {
		err = b.run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "publisher of stream %d: %v\n", b.stream, err)
		return 1
	}
	return 0
}

// dial opens the stream where the gateway has it. The gateway may be down.
func (b *publisher) dial(addr string) error {
	cfg := feed.ResumingConfig{
		ProducerConfig: feed.ProducerConfig{
			Addr: addr, Dataset: datasets[datasetOf(b.stream)], Name: producerName(b.stream), Stream: streamID, Client: "tapewire soak",
		},
		Metadata: feed.Metadata{Schema: feed.SchemaNone, End: feed.UndefTimestamp, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID},
	}
	if b.stream == streams-1 {
		cfg.Ack = feed.AckSynced
	}
	for symbol := range symbols {
		cfg.Instruments = append(cfg.Instruments, feed.Instrument{Symbol: symbolName(symbol), PriceIncrement: "0.01"})
	}
	var err error
	for began := time.Now(); ; {
		if b.p, err = feed.DialResumingProducer(context.Background(), cfg); err == nil {
			break
		}
		if feed.IsFinal(err) || time.Since(began) > dialPatience {
			return err
		}
		time.Sleep(publishEvery) // between two attempts
	}
	for symbol := range symbols {
		b.ids[symbol], _ = b.p.InstrumentID(symbolName(symbol)) // declared by the configuration
	}
	b.next = b.p.Sent()
	fmt.Printf("from %d\n", b.next)
	return nil
}

func (b *publisher) run() error {
	commands := make(chan string)
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			commands <- lines.Text()
		}
		close(commands)
	}()
	tick, report := time.NewTicker(publishEvery), time.NewTicker(reportEvery)
	b.restart()
	for {
		select {
		case command, ok := <-commands:
			if !ok {
				return errors.New("who started it is gone")
			}
			if over, err := b.obey(command); over || err != nil {
				return err
			}
		case <-report.C:
			fmt.Printf("acked %d\n", b.p.Acked())
		case <-tick.C:
			if err := b.send(); err != nil {
				return err
			}
		}
	}
}

// restart lets the rate count from now.
func (b *publisher) restart() { b.from, b.since = b.next, time.Now() }

// send publishes what the rate has coming.
func (b *publisher) send() error {
	if b.paused {
		return nil
	}
	elapsed := time.Since(b.since)
	due := b.from + uint64(elapsed.Seconds()*float64(b.rate))
	if behind := due - b.next; due > b.next && behind > uint64(float64(b.rate)*burst.Seconds()) {
		b.restart()
		return nil
	}
	b.buf = b.buf[:0]
	for ; b.next < due; b.next++ {
		b.buf = appendRecord(b.buf, b.stream, b.next, b.ids[symbolOf(b.stream, b.next)])
	}
	if len(b.buf) == 0 {
		return nil
	}
	if _, err := b.p.Write(b.buf); err != nil {
		return err
	}
	return b.p.Flush()
}

// obey acts on a command.
func (b *publisher) obey(command string) (over bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	switch command {
	case "pause":
		b.paused = true // everything was flushed; what is acked when synced may be so only in a minute
		fmt.Printf("paused %d\n", b.next)
	case "go":
		b.paused = false
		b.restart()
	case "end":
		if err := b.p.Close(ctx); err != nil {
			return true, err
		}
		fmt.Printf("ended %d %d\n", b.next, b.p.Dropped())
		return true, nil
	default:
		return true, fmt.Errorf("%w: command %q", io.ErrUnexpectedEOF, command)
	}
	return false, nil
}
