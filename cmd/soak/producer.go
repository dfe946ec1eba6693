package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// producer is one stream's publisher as the run sees it: a process that is killed and started again.
type producer struct {
	stream int
	args   []string
	fail   func(error)

	mu     sync.Mutex
	cmd    *exec.Cmd
	in     io.WriteCloser
	said   chan string // "paused N" and "ended N DROPPED"
	over   chan struct{}
	doomed bool // it is about to be killed, or was told to end
	acked  uint64
}

func newProducer(stream int, addr string, rate int, fail func(error)) *producer {
	return &producer{stream: stream, fail: fail, args: []string{
		"publish", "-addr", addr, "-stream", strconv.Itoa(stream), "-rate", strconv.Itoa(rate),
	}}
}

// start runs the process. It publishes as soon as the gateway is there.
func (p *producer) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, p.args...)
	words := &bytes.Buffer{}
	cmd.Stderr = words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.in, p.doomed = cmd, in, false
	p.said, p.over = make(chan string, 2), make(chan struct{})
	go p.watch(cmd, out, words, p.said, p.over)
	return nil
}

// watch hears a process until it ends.
func (p *producer) watch(cmd *exec.Cmd, out io.Reader, words *bytes.Buffer, said chan<- string, over chan<- struct{}) {
	defer close(over)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		var n uint64
		switch {
		case scan(line, "acked %d", &n):
			p.ack(n)
		case scan(line, "from %d", &n):
			if acked := p.ack(n); acked > n {
				p.fail(fmt.Errorf("the gateway keeps %d records of stream %d and had acked %d", n, p.stream, acked))
			}
		default:
			said <- line
		}
	}
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.doomed {
		p.fail(fmt.Errorf("producer %d ended by itself: %v: %s", p.stream, err, bytes.TrimSpace(words.Bytes())))
	}
}

// ack notes what the gateway is said to keep, and returns the most that it ever was.
func (p *producer) ack(n uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = max(p.acked, n)
	return p.acked
}

// kill ends the process without a word.
func (p *producer) kill() {
	p.mu.Lock()
	cmd, over := p.cmd, p.over
	p.doomed = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-over
}

// tell gives the process a command.
func (p *producer) tell(command string) error {
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return fmt.Errorf("producer %d: %s: %w", p.stream, command, err)
	}
	return nil
}

// pause has the process send no more, and returns how many records the stream has.
func (p *producer) pause() (sent uint64, err error) {
	if err := p.tell("pause"); err != nil {
		return 0, err
	}
	_, err = p.hear("paused %d", &sent)
	return sent, err
}

// end has the process end its session in order, and returns how many records the stream has.
func (p *producer) end() (sent uint64, err error) {
	p.mu.Lock()
	p.doomed = true
	p.mu.Unlock()
	if err := p.tell("end"); err != nil {
		return 0, err
	}
	var dropped uint64
	if _, err = p.hear("ended %d %d", &sent, &dropped); err == nil && dropped > 0 {
		err = fmt.Errorf("producer %d let %d records go", p.stream, dropped)
	}
	<-p.over
	return sent, err
}

// hear waits for a line.
func (p *producer) hear(format string, values ...any) (line string, err error) {
	select {
	case line = <-p.said:
		if !scan(line, format, values...) {
			err = fmt.Errorf("producer %d said %q", p.stream, line)
		}
	case <-p.over:
		err = fmt.Errorf("producer %d ended before it said %q", p.stream, format)
	case <-time.After(2 * endPatience):
		err = fmt.Errorf("producer %d did not say %q", p.stream, format)
	}
	return line, err
}

func scan(line, format string, values ...any) bool {
	n, err := fmt.Sscanf(line, format, values...)
	return err == nil && n == len(values)
}
