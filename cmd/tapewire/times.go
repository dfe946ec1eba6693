package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// startTime is a moment as --start and --end take it, in ns.
type startTime uint64

// Decode reads what lsg.ParseTime reads, a time of today, or a duration before now.
func (s *startTime) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	ns, err := parseTime(text, time.Now())
	*s = startTime(ns)
	return err
}

// clockTime is a time of today.
var clockTime = regexp.MustCompile(`^[0-9]{2}:[0-9]{2}`)

// leastNanoseconds is 1973-03-03: a smaller number is seconds, ms or us since 1970, which is what most programs say, and not ns.
const leastNanoseconds = 1e17

func parseTime(text string, now time.Time) (uint64, error) {
	if clockTime.MatchString(text) {
		text = now.UTC().Format(time.DateOnly) + "T" + text
	}
	if strings.HasPrefix(text, "-") {
		ago, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is no time before now; write a duration such as -5m or -1h30m", text)
		}
		return uint64(max(0, now.Add(ago).UnixNano())), nil
	}
	ns, err := lsg.ParseTime(text)
	if plain, parseErr := strconv.ParseUint(text, 10, 64); err == nil && parseErr == nil && ns == plain && ns > 0 && ns < leastNanoseconds {
		return 0, fmt.Errorf("%s as ns since 1970 is %s; %swrite a date (2026-01-05), a time (2026-01-05T14:30:00Z), or ns in full", text, feed.FormatTime(ns), otherUnit(ns))
	}
	return ns, err
}

// otherUnit guesses the unit in which a number is a moment of these decades.
func otherUnit(n uint64) string {
	for _, unit := range []struct {
		name string
		ns   uint64
	}{{"seconds", 1e9}, {"milliseconds", 1e6}, {"microseconds", 1e3}} {
		if n >= leastNanoseconds/unit.ns && n < 1e19/unit.ns {
			return fmt.Sprintf("in %s it would be %s; ", unit.name, feed.FormatTime(n*unit.ns))
		}
	}
	return ""
}

// checkSpan refuses an end before which nothing lies.
func checkSpan(start, end *startTime) error {
	if end != nil && (*end == 0 || start != nil && *end <= *start) {
		return usage("--end %s does not lie after --start; it is the first time that is not wanted any more, and a date is its first moment", feed.FormatTime(uint64(*end)))
	}
	return nil
}
