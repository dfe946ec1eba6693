package report

import (
	"fmt"
	"math"
	"strings"
)

// metricText is a metric's name for people; the unit in which it is shown follows from how its name ends.
func metricText(metric string) string {
	for _, suffix := range []string{"_ns_per_delivered_record", "_ns_per_published_record", "_ns_per_record", "_ns_per_send", "_s_per_gb", "_records_per_s", "_bytes_per_idle_session", "_per_record", "_per_s", "_bytes", "_ns"} {
		if name, ok := strings.CutSuffix(metric, suffix); ok {
			rest := map[string]string{
				"_ns_per_delivered_record": " per delivered record", "_ns_per_published_record": " per published record", "_ns_per_record": " per record",
				"_ns_per_send": " per send", "_s_per_gb": " per GB", "_records_per_s": " records/s", "_bytes_per_idle_session": " per idle session",
				"_per_record": " per delivered record", "_per_s": "/s",
			}[suffix]
			return words(name) + rest
		}
	}
	return words(metric)
}

func words(name string) string {
	name = strings.ReplaceAll(name, "_", " ")
	return strings.NewReplacer("cpu", "CPU", "gb", "GB").Replace(name)
}

// value shows a figure of a metric with a unit that fits it.
func value(metric string, v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "none"
	case strings.Contains(metric, "_ns"):
		return scaled(v, []string{"ns", "us", "ms", "s"}, 1000)
	case strings.HasSuffix(metric, "_s_per_gb"):
		return fmt.Sprintf("%.3f s", v)
	case strings.HasPrefix(metric, "bytes_per_s"):
		return scaled(v, []string{"B/s", "kB/s", "MB/s", "GB/s"}, 1000)
	case strings.Contains(metric, "bytes"):
		return scaled(v, []string{"B", "KiB", "MiB", "GiB"}, 1024)
	case strings.HasSuffix(metric, "_per_s"):
		return scaled(v, []string{"", " k", " M", " G"}, 1000)
	}
	return fmt.Sprintf("%.3g", v)
}

// scaled shows three figures of v with the unit that keeps it below step.
func scaled(v float64, units []string, step float64) string {
	i := 0
	for math.Abs(v) >= step && i < len(units)-1 {
		v /= step
		i++
	}
	digits := 2
	switch {
	case math.Abs(v) >= 100:
		digits = 0
	case math.Abs(v) >= 10:
		digits = 1
	}
	unit := units[i]
	if unit != "" && unit[0] != ' ' {
		unit = " " + unit
	}
	return fmt.Sprintf("%.*f%s", digits, v, unit)
}
