package gateway

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var updatePage = flag.Bool("update", false, "write docs/metrics.md instead of comparing with it")

const metricsPageFile = "../docs/metrics.md"

const metricsPageHead = `# Metrics

What a running gateway tells about itself, by the question that you come with. ` + "`make docs`" + ` writes this page from
the code; a test compares the two.

## How do I get them?

` + "`--admin`" + ` serves them in Prometheus' text format:

` + "```sh" + `
tapewire serve --admin 127.0.0.1:13080
curl -s http://127.0.0.1:13080/metrics
curl -s -u "$ADMIN_KEY:" http://127.0.0.1:13080/metrics     # with --keys: a key that has the right admin
` + "```" + `

A counter begins at 0 when the gateway starts and only grows: look at its ` + "`rate` or `increase`" + `. A gauge is the value of this moment.

## What do I alert on first?

` + "```yaml" + `
groups:
- name: tapewire
  rules:
  - {alert: NoMetrics, expr: 'up{job="tapewire"} == 0', for: 1m}
  - {alert: DatasetRefusesRecords, expr: tapewire_dataset_writable == 0, for: 1m}
  - {alert: DatasetNotServed, expr: tapewire_dataset_not_served == 1}
  - {alert: ProducerGone, expr: 'tapewire_producer_connected{producer="binance-1"} == 0', for: 1m}
  - {alert: TapeIsOld, expr: 'tapewire_seconds_since_last_record{schema="trades"} > 60'}
  - {alert: RecordsMissing, expr: 'increase(tapewire_gaps_entered_total{cause!~"expired|corrected"}[5m]) > 0'}
  - {alert: DiskFillsUp, expr: tapewire_retain_disk_ratio > 0.95}
  - {alert: Panic, expr: 'increase(tapewire_panics_total[5m]) > 0'}
` + "```" + `
`

// metricsPage is docs/metrics.md as the code has it.
func metricsPage() string {
	var b strings.Builder
	b.WriteString(metricsPageHead)
	for _, g := range metricGroups {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | unit | what it tells | alert on |\n|---|---|---|---|---|\n", g.question, wrapped(g.intro))
		for _, f := range g.families {
			labels := ""
			if f.labels != "" {
				labels = "{" + strings.ReplaceAll(f.labels, ",", ", ") + "}"
			}
			fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s | %s |\n", f.name, labels, f.kind, f.unit, f.help, f.alert)
		}
	}
	b.WriteString("\n## How many series are there?\n\nA label has a bounded number of values, whatever clients do:\n\n| label | says | values at most |\n|---|---|---|\n")
	for _, l := range metricLabels {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", l.name, l.values, l.most)
	}
	b.WriteString("\nNames in code style, such as `Connections`, are limits: [limits.md](limits.md).\n")
	return b.String()
}

// wrapped breaks prose into lines of at most 120 characters.
func wrapped(text string) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case n > 0 && n+1+len(word) > 120:
			b.WriteByte('\n')
			n = 0
		case n > 0:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}

// An operator builds alerts by the page: it must say what the code says.
func TestMetricsPageIsWhatTheCodeSays(t *testing.T) {
	want := metricsPage()
	if *updatePage {
		if err := os.WriteFile(metricsPageFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(metricsPageFile); err != nil || string(got) != want {
		t.Errorf("docs/metrics.md is not what the code says (%v): run make docs", err)
	}
}

// A family that nobody described would be on /metrics without help, and not on the
// page; one of which the page tells and that nobody prints is an alert that never fires.
func TestScrapeHasWhatThePageDescribes(t *testing.T) {
	page, known, labels := scrapeOfEverything(t), knownFamilies(), map[string]bool{}
	for _, l := range metricLabels {
		labels[l.name] = true
	}
	seen := map[string]bool{}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f, ok := known[sampleFamily([]byte(line), known)]
		if !ok {
			t.Errorf("nobody describes %s", line)
			continue
		}
		seen[f.name] = true
		if got := labelsOf(line); f.kind == "gauge" || f.kind == "counter" {
			if strings.Join(got, ",") != f.labels {
				t.Errorf("%s is described with the labels %q: %s", f.name, f.labels, line)
			}
			for _, name := range got {
				if strings.HasPrefix(f.name, "tapewire_") && !labels[name] {
					t.Errorf("nobody says what the label %s of %s may be, and how many there are", name, f.name)
				}
			}
		}
	}
	for _, g := range metricGroups {
		for _, f := range g.families {
			if strings.HasPrefix(f.name, "tapewire_") && !seen[f.name] {
				t.Errorf("%s is described, and not on /metrics", f.name)
			}
			if !strings.HasSuffix(f.help, ".") || f.unit == "" || strings.ContainsAny(f.help+f.alert, "|\n\\") {
				t.Errorf("%s: the help is to be a sentence, with a unit, and fit a table", f.name)
			}
			if seen[f.name] && !strings.Contains(page, fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", f.name, strings.ReplaceAll(f.help, "`", ""), f.name, f.kind)) {
				t.Errorf("%s has not its help and type on /metrics", f.name)
			}
		}
	}
}

var labelName = regexp.MustCompile(`[{,] ?([A-Za-z_]+)="(?:[^"\\]|\\.)*"`)

// labelsOf is the names of a sample's labels.
func labelsOf(line string) (names []string) {
	for _, m := range labelName.FindAllStringSubmatch(line, -1) {
		names = append(names, m[1])
	}
	return names
}

// scrape is what /metrics answers now.
func scrape(s *Server) string {
	var b bytes.Buffer
	s.metrics.write(&b)
	return b.String()
}
