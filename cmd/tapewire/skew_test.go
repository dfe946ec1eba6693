package main

import (
	"testing"
	"time"
)

func TestClockSkewIsADurationOrOff(t *testing.T) {
	for s, want := range map[string]time.Duration{"1h": time.Hour, "90m": 90 * time.Minute, "1s": time.Second, "2d": 48 * time.Hour, "off": -1} {
		if got, err := parseSkew(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "0s", "-1h", "999ms", "1", "h", "forever", "40000d"} {
		if got, err := parseSkew(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}
