// Command tapewire is the whole product in one binary: the gateway, and the commands that publish to it, subscribe to it and look at what it wrote.
//
// It is thin on purpose. What it promises are names: commands, flags, environment variables, exit codes and the first words of what it prints;
// everything else is done by packages gateway, journal and feed. Flags hold settings and never secrets: a key comes from the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line; kong reads names, defaults and help from its tags.
type cli struct {
	Serve     serveCmd     `cmd:"" help:"Run the gateway: take ticks from producers, keep them on disk, hand them to subscribers."`
	Publish   publishCmd   `cmd:"" help:"Publish DBN files, or DBN on standard input."`
	Subscribe subscribeCmd `cmd:"" help:"Print or save what a subscriber receives: live, from the past, or both."`
	Tap       tapCmd       `cmd:"" help:"Read a tape in place, on the gateway's machine, without a connection."`
	Journal   journalCmd   `cmd:"" help:"List or verify what lies in a data directory; the gateway may be running."`
	Symbols   symbolsCmd   `cmd:"" help:"List who an instrument id was, and correct a wrong name."`
	Dataset   datasetCmd   `cmd:"" help:"Remove a dataset from a data directory."`
	Key       keyCmd       `cmd:"" help:"Make and list the keys of a key file."`
	Demo      demoCmd      `cmd:"" help:"See everything at work in one terminal, on a made-up market or on your own file."`
	Version   versionCmd   `cmd:"" help:"Print the version, and the commit it was built from."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version, and the commit it was built from."`
}

const description = `A market-data feed server: adapters publish ticks over TCP, the gateway keeps them on disk and fans them out to bots that speak the Databento Live protocol.

  tapewire demo                                    see it work
  tapewire serve                                   run the gateway on 127.0.0.1:13000
  tapewire publish ticks.dbn.zst                   play a file into it
  tapewire subscribe --dataset D --schema trades   print what arrives

Exit codes: 0 done, 1 failed, 2 usage, 3 cannot connect, 4 refused, 5 done, but something is missing that was asked for: records that were lost, or what was never published at all by the end of the request and so is most often misspelt: a dataset, a schema, a symbol, an id that has neither a name nor a record of the schemas asked for. A span that holds nothing of what is there is no reason: 0.`

// console is where a command reads and writes, so that none of them names the process's own files.
type console struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	for _, name := range []string{"TAPEWIRE_GATEWAY", "DURATION"} {
		if os.Getenv(name) == "" {
			os.Unsetenv(name) // set to nothing is not set; kong would take it for a value
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], console{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run is the program; its result is the exit code.
func run(ctx context.Context, args []string, c console) int {
	helped := false
	parser, err := kong.New(new(cli), kong.Name("tapewire"), kong.Description(description),
		kong.Writers(c.out, c.err), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: helpWidth}),
		kong.Vars{"version": "tapewire " + version()}, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(c))
	if err != nil {
		return report(c.err, fmt.Errorf("command line: %w", err))
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(joinNegative(args))
	if helped {
		return exitDone
	}
	if err != nil {
		return report(c.err, usageError(err))
	}
	return report(c.err, command.Run())
}

// helpWidth is the longest line of a help text, in characters.
const helpWidth = 110

// joinNegative lets a value that begins with a minus follow its flag after a space, as in `--start -5m`; kong would take it for a flag.
func joinNegative(args []string) []string {
	joined := make([]string, 0, len(args))
	for _, arg := range args {
		if n := len(joined); n > 0 && (joined[n-1] == "--start" || joined[n-1] == "--end") && negative.MatchString(arg) {
			joined[n-1] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

var negative = regexp.MustCompile(`^-[0-9]`)

// usageError adds the remedy to what kong found wrong.
func usageError(err error) error {
	remedy := "tapewire --help"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			remedy = node.FullPath() + " --help"
		}
	}
	return withExit(exitUsage, fmt.Errorf("%w\nsee %s", err, remedy))
}

// gatewayFlag is shared by the commands that connect.
type gatewayFlag struct {
	tlsFlags
	Gateway string `help:"The gateway's address; the port is 13000 unless given (default ${default}); tls://HOST[:PORT] is --tls." placeholder:"HOST[:PORT]" default:"127.0.0.1:13000" env:"TAPEWIRE_GATEWAY"`
}
