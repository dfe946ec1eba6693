package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// gateway is the real thing as a process of its own, ended and started again.
type gateway struct {
	bin, data   string
	addr, admin string
	log         *os.File // its standard error, over all its lives
	fail        func(error)

	// life is odd while it serves. It moves on before the process is ended, so a session that ends with life unchanged has no excuse.
	life   atomic.Int64
	pid    atomic.Int64
	cmd    *exec.Cmd
	exited chan error // gets how the process ended
}

const (
	startPatience = time.Minute // a recovery reads up to 64 MiB
	stopPatience  = time.Minute
)

// start runs the process and waits until it listens.
func (g *gateway) start(args []string) error {
	g.cmd = exec.Command(g.bin, append([]string{
		"serve", "--data", g.data, "--listen", g.addr, "--admin", g.admin, "--log-level", "warn", "--any-filesystem",
	}, args...)...)
	g.cmd.Stderr = g.log
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	g.pid.Store(int64(g.cmd.Process.Pid))
	g.exited = make(chan error, 1)
	up := make(chan struct{})
	go g.watch(g.cmd, out, up, g.exited)
	select {
	case <-up:
		g.life.Add(1)
		return nil
	case err := <-g.exited:
		return fmt.Errorf("the gateway did not come up: %v; its log is %s", err, g.log.Name())
	case <-time.After(startPatience):
		return fmt.Errorf("the gateway does not listen after %v; its log is %s", startPatience, g.log.Name())
	}
}

func (g *gateway) watch(cmd *exec.Cmd, out io.Reader, up chan<- struct{}, exited chan<- error) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "listening on ") {
			close(up)
		}
	}
	err := cmd.Wait()
	if g.serves() {
		g.fail(fmt.Errorf("the gateway ended by itself: %v; its log is %s", err, g.log.Name()))
	}
	exited <- err
}

func (g *gateway) serves() bool { return g.life.Load()%2 == 1 }

// stop ends it by SIGTERM, after which it must end in order.
func (g *gateway) stop() error {
	g.life.Add(1)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-g.exited:
		if err != nil {
			err = fmt.Errorf("the gateway, told to end: %w; its log is %s", err, g.log.Name())
		}
		return err
	case <-time.After(stopPatience):
		return fmt.Errorf("the gateway has not ended %v after SIGTERM; its log is %s", stopPatience, g.log.Name())
	}
}

// kill ends it at once.
func (g *gateway) kill() {
	if g.serves() {
		g.life.Add(1)
	}
	if g.cmd != nil && g.cmd.Process.Kill() == nil {
		<-g.exited
	}
}

// complaints is the lines of its log that should not be there.
func (g *gateway) complaints() error {
	b, err := os.ReadFile(g.log.Name())
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		for _, bad := range []string{`"level":"error"`, "panic", "fatal error", "DATA RACE"} {
			if strings.Contains(line, bad) {
				return fmt.Errorf("the gateway's log %s says: %s", g.log.Name(), line)
			}
		}
	}
	return nil
}

// freeAddr is an address outside the range of ephemeral ports: a client that redials a port of that range while nobody listens
// sooner or later connects to itself and keeps the gateway off it.
func freeAddr(rng *rand.Rand) (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rng.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr, nil
		}
	}
	return "", errors.New("no free port")
}
