// Package row is the claims that are measured, one a file. Each row runs its
// variants in turn, round after round, so that what else the machine does hits
// all of them alike.
package row

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// Set is how much is measured.
type Set string

// The sets: each has the rows of those before it.
const (
	Quick   Set = "quick"
	Default Set = "default"
	All     Set = "all"
)

func (s Set) has(of Set) bool {
	order := []Set{Quick, Default, All}
	return slices.Index(order, of) <= slices.Index(order, s)
}

// rounds by default.
var rounds = map[Set]int{Quick: 2, Default: 5, All: 5}

// Entry is one row of the table.
type Entry struct {
	ID    string
	Title string
	Set   Set // the smallest set that has it
	run   func(context.Context, *Bench, *result.Row) error
}

// Bench is one run.
type Bench struct {
	Set      Set
	Rounds   int
	Variants []string // only these; empty: all
	Scratch  string   // a directory for data and binaries
	Ticks    string   // directory of real ticks
	Log      io.Writer

	programs system.Programs
	failed   []error
}

// Run measures the rows of the set, or those named.
func (b *Bench) Run(ctx context.Context, only []string) (*result.Report, error) {
	if b.Rounds == 0 {
		b.Rounds = rounds[b.Set]
	}
	b.programs.Dir = b.Scratch
	r := &result.Report{Command: command(os.Args[1:]), Started: time.Now(), Commit: commit(), Machine: machine(b.Scratch), Rounds: b.Rounds}
	for _, id := range only {
		if !slices.ContainsFunc(Table, func(e Entry) bool { return e.ID == id }) {
			return nil, fmt.Errorf("there is no row %q; bench list shows them", id)
		}
	}
	for _, e := range Table {
		if len(only) > 0 && !slices.Contains(only, e.ID) || len(only) == 0 && !b.Set.has(e.Set) {
			continue
		}
		fmt.Fprintf(b.Log, "\n%s  %s\n", e.ID, e.Title)
		row := result.Row{ID: e.ID, Title: e.Title}
		if err := e.run(ctx, b, &row); err != nil {
			return nil, fmt.Errorf("row %s: %w", e.ID, err)
		}
		r.Rows = append(r.Rows, row)
	}
	r.Took = result.Duration(time.Since(r.Started).Round(time.Second))
	return r, errors.Join(b.failed...)
}

// variant is one thing to measure: it returns the figures of one round.
type variant struct {
	name string
	run  func() (map[string]float64, error)
}

// measure runs the variants A B A B. One that cannot run, or fails, says so in
// the row and is left out from then on.
func (b *Bench) measure(ctx context.Context, row *result.Row, variants ...variant) error {
	at := len(row.Variants)
	variants = slices.DeleteFunc(variants, func(v variant) bool { return len(b.Variants) > 0 && !slices.Contains(b.Variants, v.name) })
	for _, v := range variants {
		row.Variants = append(row.Variants, result.Variant{Name: v.name})
	}
	for round := range b.Rounds {
		for i, v := range variants {
			if err := ctx.Err(); err != nil {
				return err
			}
			out := &row.Variants[at+i]
			if out.Unavailable != "" {
				continue
			}
			figures, err := v.run()
			if err != nil {
				out.Unavailable = err.Error()
				fmt.Fprintf(b.Log, "  %d/%d %-28s %v\n", round+1, b.Rounds, v.name, err)
				if !errors.Is(err, system.ErrUnavailable) {
					b.failed = append(b.failed, fmt.Errorf("row %s, %s: %w", row.ID, v.name, err))
				}
				continue
			}
			for metric, value := range figures {
				out.Add(metric, value)
			}
			fmt.Fprintf(b.Log, "  %d/%d %-28s %s\n", round+1, b.Rounds, v.name, shown(figures))
		}
	}
	return nil
}

// shown is figures on one line.
func shown(figures map[string]float64) string {
	var parts []string
	for metric, value := range figures {
		parts = append(parts, fmt.Sprintf("%s=%.4g", metric, value))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// scaled is a count for a quick run, or the whole one.
func (b *Bench) scaled(quick, whole int) int {
	if b.Set == Quick {
		return quick
	}
	return whole
}

// dir makes a directory that the caller removes.
func (b *Bench) dir() (string, func(), error) {
	dir, err := os.MkdirTemp(b.Scratch, "data-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// command is what repeats a run; where it was written is nobody's business.
func command(args []string) string {
	shown := []string{"bench"}
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--out" || args[i] == "--data":
			i++
		case !strings.HasPrefix(args[i], "--out=") && !strings.HasPrefix(args[i], "--data="):
			shown = append(shown, args[i])
		}
	}
	return strings.Join(shown, " ")
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func machine(dir string) result.Machine {
	m := result.Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: "unknown"}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = "Linux " + unix.ByteSliceToString(name.Release[:])
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		m.DataDir = map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.TMPFS_MAGIC: "tmpfs"}[fs.Type]
	}
	return m
}
