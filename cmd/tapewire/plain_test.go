package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

func TestMessagesNameNoPackages(t *testing.T) {
	for want, err := range map[string]error{
		"the gateway is gone":             &feed.SessionError{Code: feed.ErrorUnset, Err: io.EOF},
		"the gateway ended the session: ": &feed.SessionError{Code: feed.ErrorInternal, Text: "Session closed by the operator", Err: io.EOF},
	} {
		var b bytes.Buffer
		if code := report(&b, clientError("127.0.0.1:1", err)); code != exitConnect || !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "--start") {
			t.Errorf("exit code %d: %s", code, b.String())
		}
	}
	for text, want := range map[string]string{
		fmt.Errorf("%w: %w", feed.ErrConfig, errors.New("x")).Error():       "x",
		"a: lsg: bad time; feed: b\njournal: c":                             "a: bad time; b\nc",
		"stop it first, or have it done by the gateway: --admin ADDR":       "stop it first, or have it done by the gateway: --admin ADDR",
		"resume: bad configuration: feed: y (lsg: z)":                       "resume: y (z)",
		"the gateway ended the session (invalid_subscription): lsg: bad it": "the gateway ended the session (invalid_subscription): bad it",
	} {
		if got := plainText(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTimeWithoutADayIsToday(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	got, err := parseTime("09:30", now)
	if want := uint64(time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC).UnixNano()); err != nil || got != want {
		t.Errorf("%d, %v, want %d", got, err, want)
	}
}

func TestGatewayWithoutAPort(t *testing.T) {
	for given, want := range map[string]string{"localhost": "localhost:13000", "h:1": "h:1", "::1": "[::1]:13000", "[::1]": "[::1]:13000", "[::1]:7": "[::1]:7"} {
		if got := (gatewayFlag{Gateway: given}).address(); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

func TestPricesKeepTheirDecimals(t *testing.T) {
	d := decimals{}
	for _, c := range []struct {
		price feed.Price
		want  string
	}{{feed.PriceScale, "1.00"}, {feed.PriceScale / 8, "0.125"}, {feed.PriceScale, "1.000"}} {
		if got := d.write("A", c.price); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
