package report

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/bench/result"
)

// What did not run must not look like a figure, and no figure can break a chart.
func TestThePageSaysWhatDidNotRun(t *testing.T) {
	row := result.Row{ID: "x", Title: "Work, measured by ts_out", Claims: []result.Claim{
		{Metric: result.CPUPerRecord, Of: "a", Against: "b", Goal: 1.5, Extra: 1.1},
		{Metric: result.CPUPerRecord, Of: "a", Against: "gone", Goal: 1.5},
		{Metric: result.P50, Of: "a", Goal: 1000},
		{Metric: result.P99, Of: "a", Against: "b", Goal: 1},
	}, Charts: []result.Chart{{Title: "<odd>", LogX: true, LogY: true, Lines: []result.Line{{Name: "&", X: []float64{0, 1, 2}, Y: []float64{1, math.NaN(), math.Inf(1)}}}}}}
	row.Variants = []result.Variant{{Name: "a"}, {Name: "b"}, {Name: "gone", Unavailable: "not installed"}}
	for _, v := range []float64{10, 12, 11} {
		row.Variants[0].Add(result.CPUPerRecord, v)
		row.Variants[1].Add(result.CPUPerRecord, 10)
		row.Variants[0].Add(result.P50, 2000)
		row.Variants[0].Add(result.P99, 2000)
		row.Variants[1].Add(result.P99, 0)
	}
	dir := t.TempDir()
	if err := Write(&result.Report{Command: "bench run", Rows: []result.Row{row}}, dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"**1.10 x** (1.00 to 1.20) | extraordinary |", "did not run", "gone did not run: not installed", "**2.00 us** (2.00 us to 2.00 us) | missed |", "(#work-measured-by-ts_out)"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page lacks %q:\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "Inf") || strings.Contains(string(b), "NaN") {
		t.Errorf("a ratio to nothing is on the page:\n%s", b)
	}
	picture, err := os.Open(filepath.Join(dir, chartDir, "x-1.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	for d := xml.NewDecoder(picture); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s has %s=%q", start.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}
