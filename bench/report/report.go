// Package report draws what a benchmark measured: a page and its charts. It
// promises to show what is in the figures and nothing else, also what did not run.
package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapewire/tapewire/bench/result"
)

// chartDir is where charts go, beside the page.
const chartDir = "bench"

// Write writes dir/benchmarks.md and its charts, in place of what was there.
func Write(r *result.Report, dir string) error {
	charts := filepath.Join(dir, chartDir)
	if err := os.RemoveAll(charts); err != nil {
		return err
	}
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	p := &page{}
	p.head(r)
	p.claims(r)
	for i := range r.Rows {
		if err := p.row(&r.Rows[i], charts); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(p.String()), 0o644)
}

// howToRead is what a reader must know before the first figure.
const howToRead = `**How do I read it?** Server, producer and subscribers run on one machine, over loopback, and share its CPUs. Receiving costs more there than the server's sending. So compare the lines of one table, and do not expect the same figures elsewhere. A ratio is taken in each round; the page shows the median, the least and the greatest. Server CPU is what the kernel counts for the server's process.

**What is it compared with?** The relay is the smallest program that passes on what it receives: one thread that keeps nothing. A floor is a bare loop that does the named work and nothing else. ` + "`auto`, `write`, `sendfile`, `splice` and `copy`" + ` are the ways in which tapewire sends (` + "`serve --send-path`" + `); ` + "`copy`" + ` is the one without zero copy.`

type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) head(r *result.Report) {
	m := r.Machine
	p.line("# Benchmarks\n")
	p.line("`%s` writes this page; do not edit its figures. `benchmarks.json` has every sample behind them.\n", r.Command)
	p.line("| | |\n|---|---|")
	p.line("| when | %s, took %s |", r.Started.UTC().Format("2006-01-02 15:04 UTC"), time.Duration(r.Took))
	p.line("| commit | %s |", r.Commit)
	p.line("| machine | %d CPUs (%s), %s of memory, %s, %s, data on %s |", m.CPUs, m.CPU, value("memory_bytes", float64(m.Memory)), m.Kernel, m.Go, m.DataDir)
	p.line("| rounds | %d; each runs every variant once, in turn |\n", r.Rounds)
	p.line("%s\n", howToRead)
}

func (p *page) claims(r *result.Report) {
	p.line("## Claims\n\nWhat we wanted to reach, and what this run found. A line without a goal is there to compare.\n")
	p.line("| work | measured | of | against | goal | extraordinary | found (least to greatest) | |\n|---|---|---|---|---|---|---|---|")
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, c := range row.Claims {
			p.line("| [%s](#%s) | %s | %s | %s | %s | %s | %s | %s |", row.Title, anchor(row), metricText(c.Metric), c.Of, or(c.Against, "a bound"),
				bound(c, c.Goal), bound(c, c.Extra), found(row, c), verdict(row, c))
		}
	}
	p.line("")
}

// bound shows what a claim is held against.
func bound(c result.Claim, v float64) string {
	switch {
	case v == 0:
		return ""
	case c.Against == "" && c.Higher:
		return "at least " + value(c.Metric, v)
	case c.Against == "":
		return "at most " + value(c.Metric, v)
	case c.Higher:
		return fmt.Sprintf("at least %g x", v)
	}
	return fmt.Sprintf("at most %g x", v)
}

// found shows what was measured.
func found(row *result.Row, c result.Claim) string {
	s, ok := row.Value(c)
	if !ok {
		return "did not run"
	}
	if c.Against == "" {
		return fmt.Sprintf("**%s** (%s to %s)", value(c.Metric, s.Median), value(c.Metric, s.Min), value(c.Metric, s.Max))
	}
	return fmt.Sprintf("**%.2f x** (%.2f to %.2f)", s.Median, s.Min, s.Max)
}

// verdict holds the median against the goal.
func verdict(row *result.Row, c result.Claim) string {
	s, ok := row.Value(c)
	switch {
	case !ok || c.Goal == 0:
		return ""
	case c.Extra != 0 && c.Met(s.Median, c.Extra):
		return "extraordinary"
	case c.Met(s.Median, c.Goal):
		return "met"
	}
	return "missed"
}

func (p *page) row(row *result.Row, charts string) error {
	p.line("## %s\n\n%s\n", row.Title, row.Setup)
	if len(row.Variants) <= mostTabled {
		p.table(row)
	}
	for _, v := range row.Variants {
		if v.Unavailable != "" {
			p.line("- %s did not run: %s", v.Name, strings.ReplaceAll(v.Unavailable, "\n", " "))
		}
	}
	for _, note := range row.Notes {
		p.line("- %s", note)
	}
	p.line("")
	for i, c := range row.Charts {
		name := fmt.Sprintf("%s-%d.svg", row.ID, i+1)
		if err := os.WriteFile(filepath.Join(charts, name), []byte(svg(&c)), 0o644); err != nil {
			return err
		}
		p.line("![%s](%s/%s)\n", c.Title, chartDir, name)
	}
	return nil
}

// mostTabled is how many variants a table shows; charts show more.
const mostTabled = 20

// table is one line a variant, one column a metric: median, least to greatest.
func (p *page) table(row *result.Row) {
	var metrics []string
	for _, v := range row.Variants {
		for metric := range v.Samples {
			if !slices.Contains(metrics, metric) {
				metrics = append(metrics, metric)
			}
		}
	}
	slices.Sort(metrics)
	if len(metrics) == 0 {
		return
	}
	head, rule := "| |", "|---|"
	for _, metric := range metrics {
		head += " " + metricText(metric) + " |"
		rule += "---|"
	}
	p.line("%s\n%s", head, rule)
	for _, v := range row.Variants {
		if len(v.Samples) == 0 {
			continue
		}
		cells := "| " + v.Name + " |"
		for _, metric := range metrics {
			cells += " " + cell(metric, v.Samples[metric]) + " |"
		}
		p.line("%s", cells)
	}
	p.line("")
}

func cell(metric string, samples []float64) string {
	if len(samples) == 0 {
		return ""
	}
	s := result.SpreadOf(samples)
	if len(samples) == 1 {
		return value(metric, s.Median)
	}
	return fmt.Sprintf("%s<br><small>%s to %s</small>", value(metric, s.Median), value(metric, s.Min), value(metric, s.Max))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// anchor is the link to a row's heading, as Markdown renderers make it.
func anchor(row *result.Row) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			return r
		}
		return -1
	}, strings.ToLower(row.Title))
}
