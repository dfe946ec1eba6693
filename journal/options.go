package journal

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Options of a journal. The zero value is what a server should run with.
type Options struct {
	Sync          SyncPolicy       // when committed records are forced to disk; zero: every second
	Disk          Disk             // nil: the operating system's
	Now           func() time.Time // wall clock for stamps in side files, never for order; nil: time.Now
	Logger        *zap.Logger      // nil: silent
	MinSegment    int64            // bytes of a tape's first segment file; 0: DefaultMinSegment
	MaxSegment    int64            // bytes of the largest segment file; 0: DefaultMaxSegment
	RetryInterval time.Duration    // how often allocation is tried again on a full disk; 0: DefaultRetryInterval
	MaxUnsynced   int64            // bytes of a dataset that may be committed and not on disk before appends wait; 0: DefaultMaxUnsynced
	MaxPinned     int64            // bytes of files that expired and readers still hold before those whose socket is full let go; 0: DefaultMaxPinned
	Retain        Retention        // how long records are kept; zero: for ever
	MaxClockSkew  time.Duration    // how far beyond the wall clock a record's times may lie before they count for nothing; 0: DefaultMaxClockSkew, negative: for ever
	AnyFilesystem bool             // open on filesystems other than ext4, XFS and tmpfs too

	elapsed func(since time.Time) time.Duration // nil: time.Since, which no change of the wall clock moves; tests have their own

	mappings int // 0: MaxMappings; tests have less

	nextEpoch func(last uint64) uint64 // nil: randomEpoch; tests have their own

	manual  bool // no goroutine is started: a simulation calls prepareRound, sealRound, retainRound and Sync, so that a seed repeats what happened
	streams int  // most streams of a dataset, for a simulation that is to meet the bound; 0: MaxStreams
}

func (o Options) withDefaults() Options {
	if o.Sync == (SyncPolicy{}) {
		o.Sync = SyncPolicy{Interval: DefaultSyncInterval}
	}
	if o.Disk == nil {
		o.Disk = OSDisk{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.elapsed == nil {
		o.elapsed = time.Since
	}
	if o.nextEpoch == nil {
		o.nextEpoch = randomEpoch
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.MinSegment == 0 {
		o.MinSegment = DefaultMinSegment
	}
	if o.MaxSegment == 0 {
		o.MaxSegment = DefaultMaxSegment
	}
	if o.RetryInterval == 0 {
		o.RetryInterval = DefaultRetryInterval
	}
	if o.MaxClockSkew == 0 {
		o.MaxClockSkew = DefaultMaxClockSkew
	}
	if o.MaxPinned == 0 {
		o.MaxPinned = DefaultMaxPinned
	}
	if o.MaxUnsynced == 0 {
		o.MaxUnsynced = DefaultMaxUnsynced
	}
	o.MinSegment = max(roundUp(o.MinSegment, headerUnit), smallestSegment)
	o.MaxSegment = max(roundUp(o.MaxSegment, headerUnit), o.MinSegment)
	return o
}

// SyncPolicy says when committed records are forced to disk. Exactly one field is set.
type SyncPolicy struct {
	Interval time.Duration // at most this long after a commit
	Bytes    int64         // after this many bytes of records; what is less waits for MaxSyncDelay
	Each     bool          // after each commit, several commits sharing one sync when they come faster than the disk
}

// ParseSync reads a policy as it is given on a command line: a duration ("1s"), a size ("64MiB"), or "each".
func ParseSync(s string) (SyncPolicy, error) {
	if s == "each" {
		return SyncPolicy{Each: true}, nil
	}
	units := []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n <= 0 || n > maxSyncBytes/u.bytes {
			return SyncPolicy{}, fmt.Errorf("sync policy %q: want a whole number of bytes from 1B to %dGiB", s, maxSyncBytes>>30)
		}
		return SyncPolicy{Bytes: n * u.bytes}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < minSyncInterval || d > MaxSyncDelay {
		return SyncPolicy{}, fmt.Errorf("sync policy %q: want a duration from %v to %v (1s), a size (64MiB) or each", s, minSyncInterval, MaxSyncDelay)
	}
	return SyncPolicy{Interval: d}, nil
}

// String is what ParseSync reads.
func (p SyncPolicy) String() string {
	switch {
	case p.Each:
		return "each"
	case p.Bytes >= 1<<30 && p.Bytes%(1<<30) == 0:
		return strconv.FormatInt(p.Bytes>>30, 10) + "GiB"
	case p.Bytes >= 1<<20 && p.Bytes%(1<<20) == 0:
		return strconv.FormatInt(p.Bytes>>20, 10) + "MiB"
	case p.Bytes >= 1<<10 && p.Bytes%(1<<10) == 0:
		return strconv.FormatInt(p.Bytes>>10, 10) + "KiB"
	case p.Bytes > 0:
		return strconv.FormatInt(p.Bytes, 10) + "B"
	}
	return p.Interval.String()
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
