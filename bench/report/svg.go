package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/tapewire/tapewire/bench/result"
)

// The picture, in pixels.
const (
	width, height            = 820, 420
	left, right, top, bottom = 78, 210, 44, 56
	plotWidth, plotHeight    = width - left - right, height - top - bottom
)

// colours that are told apart on white and on black, also by the colour-blind.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f", "#b8860b"}

// axis maps values to pixels.
type axis struct {
	log      bool
	min, max float64
	from, to float64 // pixels
}

// newAxis spans the values; the ends of a logarithmic one are powers of ten.
func newAxis(values []float64, log bool, from, to float64) axis {
	a := axis{log: log, min: math.Inf(1), max: math.Inf(-1), from: from, to: to}
	for _, v := range values {
		a.min, a.max = min(a.min, v), max(a.max, v)
	}
	if math.IsInf(a.min, 0) {
		a.min, a.max = 1, 10
	}
	if log {
		a.min, a.max = math.Pow(10, math.Floor(math.Log10(a.min))), math.Pow(10, math.Ceil(math.Log10(a.max)))
		if a.min == a.max {
			a.max *= 10
		}
		return a
	}
	a.min = 0
	if a.max <= 0 {
		a.max = 1
	}
	step := tickStep(a.max)
	a.max = math.Ceil(a.max/step) * step
	return a
}

func (a axis) at(v float64) float64 {
	share := (v - a.min) / (a.max - a.min)
	if a.log {
		share = math.Log10(v/a.min) / math.Log10(a.max/a.min)
	}
	return a.from + share*(a.to-a.from)
}

// ticks are where lines are drawn.
func (a axis) ticks() []float64 {
	var list []float64
	if a.log {
		for v := a.min; v <= a.max*1.0001; v *= 10 {
			list = append(list, v)
		}
		return list
	}
	step := tickStep(a.max)
	for v := 0.0; v <= a.max*1.0001; v += step {
		list = append(list, v)
	}
	return list
}

// tickStep gives some five ticks at 1, 2 or 5 times a power of ten.
func tickStep(most float64) float64 {
	raw := most / 5
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5} {
		if f*unit >= raw {
			return f * unit
		}
	}
	return 10 * unit
}

// drawable leaves out what has no place on a chart.
func drawable(c *result.Chart, x, y float64) bool {
	for _, v := range []float64{x, y} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return !(c.LogX && x <= 0) && !(c.LogY && y <= 0)
}

// svg draws a chart. It carries its own colours for light and dark.
func svg(c *result.Chart) string {
	var xs, ys []float64
	for _, l := range c.Lines {
		for i := range l.X {
			if drawable(c, l.X[i], l.Y[i]) {
				xs, ys = append(xs, l.X[i]), append(ys, l.Y[i])
			}
		}
	}
	x := newAxis(xs, c.LogX, left, left+plotWidth)
	y := newAxis(ys, c.LogY, top+plotHeight, top)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	b.WriteString(`<style>text{fill:#222}.grid{stroke:#ddd}.axis{stroke:#555}.back{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#333}.axis{stroke:#aaa}.back{fill:#0d1117}}</style>` + "\n")
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(c.Title))
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(v), top, x.at(v), top+plotHeight, x.at(v), top+plotHeight+18, tick(v, c.Percentiles))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y.at(v), left+plotWidth, y.at(v), left-8, y.at(v)+4, tick(v, false))
	}
	fmt.Fprintf(&b, `<path class="axis" fill="none" d="M%d %dV%dH%d"/>`+"\n", left, top, top+plotHeight, left+plotWidth)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+plotWidth/2, height-14, html.EscapeString(c.XLabel))
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+plotHeight/2, html.EscapeString(c.YLabel))
	for i, l := range c.Lines {
		drawLine(&b, c, l, x, y, colours[i%len(colours)], i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawLine draws one line and its entry in the legend.
func drawLine(b *strings.Builder, c *result.Chart, l result.Line, x, y axis, colour string, i int) {
	var points []string
	for k := range l.X {
		if drawable(c, l.X[k], l.Y[k]) {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(l.X[k]), y.at(l.Y[k])))
		}
	}
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", colour, strings.Join(points, " "))
	if len(points) <= 16 {
		for _, p := range points {
			px, py, _ := strings.Cut(p, ",")
			fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", px, py, colour)
		}
	}
	at := top + 8 + 20*i
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
		left+plotWidth+14, at, left+plotWidth+34, at, colour, left+plotWidth+40, at+4, html.EscapeString(l.Name))
}

// tick labels an axis. Percentiles are 1/(1-q): 10 is 90 %, 1000 is 99.9 %.
func tick(v float64, percentile bool) string {
	if percentile {
		if v <= 1 {
			return "0"
		}
		digits := max(0, int(math.Round(math.Log10(v)))-2)
		return fmt.Sprintf("%.*f", digits, 100*(1-1/v))
	}
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%g G", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%g k", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}
