package gateway

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// family is what a reader has to know of the series of one name. /metrics takes its
// HELP and TYPE from here, and docs/metrics.md is made of it, so that they agree.
type family struct {
	name   string
	kind   string // counter, gauge, summary or histogram
	unit   string
	labels string // separated by commas
	help   string
	alert  string // when to alert; empty: it is there to be looked at
}

// metricGroup is the families that answer one question.
type metricGroup struct {
	question string
	intro    string
	families []family
}

// metricGroups are all families that /metrics can have, in the order of an operator's questions.
var metricGroups = []metricGroup{flowMetrics, slowMetrics, missingMetrics, costMetrics, refusedMetrics, processMetrics}

// metricLabel is what a label may say and how many values it has at most: names that
// come from clients are labels within a bound only.
type metricLabel struct{ name, values, most string }

var metricLabels = []metricLabel{
	{"dataset", "a dataset's name", "`Datasets`, and what the data directory held at the start"},
	{"schema", "a DBN schema, by its name", "20"},
	{"producer", "the name that a producer publishes under", fmt.Sprintf("%d names in all datasets together (`maxProducersShown`); a new name takes the place of the one that has been gone longest", maxProducersShown)},
	{"session", "the number of a subscriber's connection, as in `/sessions`", "`Connections`"},
	{"cause", "of a gap: `upstream`, `cut`, `damaged`, `quarantined`, `expired`, `corrected`, `other`; of a dataset that is not served: `damaged`, `locked`, `version`, `disk_full`, `other`", "7, 5"},
	{"code", "why a client is refused: the last column of [limits.md](limits.md), and the error codes of [protocol.md](protocol.md)", "a fixed list"},
	{"of", "a limit on what all sessions hold together, by its code in [limits.md](limits.md#all-together)", "7"},
	{"use", "what a descriptor is for, see [limits.md](limits.md#descriptors)", "4"},
	{"table", "`streams`, `gaps` or `symbols`", "3"},
	{"path", "how records leave: `write`, `sendfile`, `splice`, `copy`, `gather`", "5"},
	{"result", "of a TLS handshake: `ok`, `plain`, `silent`, `slow`, `client_certificate`, `distrusted`, `closed`, `limit`, `failed`", "9"},
	{"version", "what `tapewire --version` prints", "1"},
}

// sampleFamily is the family that a line of /metrics belongs to.
func sampleFamily(line []byte, known map[string]family) string {
	name := string(line[:max(0, bytes.IndexAny(line, "{ "))])
	if _, ok := known[name]; ok {
		return name
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && (known[base].kind == "histogram" || known[base].kind == "summary") {
			return base
		}
	}
	return name
}

// knownFamilies is all families by name.
func knownFamilies() map[string]family {
	known := map[string]family{}
	for _, g := range metricGroups {
		for _, f := range g.families {
			known[f.name] = f
		}
	}
	return known
}

// writeFamilies prints samples under the headers of their families, in the order of
// metricGroups. What nobody has described comes last, as it is.
func writeFamilies(w io.Writer, samples []byte) {
	known := knownFamilies()
	lines := map[string][]byte{}
	for line := range bytes.Lines(samples) {
		name := sampleFamily(line, known)
		lines[name] = append(lines[name], line...)
	}
	for _, g := range metricGroups {
		for _, f := range g.families {
			if len(lines[f.name]) > 0 {
				fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", f.name, strings.ReplaceAll(f.help, "`", ""), f.name, f.kind, lines[f.name])
				delete(lines, f.name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		w.Write(lines[name])
	}
}
