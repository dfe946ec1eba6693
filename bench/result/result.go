// Package result is what a benchmark run measured, as it is kept in a file and
// drawn by package report. It promises that every figure can be traced: each
// sample of each round is kept, nothing is averaged away.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// A Report is one run of the benchmark command.
type Report struct {
	Command string    `json:"command"` // that made it, as typed
	Started time.Time `json:"started"`
	Took    Duration  `json:"took"`
	Commit  string    `json:"commit"`
	Machine Machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Rows    []Row     `json:"rows"`
}

// Machine is where a run took place.
type Machine struct {
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  int64  `json:"memory_bytes"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	DataDir string `json:"data_dir"` // its filesystem
}

// A Row is one claim and what was measured about it.
type Row struct {
	ID       string    `json:"id"`    // "1" .. "13", or a name such as "market-open"
	Title    string    `json:"title"` // the work
	Setup    string    `json:"setup"` // rates, sizes, counts, in one or two sentences
	Claims   []Claim   `json:"claims"`
	Variants []Variant `json:"variants"` // what was run, A B A B, in each round
	Charts   []Chart   `json:"charts,omitempty"`
	Notes    []string  `json:"notes,omitempty"` // what a reader must know: a floor, a reason, a peer that could not run
}

// A Claim compares one metric of two variants within each round, or holds one
// metric against a fixed bound when Against is empty.
type Claim struct {
	Metric  string  `json:"metric"`  // of Of and Against
	Of      string  `json:"of"`      // variant
	Against string  `json:"against"` // variant; empty: Goal is a value in the metric's unit
	Goal    float64 `json:"goal"`
	Extra   float64 `json:"extraordinary,omitempty"` // zero: none was named
	Higher  bool    `json:"higher"`                  // higher is better
}

// A Variant is one system or configuration.
type Variant struct {
	Name        string               `json:"name"`                  // "tapewire", "relay", "nats, 100 a message"
	Unavailable string               `json:"unavailable,omitempty"` // why it did not run
	Samples     map[string][]float64 `json:"samples"`               // metric > one value a round
}

// Chart is drawn as it is: lines over X.
type Chart struct {
	Title       string `json:"title"`
	XLabel      string `json:"x_label"`
	YLabel      string `json:"y_label"`
	LogX        bool   `json:"log_x,omitempty"`
	LogY        bool   `json:"log_y,omitempty"`
	Percentiles bool   `json:"percentiles,omitempty"` // X is 1/(1-q) and shown as a percentage
	Lines       []Line `json:"lines"`
}

// A Line has as many Y as X. For percentiles X is 1/(1-q): 2, 10, 100, 1000.
type Line struct {
	Name string    `json:"name"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// Metrics, with their units. A row may have others; a name ends in its unit.
const (
	CPUPerRecord = "server_cpu_ns_per_delivered_record"
	Delivered    = "delivered_records_per_s"
	Ingested     = "ingested_records_per_s"
	CPUPerGB     = "server_cpu_s_per_gb"
	Throughput   = "bytes_per_s"
	P50          = "p50_ns"
	P99          = "p99_ns"
	P999         = "p999_ns"
	LastP50      = "last_subscriber_p50_ns"
	LastP99      = "last_subscriber_p99_ns"
	Switches     = "context_switches_per_s"
	Syscalls     = "syscalls_per_record"
	Memory       = "own_memory_bytes" // resident and not backed by a file
)

// Variant finds a variant by name.
func (r *Row) Variant(name string) (*Variant, error) {
	i := slices.IndexFunc(r.Variants, func(v Variant) bool { return v.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("row %s has no variant %q", r.ID, name)
	}
	return &r.Variants[i], nil
}

// Add keeps one sample of this round.
func (v *Variant) Add(metric string, value float64) {
	if v.Samples == nil {
		v.Samples = map[string][]float64{}
	}
	v.Samples[metric] = append(v.Samples[metric], value)
}

// A Spread is a median with what lay around it.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf needs at least one value.
func SpreadOf(values []float64) Spread {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Value is the spread of the claim's ratio over the rounds, or of the metric
// itself where there is nothing to compare with. ok is false when a variant
// could not run.
func (r *Row) Value(c Claim) (s Spread, ok bool) {
	of, err := r.Variant(c.Of)
	if err != nil || len(of.Samples[c.Metric]) == 0 {
		return s, false
	}
	values := of.Samples[c.Metric]
	if c.Against == "" {
		return SpreadOf(values), true
	}
	against, err := r.Variant(c.Against)
	if err != nil || len(against.Samples[c.Metric]) == 0 {
		return s, false
	}
	base := against.Samples[c.Metric]
	var ratios []float64
	for i := range min(len(values), len(base)) {
		if base[i] != 0 {
			ratios = append(ratios, values[i]/base[i])
		}
	}
	if len(ratios) == 0 {
		return s, false
	}
	return SpreadOf(ratios), true
}

// Met reports whether a value reaches a bound.
func (c Claim) Met(value, bound float64) bool {
	if c.Higher {
		return value >= bound
	}
	return value <= bound
}

// Duration is a time.Duration that JSON shows as text.
type Duration time.Duration

// MarshalText writes it as 1m30s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Save writes the report.
func (r *Report) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Load reads what Save wrote.
func Load(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
