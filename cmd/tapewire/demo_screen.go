package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// table is what the demo shows at one moment.
type table struct {
	head   string
	prices []string
	bots   string // one line each
	brief  string // all in one line, for a log
}

// pricesShown bounds the table; a file may have thousands of instruments.
const pricesShown = 8

// table reads the state of everything. The latency is that of the live bot.
func (s *show) table() table {
	published := s.player.published.Load()
	up := time.Since(s.began).Round(time.Second)
	t := table{head: up.String()}
	if s.player.closed.Load() {
		t.head += ": the market has closed, since the demo records no more than 4 GiB"
	}
	now := time.Now()
	in := s.screen.rate("published", published, now)
	rows := []string{
		fmt.Sprintf("%-10s %12s %12s %8s   %s", "", "records", "per second", "lag", "latency"),
		fmt.Sprintf("%-10s %12s %12s", "published", grouped(published), grouped(in)),
	}
	t.brief = fmt.Sprintf("%4v  published %s (%s/s)", up, grouped(published), grouped(in))
	for _, b := range []*bot{s.live, s.late} {
		if b == nil {
			continue
		}
		b.mu.Lock()
		received, p50, p99 := b.received, b.latency.ValueAtQuantile(50), b.latency.ValueAtQuantile(99)
		past := ""
		if b.past > 0 {
			past = fmt.Sprintf("   %s records of the past in %v", grouped(b.past), b.caughtUp.Round(time.Millisecond/10))
		}
		if b == s.live {
			for _, symbol := range slices.Sorted(maps.Keys(b.prices))[:min(pricesShown, len(b.prices))] {
				t.prices = append(t.prices, fmt.Sprintf("%-10s %12s", lsg.Printable(symbol), b.decimals.write(symbol, b.prices[symbol])))
			}
			past = fmt.Sprintf("   %.2f / %.2f ms", float64(p50)/1e6, float64(p99)/1e6)
		}
		b.mu.Unlock()
		lag := published - min(received, published)
		rows = append(rows, fmt.Sprintf("%-10s %12s %12s %8s%s", b.name, grouped(received), grouped(s.screen.rate(b.name, received, now)), grouped(lag), past))
		t.brief += fmt.Sprintf("  %s %s (lag %s)%s", b.name, grouped(received), grouped(lag), past)
	}
	t.bots = strings.Join(rows, "\n")
	return t
}

// screen shows the table: redrawn in place for a person, a line now and then for a log.
type screen struct {
	out      io.Writer
	terminal bool
	interval time.Duration
	drawn    int // lines above the cursor that the next drawing replaces
	began    time.Time
	rates    map[string]*rateMeter
}

// rateMeter turns a counter into a rate over the last second or so.
type rateMeter struct {
	at    time.Time
	count uint64
	rate  uint64
}

const (
	tableInterval = 250 * time.Millisecond
	logInterval   = 2 * time.Second
	rateInterval  = time.Second
)

func newScreen(out io.Writer) *screen {
	s := &screen{out: out, terminal: isTerminal(out), interval: logInterval, began: time.Now(), rates: map[string]*rateMeter{}}
	if s.terminal {
		s.interval = tableInterval
	}
	return s
}

// rate is how fast a counter grows.
func (s *screen) rate(name string, count uint64, now time.Time) uint64 {
	m := s.rates[name]
	if m == nil {
		m = &rateMeter{at: s.began}
		s.rates[name] = m
	}
	if passed := now.Sub(m.at); passed >= rateInterval {
		m.rate = uint64(float64(count-m.count) / passed.Seconds())
		m.at, m.count = now, count
	}
	return m.rate
}

// note shows a text that stays. For a person the table goes on below it.
func (s *screen) note(text string) {
	fmt.Fprintln(s.out, s.erase()+text)
}

// erase gives the codes that remove the table.
func (s *screen) erase() string {
	if s.drawn == 0 {
		return ""
	}
	n := s.drawn
	s.drawn = 0
	return fmt.Sprintf("\x1b[%dA\x1b[J", n)
}

// draw shows the table as it is now.
func (s *screen) draw(t table) {
	if !s.terminal {
		fmt.Fprintln(s.out, t.brief)
		return
	}
	text := "\n" + t.head + "\n" + t.bots + "\n\n" + strings.Join(t.prices, "\n") + "\n"
	const noWrap, wrap = "\x1b[?7l", "\x1b[?7h" // a line that wrapped would be two to erase
	fmt.Fprint(s.out, s.erase()+noWrap+text+wrap)
	s.drawn = strings.Count(text, "\n")
}
