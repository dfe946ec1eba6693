package gateway

import (
	"testing"
	"time"
)

// A wall clock that is set while a producer is connected neither ends it nor keeps it: nothing that is compared comes from it.
func TestMomentIsReckonedByTheClockThatNobodySets(t *testing.T) {
	var m moment
	if _, ok := m.ago(); ok {
		t.Error("what never happened was some time ago")
	}
	m.now()
	if ago, ok := m.ago(); !ok || ago < 0 || ago > time.Minute {
		t.Errorf("just now was %v ago (%v)", ago, ok)
	}
	if stored := time.Duration(m.ns.Load()); stored > time.Since(processBegan) {
		t.Errorf("%v is kept, of a process that began %v ago: that is no monotonic reading", stored, time.Since(processBegan))
	}
}
