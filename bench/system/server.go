package system

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tapewire/tapewire/bench/harness"
)

// The systems.
const (
	Tapewire  = "tapewire"
	RelayName = "relay"
	NATS      = "nats"
)

// ErrUnavailable says that a system cannot run here; the row says why.
var ErrUnavailable = errors.New("not available here")

// A Server is a running system.
type Server struct {
	Addr  string
	Admin string // tapewire's, with /metrics
	proc  *harness.Process
}

// PIDs is the processes whose cost is the server's.
func (s *Server) PIDs() []int { return []int{s.proc.PID()} }

// Stop ends it.
func (s *Server) Stop() { s.proc.Stop() }

// Kill ends it as a crash would.
func (s *Server) Kill() { s.proc.Kill() }

// Programs builds what has to be built, once.
type Programs struct {
	Dir   string // where binaries go
	built map[string]string
}

// build compiles a package of the module in a directory, or of one that it needs.
func (p *Programs) build(module, pkg, name string) (string, error) {
	if path, ok := p.built[pkg]; ok {
		return path, nil
	}
	path := filepath.Join(p.Dir, name)
	fmt.Fprintf(os.Stderr, "building %s\n", name)
	if out, err := exec.Command("go", "build", "-C", module, "-o", path, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: build %s: %w: %s", ErrUnavailable, pkg, err, out)
	}
	if p.built == nil {
		p.built = map[string]string{}
	}
	p.built[pkg] = path
	return path, nil
}

// Tapewire is the path of the gateway's binary.
func (p *Programs) Tapewire() (string, error) {
	return p.build("..", "./cmd/tapewire", "tapewire")
}

// StartTapewire serves a data directory on free ports.
func (p *Programs) StartTapewire(dir string, flags ...string) (*Server, error) {
	path, err := p.Tapewire()
	if err != nil {
		return nil, err
	}
	args := append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-level", "error", "--any-filesystem"}, flags...)
	proc, err := harness.Start("tapewire", exec.Command(path, args...))
	if err != nil {
		return nil, err
	}
	s := &Server{proc: proc}
	for s.Addr == "" {
		line, err := proc.Line()
		if err != nil {
			return nil, err
		}
		if text, ok := strings.CutPrefix(line, "admin"); ok {
			s.Admin, _, _ = strings.Cut(strings.TrimSpace(text), "/metrics")
		}
		s.Addr, _ = strings.CutPrefix(line, "listening on ")
		if s.Addr == line {
			s.Addr = ""
		}
	}
	return s, nil
}

// Metric reads a number from the server's metrics, added up over all labels.
func (s *Server) Metric(name string) (float64, error) {
	resp, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}

// StartChild runs one of the floors, which says its address first.
func StartChild(args ...string) (*Server, error) {
	proc, err := harness.Child(args...)
	if err != nil {
		return nil, err
	}
	s := &Server{proc: proc}
	return s, proc.Read(&s.Addr)
}

// Said waits for the next line of a floor.
func (s *Server) Said() (string, error) { return s.proc.Line() }

// StartNATS runs the server of its own module. Its limits for slow consumers are
// raised, so that it drops nobody: what is measured is delivery.
func (p *Programs) StartNATS(scratch string) (*Server, error) { return p.startNATS(scratch, "") }

func (p *Programs) startNATS(scratch, more string) (*Server, error) {
	path, err := p.build(".", "github.com/nats-io/nats-server/v2", "nats-server")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(scratch, "nats.conf")
	text := fmt.Sprintf("listen: 127.0.0.1:%d\nmax_pending: 1GB\nwrite_deadline: \"60s\"\n%s", port, more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	proc, err := harness.Start("nats-server", exec.Command(path, "-c", conf))
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), proc: proc}
	return s, s.awaitPort()
}

// awaitPort waits until the server takes connections.
func (s *Server) awaitPort() error {
	const patience = 60 * time.Second
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if !s.proc.Alive() {
			_, err := s.proc.Line()
			return err
		}
		c, err := net.Dial("tcp", s.Addr)
		if err == nil {
			return c.Close()
		}
	}
	s.Stop()
	return fmt.Errorf("%w: nothing listens on %s after %v", ErrUnavailable, s.Addr, patience)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
