package main

import "time"

// skewOff is what --max-clock-skew takes for no bound.
const skewOff = "off"

// leastSkew is below what clocks and networks differ by.
const leastSkew = time.Second

// parseSkew reads --max-clock-skew; negative is no bound, as the journal has it.
func parseSkew(s string) (time.Duration, error) {
	if s == skewOff {
		return -1, nil
	}
	d, err := parseAge(s)
	if err != nil || d < leastSkew || d > mostRetain {
		return 0, usage("--max-clock-skew %q: write a duration from %v on (1h), days (2d), or %s", s, leastSkew, skewOff)
	}
	return d, nil
}
