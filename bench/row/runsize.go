package row

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tapewire/tapewire/bench/floor"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// runSizes is how many bytes one send hands over; each is whole records.
var runSizes = []int{48, 480, 1_440, 4_080, 8_160, 16_320, 32_640, 65_520, 131_040, 262_128, 524_256, 1_048_560}

// Where copy and zero copy cross, by the size of a run: what the constants of the
// gateway's send path are chosen by.
func runSize(ctx context.Context, b *Bench, row *result.Row) error {
	const fileBytes = 64_000_032
	row.Setup = "A loop sends a file that is in the page cache to sockets that are drained, in runs of one size, by each way there is. CPU is the sender's."
	dir, remove, err := b.dir()
	if err != nil {
		return err
	}
	defer remove()
	file := filepath.Join(dir, "floor")
	if err := writeFloorFile(file, fileBytes); err != nil {
		return err
	}
	modes := []string{floor.Write, floor.Sendfile, floor.Splice, floor.Copy}
	sizes := runSizes
	if b.Set == Quick {
		sizes = []int{480, 16_320, 262_128}
	}
	for _, subs := range []int{1, 16} {
		var variants []variant
		for _, size := range sizes {
			// Enough calls to measure, of which a socket's first buffer is a small part.
			most := min(fileBytes, max(size*20_000/subs, 48*4_000)) / size * size
			for _, mode := range modes {
				variants = append(variants, variant{runName(mode, size, subs), func() (map[string]float64, error) {
					one, err := b.floorSend(file, mode, subs, size, most/system.RecordSize)
					if err != nil {
						return nil, err
					}
					return map[string]float64{
						result.CPUPerGB:   one.cost.CPU.Seconds() / (one.bytes / 1e9),
						result.Throughput: one.bytes / one.wall.Seconds(),
						"cpu_ns_per_send": float64(one.cost.CPU) / (one.bytes / float64(size)),
					}, nil
				}})
			}
		}
		if err := b.measure(ctx, row, variants...); err != nil {
			return err
		}
		row.Charts = append(row.Charts,
			runChart(row, "CPU of the sender, "+subscribers(subs), "s per GB", result.CPUPerGB, 1, modes, sizes, subs),
			runChart(row, "Throughput, "+subscribers(subs), "GB/s", result.Throughput, 1e-9, modes, sizes, subs))
		row.Notes = append(row.Notes, crossings(row, sizes, subs)...)
	}
	return nil
}

// subscribers is how many there are, in words.
func subscribers(n int) string {
	if n == 1 {
		return "1 subscriber"
	}
	return fmt.Sprint(n, " subscribers")
}

func runName(mode string, size, subs int) string {
	return fmt.Sprintf("%s, %d B, %d", mode, size, subs)
}

// median is one variant's; ok is false when it did not run.
func median(row *result.Row, name, metric string) (float64, bool) {
	v, err := row.Variant(name)
	if err != nil || len(v.Samples[metric]) == 0 {
		return 0, false
	}
	return result.SpreadOf(v.Samples[metric]).Median, true
}

func runChart(row *result.Row, title, unit, metric string, scale float64, modes []string, sizes []int, subs int) result.Chart {
	chart := result.Chart{Title: title, XLabel: "bytes of a run", YLabel: unit, LogX: true, LogY: true}
	for _, mode := range modes {
		line := result.Line{Name: mode}
		for _, size := range sizes {
			if y, ok := median(row, runName(mode, size, subs), metric); ok {
				line.X, line.Y = append(line.X, float64(size)), append(line.Y, y*scale)
			}
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart
}

// crossings says from which run size on one way costs less CPU than another.
func crossings(row *result.Row, sizes []int, subs int) []string {
	var notes []string
	for _, pair := range [][2]string{{floor.Write, floor.Sendfile}, {floor.Sendfile, floor.Splice}, {floor.Copy, floor.Splice}, {floor.Copy, floor.Sendfile}} {
		from := 0
		for _, size := range sizes {
			a, okA := median(row, runName(pair[0], size, subs), result.CPUPerGB)
			z, okZ := median(row, runName(pair[1], size, subs), result.CPUPerGB)
			switch {
			case !okA || !okZ || z >= a:
				from = 0
			case from == 0:
				from = size
			}
		}
		if from == 0 {
			notes = append(notes, fmt.Sprintf("%s: at the largest run %s does not cost less CPU than %s.", subscribers(subs), pair[1], pair[0]))
			continue
		}
		notes = append(notes, fmt.Sprintf("%s: from runs of %d bytes on, %s costs less CPU than %s.", subscribers(subs), from, pair[1], pair[0]))
	}
	return notes
}
