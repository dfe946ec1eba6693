package feed

import (
	"math"
	"time"
)

// UndefTimestamp stands for a time that is not known.
const UndefTimestamp uint64 = math.MaxUint64

// Clock names one of a record's times.
type Clock uint8

// The clocks of a record.
const (
	ClockEvent  Clock = iota // ts_event: the venue's time of the event
	ClockRecv                // ts_recv: the capture server's time of receipt
	ClockReplay              // the one of the two that start= and end= go by, see Schema.ReplayTime
)

// String is the field's name.
func (c Clock) String() string {
	switch c {
	case ClockRecv:
		return "ts_recv"
	case ClockReplay:
		return "replay"
	}
	return "ts_event"
}

// FormatTime writes a time in ns as RFC 3339 in UTC with all nine decimals; "undefined" for UndefTimestamp.
func FormatTime(ts uint64) string {
	if ts == UndefTimestamp {
		return "undefined"
	}
	const nsPerSecond = uint64(time.Second)
	return time.Unix(int64(ts/nsPerSecond), int64(ts%nsPerSecond)).UTC().Format("2006-01-02T15:04:05.000000000Z")
}
