// Package harness starts the programs of a benchmark and asks the kernel what
// they cost. It promises that whatever it started ends with it, and that a
// figure is the kernel's own accounting of that process and nothing else.
package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A Process is one program of a benchmark. Its standard output is a stream of
// lines, its standard error is kept for the case that it fails.
type Process struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  *bufio.Scanner
	errs   *tailBuffer
	exited chan struct{}
	err    error
}

// stopPatience is how long a process has to end by itself after SIGTERM.
const stopPatience = 20 * time.Second

// Start runs a command. It dies with this process.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, errs: &tailBuffer{}, exited: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = p.errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(make([]byte, 64<<10), 64<<20)
	go func() {
		p.err = waitKeepingOutput(cmd)
		close(p.exited)
	}()
	return p, nil
}

// waitKeepingOutput waits for the end without closing the pipe that may still
// hold the last lines; Cmd.Wait would.
func waitKeepingOutput(cmd *exec.Cmd) error {
	state, err := cmd.Process.Wait()
	if err == nil && !state.Success() {
		err = &exec.ExitError{ProcessState: state}
	}
	return err
}

// Child runs this very program with other arguments.
func Child(args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start("bench child "+args[0], exec.Command(self, append([]string{"child"}, args...)...))
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line is the next line of its output.
func (p *Process) Line() (string, error) {
	if !p.lines.Scan() {
		return "", p.failure(errors.New("it ended early"))
	}
	return p.lines.Text(), nil
}

// Read decodes the next line of its output as JSON.
func (p *Process) Read(v any) error {
	line, err := p.Line()
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), v); err != nil {
		return p.failure(fmt.Errorf("it said %q: %w", line, err))
	}
	return nil
}

// Go lets a child that waits for it begin.
func (p *Process) Go() error {
	_, err := io.WriteString(p.in, "go\n")
	return err
}

// Alive reports whether it still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Stop ends it in order, or by force when that takes too long.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	p.in.Close()
	select {
	case <-p.exited:
	case <-time.After(stopPatience):
		p.Kill()
	}
}

// Kill ends it at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *Process) failure(err error) error {
	return fmt.Errorf("%s: %w; it wrote: %s", p.name, err, bytes.TrimSpace(p.errs.b))
}

// tailBuffer keeps the last bytes that were written to it.
type tailBuffer struct{ b []byte }

const tailBytes = 4 << 10

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - tailBytes; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}
