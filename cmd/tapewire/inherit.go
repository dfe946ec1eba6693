package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/gateway"
)

// inheritance is what a service manager has opened for this process and goes on holding: socket activation, as sd_listen_fds(3) has it.
type inheritance struct{ live, tls *net.TCPListener } // nil where there is none

// firstInherited is the descriptor that the inherited ones begin at.
const firstInherited = 3

// inherit takes the listeners that the environment names, and the names out of it: they are not meant for processes of ours.
func inherit() (in inheritance, err error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return in, nil // meant for a parent of ours, if for anybody
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return in, fmt.Errorf("LISTEN_FDS is %q, no number of listeners", count)
	}
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		if err := in.add(firstInherited+i, name); err != nil {
			return in, err
		}
	}
	return in, nil
}

// add takes one. The name tls is for those who speak TLS; any other, such as the socket unit's own, is for the main listener.
func (in *inheritance) add(fd int, name string) error {
	ln, err := inheritListener(fd, name)
	if err != nil {
		return err
	}
	place, what := &in.live, "listeners without TLS"
	if name == "tls" {
		place, what = &in.tls, "listeners named tls"
	}
	if *place != nil {
		return fmt.Errorf("two %s are inherited, %s and %s, and one is served: give the socket unit one ListenStream=, and a unit for TLS FileDescriptorName=tls", what, (*place).Addr(), ln.Addr())
	}
	*place = ln
	return nil
}

// inheritListener takes over a descriptor, which is closed.
func inheritListener(fd int, name string) (*net.TCPListener, error) {
	what := fmt.Sprintf("the inherited descriptor %d", fd)
	if name != "" {
		what += " (" + name + ")"
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == unix.EBADF {
		return nil, fmt.Errorf("%s is not open: LISTEN_FDS promises more than was passed on", what)
	}
	const remedy = "the socket unit needs ListenStream= with a port, and Accept=no"
	if err != nil || listens == 0 {
		return nil, fmt.Errorf("%s is no listening TCP socket: %s", what, remedy)
	}
	f := os.NewFile(uintptr(fd), what)
	defer f.Close() // the listener has a copy
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%s listens on %s, not by TCP: %s", what, ln.Addr().Network(), remedy)
	}
	return tcp, nil
}

// inherit puts inherited listeners in the place of the addresses. Another address beside one would not be served, so it is refused.
func (s *serveCmd) inherit() (err error) {
	if s.in, err = inherit(); err != nil {
		return withExit(exitUsage, err)
	}
	if err := replace(s.in.live, "--listen", &s.Listen, gateway.DefaultListen); err != nil {
		return err
	}
	return replace(s.in.tls, "--tls-listen", &s.TLSListen, "")
}

// replace has a flag say where ln listens; none is what it says when nobody has set it.
func replace(ln *net.TCPListener, flag string, addr *string, none string) error {
	if ln == nil {
		return nil
	}
	at := ln.Addr().String()
	if *addr != none && *addr != at {
		return usage("%s is %s, and a listener on %s is inherited in its place: leave one of them out", flag, *addr, at)
	}
	*addr = at
	return nil
}

// String lists the addresses, "" when nothing is inherited.
func (in inheritance) String() string {
	var all []string
	for _, ln := range []*net.TCPListener{in.live, in.tls} {
		if ln != nil {
			all = append(all, ln.Addr().String())
		}
	}
	return strings.Join(all, " and ")
}
