package journal

import (
	"math"
	"time"
)

// Day is a UTC day: how many days it is after 1970-01-01.
type Day uint32

// NoDay is the day of a record without a time.
const NoDay Day = math.MaxUint32

const dayNs = uint64(24 * time.Hour)

// DayOf is the day of a time in ns; NoDay of feed.UndefTimestamp.
func DayOf(ns uint64) Day {
	if ns == undefTime {
		return NoDay
	}
	return Day(ns / dayNs)
}

// Start is the day's first moment in ns.
func (d Day) Start() uint64 { return uint64(d) * dayNs }

// Date is the day as DBN metadata has it: YYYYMMDD.
func (d Day) Date() uint32 {
	t := d.time()
	return uint32(t.Year()*10000 + int(t.Month())*100 + t.Day())
}

// String is the day as people write it.
func (d Day) String() string {
	if d == NoDay {
		return "no day"
	}
	return d.time().Format(time.DateOnly)
}

func (d Day) time() time.Time { return time.Unix(int64(d)*int64(24*time.Hour/time.Second), 0).UTC() }

// DayOfDate is the way back from YYYYMMDD; false when there is no such day, or it lies before 1970.
func DayOfDate(date uint32) (Day, bool) {
	y, m, d := int(date/10000), time.Month(date/100%100), int(date%100)
	t := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	if t.Year() != y || t.Month() != m || t.Day() != d || t.Unix() < 0 {
		return 0, false
	}
	return Day(t.Unix() / int64(24*time.Hour/time.Second)), true
}
