package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// How often the progress of publishing is shown: redrawn for a person, one more line for a log.
const (
	redrawInterval = 200 * time.Millisecond
	lineInterval   = 5 * time.Second
)

// progress shows what a producer does until it is stopped.
type progress struct {
	out      io.Writer
	terminal bool
	src      *source
	producer publisher
	quit     chan struct{}
	done     chan struct{}
}

// publisher is what is shown of a producer.
type publisher interface {
	Sent() uint64
	Acked() uint64
	Paused() string
}

// showProgress starts showing. What takes less than one interval is not shown at all.
func showProgress(out io.Writer, src *source, producer publisher) *progress {
	p := &progress{out: out, terminal: isTerminal(out), src: src, producer: producer, quit: make(chan struct{}), done: make(chan struct{})}
	interval := lineInterval
	if p.terminal {
		interval = redrawInterval
	}
	go p.run(interval)
	return p
}

func (p *progress) run(interval time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last, at := p.producer.Sent(), time.Now()
	for {
		select {
		case <-p.quit:
			return
		case now := <-tick.C:
			sent := p.producer.Sent()
			p.line(sent, float64(sent-last)/now.Sub(at).Seconds())
			last, at = sent, now
		}
	}
}

func (p *progress) line(sent uint64, rate float64) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s records sent", p.src.name, grouped(sent))
	if p.src.records > 0 {
		fmt.Fprintf(&b, " (%.0f%%)", 100*float64(sent)/float64(p.src.records))
	}
	fmt.Fprintf(&b, ", %s/s, %s acked", grouped(uint64(rate)), grouped(p.producer.Acked()))
	if reason := p.producer.Paused(); reason != "" {
		fmt.Fprintf(&b, ", the gateway asked to wait: %s", reason)
	}
	text := lsg.Printable(b.String())
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s\x1b[K", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// stop ends the display and leaves a clean line.
func (p *progress) stop() {
	close(p.quit)
	<-p.done
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// counted writes a count with its noun.
func counted(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return grouped(n) + " " + noun
}

// grouped writes a count with commas.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
