package journal

import (
	"encoding/binary"
	"testing"
	"time"
)

// fillAt is fill with times of the test's own: from at on, one ns apart.
func (a *aging) fillAt(n int, then time.Duration, at uint64, change func(i int, r []byte)) {
	a.t.Helper()
	b := records(trades, 1, a.sent, n)
	for i := range n {
		r := b[i*48:]
		r[trades.FlagsOffset()] = 0
		binary.LittleEndian.PutUint64(r[eventOffset:], at+uint64(i))
		binary.LittleEndian.PutUint64(r[trades.TsRecvOffset():], at+uint64(i)+500)
		if change != nil {
			change(i, r)
		}
	}
	mustAppend(a.t, a.w, Run{trades, b})
	a.sent += uint64(n)
	if err := a.d.Sync(); err != nil {
		a.t.Fatal(err)
	}
	sealAll(a.t, a.d, trades)
	a.clock.Add(int64(then))
}

func (a *aging) expiredIn(what string, start, end, from, to uint64, want bool) {
	a.t.Helper()
	g, ok := a.tape().ExpiredIn(start, end)
	if ok != want || ok && (g.FromTs != from || g.ToTs != to || g.Cause != CauseExpired) {
		a.t.Errorf("%s: expired in [%d, %d): %v, [%d, %d); want %v, [%d, %d)", what, start, end, ok, g.FromTs, g.ToTs, want, from, to)
	}
}

// TestNoGapIsToldWhereNothingExpired: one record of 2055 that expired must not be a gap for all who come until then, nor what lies between days that did.
func TestNoGapIsToldWhereNothingExpired(t *testing.T) {
	a := newAging(t, "j", NewMemDisk(), Retention{Age: 2 * time.Hour})
	day := uint64(24 * time.Hour)
	today := uint64(a.clock.Load()) - day
	a.fillAt(768, 0, today, func(i int, r []byte) {
		if i == 50 {
			binary.LittleEndian.PutUint64(r[eventOffset:], far)
			binary.LittleEndian.PutUint64(r[trades.TsRecvOffset():], far)
		}
	})
	a.fillAt(768, time.Hour, today-7*day, nil) // a day that was filled in later
	first := a.tape().active.base
	a.fillAt(1536, 0, today-3*day, nil)
	a.clock.Add(int64(90 * time.Minute))
	a.j.retainRound()
	if got := a.tape().First(); got != first {
		t.Fatalf("the tape begins with %d, want %d", got, first)
	}
	for _, when := range []string{"at once", "after a restart"} {
		older := today - 7*day
		a.expiredIn(when, today-100, undefTime, today, today+768, true)
		a.expiredIn(when, today+10, today+20, today+10, today+20, true)
		a.expiredIn(when, today+768, undefTime, 0, 0, false)
		a.expiredIn(when, today-3*day, today-2*day, 0, 0, false)
		a.expiredIn(when, older+5, older+6, older+5, older+6, true)
		if g, ok := a.tape().ExpiredIn(0, undefTime); !ok || g.FromTs != older || g.ToTs != today+768 {
			t.Errorf("%s: of everything [%d, %d) expired, want from %d to %d", when, g.FromTs, g.ToTs, older, today+768)
		}
		if err := a.j.Close(); err != nil {
			t.Fatal(err)
		}
		a.open()
	}
	for range 3 { // what one expiry knew, the next one does not forget
		a.fillAt(768, 3*time.Hour, uint64(a.clock.Load()), nil)
		a.j.retainRound()
	}
	a.expiredIn("later", today+10, today+20, today+10, today+20, true)
	if g := a.d.Gaps(); len(g) != 1 {
		t.Errorf("%d entries", len(g))
	}
}

// TestEntryOfAnEarlierReleaseIsNoGapInTheFuture: it has the greatest time alone, which may be a broken clock's.
func TestEntryOfAnEarlierReleaseIsNoGapInTheFuture(t *testing.T) {
	old := Gap{Schema: trades, FromTs: 1000, ToTs: far, Cause: CauseExpired, Time: 5000}
	parsed, err := parseGap(old.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := parsed.in(5001, undefTime); ok {
		t.Error("a gap where nothing can have expired yet")
	}
	if g, ok := parsed.in(2000, undefTime); !ok || g.FromTs != 2000 || g.ToTs != 5001 {
		t.Errorf("%v, [%d, %d)", ok, g.FromTs, g.ToTs)
	}
}

// TestSpansOfWhatExpiredAreBounded: the ledger's entry stays small however the days came, and forgets nothing that is missing.
func TestSpansOfWhatExpiredAreBounded(t *testing.T) {
	rnd := newRand(t)
	var list, all []timeSpan
	for range 500 {
		from := rnd.Uint64N(1 << 40)
		s := timeSpan{from, from + rnd.Uint64N(1<<20)}
		all = append(all, s)
		list = joinSpans(append(list, s))
		if len(list) > maxExpiredSpans {
			t.Fatalf("%d spans", len(list))
		}
	}
	g := Gap{Schema: trades, Cause: CauseExpired, FromTs: 1, spans: list}
	g, err := parseGap(g.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range g.spans {
		if s.from > s.to || i > 0 && s.from <= g.spans[i-1].to {
			t.Fatalf("span %d: %+v", i, g.spans)
		}
	}
	for _, s := range all {
		if _, ok := g.in(s.from, s.to+1); !ok {
			t.Errorf("%+v is forgotten", s)
		}
	}
}
