package lsg

import (
	"errors"
	"math"
	"testing"
)

func TestParseTimeReadsEveryFormThatClientsSend(t *testing.T) {
	const second = 1767323045000000000 // 2026-01-02T03:04:05Z
	for text, want := range map[string]uint64{
		"0":                                   0,
		"1767323045000000001":                 second + 1,
		"18446744073709551614":                math.MaxUint64 - 1,
		"1970-01-01":                          0,
		"20260102":                            1767312000000000000,
		"19700101":                            0,
		"020260102":                           20260102,   // nine digits are ns
		"20261302":                            20261302,   // and so are eight that are no date
		"2026010203":                          2026010203, // or more
		"2026-01-02":                          1767312000000000000,
		"2026-01-02T03:04":                    second - 5e9,
		"2026-01-02T03:04Z":                   second - 5e9,
		"2026-01-02T03:04:05":                 second,
		"2026-01-02T03:04:05Z":                second,
		"2026-01-02t03:04:05z":                second,
		"2026-01-02 03:04:05":                 second,
		"2026-01-02 03:04:05+00:00":           second,
		"2026-01-02T03:04:05.5":               second + 5e8,
		"2026-01-02T03:04:05,5Z":              second + 5e8,
		"2026-01-02T03:04:05.123456789Z":      second + 123456789,
		"2026-01-01T22:04:05.000000001-05:00": second + 1,
		"2026-01-01T22:04:05-0500":            second,
		"2026-01-02T08:34:05+05:30":           second,
		"2026-01-01T22:04:05-05":              second,
		"2500-01-01T00:00:00.999999999Z":      16725225600999999999,
	} {
		if got, err := ParseTime(text); err != nil || got != want {
			t.Errorf("ParseTime(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseTimeRefusesWhatItWouldHaveToGuess(t *testing.T) {
	for _, text := range []string{
		"", " ", "-1", "+1", "1.5", "0x10", "1e18", "now", "yesterday",
		"18446744073709551615", "18446744073709551616", // DBN's undefined, and beyond 64 bits
		"2026-1-2", "2026-13-01", "2026-02-30", "20260102T030405", "2026-01-02T", "2026-01-02T25:00:00", "2026-01-02T03:04:60Z",
		"2026-01-02T03:04:05.1234567891Z", "2026-01-02T03:04:05.Z", "1969-12-31T23:59:59Z", "2600-01-01",
		"2026-01-02T03:04:05 EST", "2026-01-02T03:04:05.000000000+00:00:00:00:00:00:00",
	} {
		if got, err := ParseTime(text); !errors.Is(err, ErrTime) {
			t.Errorf("ParseTime(%q) = %d, %v, want ErrTime", text, got, err)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"0", "1767323045000000000", "2026-01-02", "20260102", "020260102", "2026-01-02T03:04:05.123456789+05:30", "2026-01-02 03:04:05", "9999-12-31T23:59:59Z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ns, err := ParseTime(text)
		if err != nil {
			if !errors.Is(err, ErrTime) || ns != 0 {
				t.Fatalf("ParseTime(%q) = %d, %v: not a plain ErrTime", text, ns, err)
			}
			return
		}
		if ns == math.MaxUint64 {
			t.Fatalf("ParseTime(%q) is DBN's undefined", text)
		}
		w := lineWriter{}
		w.time("", ns)
		if again, err := ParseTime(string(w.buf[1:])); err != nil || again != ns {
			t.Fatalf("ParseTime(%q) = %d, written as %s, reads back as %d, %v", text, ns, w.buf, again, err)
		}
	})
}
