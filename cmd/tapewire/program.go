package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// programName is the program as the user typed it, so that a command it prints can be pasted.
func programName() string {
	name := os.Args[0]
	if strings.ContainsAny(name, " '\"$\\") {
		return filepath.Base(name)
	}
	return name
}

// hangupEnds makes a lost terminal end a command in order. Under nohup it goes on.
func hangupEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// address completes what --gateway names: the default port when there is none.
func (g gatewayFlag) address() string {
	_, port, _ := net.SplitHostPort(feed.DefaultAddr)
	given := strings.TrimPrefix(g.Gateway, tlsScheme)
	host := strings.TrimSuffix(strings.TrimPrefix(given, "["), "]")
	if !strings.Contains(host, ":") || net.ParseIP(host) != nil {
		return net.JoinHostPort(host, port)
	}
	return given
}

// checkDataset finds a name that no gateway takes.
func checkDataset(name string) error {
	if journal.CheckDataset(name) != nil {
		return usage("%q is no name of a dataset: use %s; --dataset sets it", name, journal.DatasetRule)
	}
	return nil
}

// names is a list as flags take it. An empty one, as a script with an unset variable gives it, is refused: left out, the flag means everything.
type names []string

// Decode reads A,B.
func (n *names) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("list", &text); err != nil {
		return err
	}
	list := strings.Split(text, ",")
	if slices.Contains(list, "") {
		return fmt.Errorf("%q has an empty name; leave the flag out to have everything", text)
	}
	*n = append(*n, list...)
	return nil
}

// all reports whether they are everything by its name.
func (n names) all() bool { return slices.Equal(n, names{lsg.AllSymbols}) }

// check finds everything among others.
func (n names) check() error {
	if !n.all() && slices.Contains(n, lsg.AllSymbols) {
		return usage("--symbols: %s is all there are, so no other goes with it", lsg.AllSymbols)
	}
	return nil
}

// reachable is an address that clients can connect to: a gateway that listens everywhere is reached by an address of this machine.
func reachable(addr *net.TCPAddr) string {
	if !addr.IP.IsUnspecified() {
		return addr.String()
	}
	here := net.IPv4(127, 0, 0, 1)
	own, _ := net.InterfaceAddrs() // none is like no network
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			here = n.IP
			break
		}
	}
	return (&net.TCPAddr{IP: here, Port: addr.Port}).String()
}
