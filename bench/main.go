// Command bench measures tapewire beside the floor of this machine and beside
// other servers, side by side in one run, and writes what it found as a page.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tapewire/tapewire/bench/report"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/row"
)

type cli struct {
	Run    runCmd    `cmd:"" help:"Measure, and write the page."`
	Report reportCmd `cmd:"" help:"Write the page again from the figures of an earlier run."`
	List   listCmd   `cmd:"" help:"List what can be measured."`
	Child  childCmd  `cmd:"" hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&cli{}, kong.Name("bench"), kong.Description("Measures tapewire side by side with this machine's floor and with other servers."), kong.UsageOnError())
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run())
}

type runCmd struct {
	Set      string   `help:"How much: quick (2 minutes), default (20), all (every row and peer)." enum:"quick,default,all" default:"default"`
	Rows     []string `help:"Only these rows." placeholder:"ID"`
	Variants []string `help:"Only these variants of them: for a look, not for a page; separated by semicolons." placeholder:"NAME" sep:";"`
	Rounds   int      `help:"Rounds, each with every variant once; by default what the set says." placeholder:"N"`
	Out      string   `help:"Where benchmarks.json, benchmarks.md and the charts go." default:"../docs" type:"path"`
	Data     string   `help:"Directory of real ticks, for the market-open row." default:"../../shared/data" type:"path"`
}

// Run measures row after row.
func (c *runCmd) Run(ctx context.Context) error {
	scratch, err := os.MkdirTemp("", "tapewire-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b := &row.Bench{Set: row.Set(c.Set), Rounds: c.Rounds, Variants: c.Variants, Scratch: scratch, Ticks: c.Data, Log: os.Stderr}
	r, err := b.Run(ctx, c.Rows)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	if err := r.Save(filepath.Join(c.Out, "benchmarks.json")); err != nil {
		return err
	}
	return write(r, c.Out)
}

func write(r *result.Report, dir string) error {
	if err := report.Write(r, dir); err != nil {
		return err
	}
	fmt.Println("wrote", filepath.Join(dir, "benchmarks.md"))
	return nil
}

type reportCmd struct {
	File string `arg:"" help:"benchmarks.json of a run."`
	Out  string `help:"Where the page goes." default:"../docs" type:"path"`
}

// Run draws what was measured before.
func (c *reportCmd) Run() error {
	r, err := result.Load(c.File)
	if err != nil {
		return err
	}
	return write(r, c.Out)
}

type listCmd struct{}

// Run lists the rows.
func (listCmd) Run() error {
	for _, e := range row.Table {
		fmt.Printf("%-12s %-8s %s\n", e.ID, e.Set, e.Title)
	}
	return nil
}
