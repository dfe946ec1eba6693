package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tapewire/tapewire/journal"
)

// retainForever is what --retain and --retain-disk take for no bound.
const retainForever = "forever"

const (
	day         = 24 * time.Hour
	leastRetain = time.Second
	mostRetain  = 100 * 365 * day
)

// parseRetention reads --retain, a duration or a number of days, and --retain-disk, a percentage.
func parseRetention(age, disk string) (r journal.Retention, err error) {
	if age != retainForever {
		if r.Age, err = parseAge(age); err != nil || r.Age < leastRetain || r.Age > mostRetain {
			return r, usage("--retain %q: write a number of days (7d), a duration (36h), or %s", age, retainForever)
		}
	}
	if disk != retainForever {
		percent, ok := strings.CutSuffix(disk, "%")
		if r.Disk, err = strconv.Atoi(percent); !ok || err != nil || r.Disk < 1 || r.Disk > 99 {
			return r, usage("--retain-disk %q: write a percentage from 1%% to 99%%, or %s", disk, retainForever)
		}
	}
	return r, nil
}

func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

// retentionText says what is kept, for the greeting.
func retentionText(r journal.Retention) string {
	age, disk := "everything", ""
	if r.Age > 0 {
		age = ageText(r.Age)
	}
	if r.Disk > 0 {
		disk = fmt.Sprintf(", less when the disk is more than %d%% full (but then never the last hour)", r.Disk)
	}
	return age + disk
}

func ageText(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
