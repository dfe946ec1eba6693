// Package load is the programs at both ends of what is measured: a producer and
// a client that drains many sockets. They are the same for every system, and do
// as little as one can.
package load

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/bench/system"
)

// Drained is what a drain saw.
type Drained struct {
	StartNs int64   // wall clock when the first byte came
	EndNs   int64   // when the last subscriber had everything
	Bytes   []int64 // per subscriber
	// With Latency, in ns from the time a record was due to leave its producer:
	Each *Percentiles // over all subscribers and records
	Last *Percentiles // of the last subscriber to have a record, over all records
	Head *Percentiles // of the first
}

// Percentiles of a latency in ns.
type Percentiles struct {
	Count                           int64
	P50, P90, P99, P999, P9999, Max int64
	Curve                           []Point // for a chart
}

// Point is a percentile: X is 1/(1-q).
type Point struct{ X, Y float64 }

// Drain reads subscribers until each has had records many, or until patience
// has passed without anything new.
type Drain struct {
	Subscribers int
	Records     int // for each subscriber
	Latency     bool
	Skip        int // records at the beginning that do not count for latency: caches and connections warm up
	Patience    time.Duration
	Stalled     int // of the subscribers: connected, never read
}

const (
	drainBuffer = 1 << 20
	maxLatency  = int64(time.Minute)
)

// socket is one subscriber's.
type socket struct {
	fd      int
	frame   system.Frame
	bytes   int64
	records int
	rest    []byte // the begin of a frame, with Latency
	done    bool
}

type drain struct {
	Drain
	sockets []*socket
	epoll   int
	buf     []byte
	open    int
	out     Drained
	each    *hdrhistogram.Histogram
	first   []int64 // by record: latency at the first subscriber
	last    []int64
	seen    []uint16
}

// Run connects with subscribe, calls ready, and drains.
func (d Drain) Run(subscribe func() (int, system.Frame, error), ready func()) (*Drained, error) {
	r := &drain{Drain: d, buf: make([]byte, drainBuffer), open: d.Subscribers}
	r.each = hdrhistogram.New(1, maxLatency, 3)
	if d.Latency {
		r.first, r.last, r.seen = make([]int64, d.Records), make([]int64, d.Records), make([]uint16, d.Records)
	}
	var err error
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	for i := range d.Subscribers + d.Stalled {
		fd, frame, err := subscribe()
		if err != nil {
			return nil, fmt.Errorf("subscriber %d: %w", i, err)
		}
		if i >= d.Subscribers {
			continue // it never reads
		}
		r.sockets = append(r.sockets, &socket{fd: fd, frame: frame})
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, err
		}
	}
	ready()
	return r.run()
}

func (r *drain) run() (*Drained, error) {
	events := make([]unix.EpollEvent, 256)
	for r.open > 0 {
		n, err := unix.EpollWait(r.epoll, events, int(r.Patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, r.missing()
		}
		for _, ev := range events[:n] {
			if err := r.take(r.sockets[ev.Fd]); err != nil {
				return nil, err
			}
		}
	}
	r.out.EndNs = time.Now().UnixNano()
	for _, s := range r.sockets {
		r.out.Bytes = append(r.out.Bytes, s.bytes)
	}
	r.summarize()
	return &r.out, nil
}

// take reads one socket once.
func (r *drain) take(s *socket) error {
	n, err := unix.Read(s.fd, r.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("the server closed a subscriber after %d records", s.bytesRecords())
	}
	if r.out.StartNs == 0 {
		r.out.StartNs = time.Now().UnixNano()
	}
	s.bytes += int64(n)
	if r.Latency || s.frame.Size == 0 {
		r.look(s, r.buf[:n])
	} else {
		s.records = s.bytesRecords()
	}
	if !s.done && s.records >= r.Records {
		s.done = true
		r.open--
	}
	return nil
}

// bytesRecords is how many records came, where frames have one size.
func (s *socket) bytesRecords() int {
	if s.frame.Size == 0 {
		return s.records
	}
	return int(s.bytes) / s.frame.Size * s.frame.Records
}

// look finds the records in what was read just now.
func (r *drain) look(s *socket, b []byte) {
	now := time.Now().UnixNano()
	if len(s.rest) > 0 {
		s.rest = append(s.rest, b...)
		b = s.rest
	}
	for {
		records, count, n := s.next(b)
		if n == 0 {
			break
		}
		if records == nil {
			s.records += count
		}
		for ; len(records) >= system.RecordSize; records = records[system.RecordSize:] {
			r.note(s, records, now)
		}
		b = b[n:]
	}
	s.rest = append(s.rest[:0], b...)
}

// next is the first frame in b.
func (s *socket) next(b []byte) (records []byte, count, n int) {
	switch f := &s.frame; {
	case f.Next != nil:
		return f.Next(b)
	case len(b) < f.Size:
		return nil, 0, 0
	default:
		return b[:f.Size], 1, f.Size
	}
}

// note takes the latency of one record; its number is in it.
func (r *drain) note(s *socket, record []byte, now int64) {
	s.records++
	if !r.Latency {
		return
	}
	i := int(binary.LittleEndian.Uint32(record[44:]))
	if i < r.Skip || i >= r.Records {
		return
	}
	took := max(1, now-int64(binary.LittleEndian.Uint64(record[8:])))
	_ = r.each.RecordValue(min(took, maxLatency))
	if r.seen[i]++; r.seen[i] == 1 {
		r.first[i] = took
	}
	r.last[i] = took
}

// missing names who lacks what.
func (r *drain) missing() error {
	text := ""
	for i, s := range r.sockets {
		if !s.done && len(text) < 200 {
			text += fmt.Sprintf(" subscriber %d has %d records (%d bytes);", i, s.bytesRecords(), s.bytes)
		}
	}
	return fmt.Errorf("nothing came for %v, and %d of %d subscribers lack some of %d records:%s", r.Patience, r.open, r.Subscribers, r.Records, text)
}

func (r *drain) summarize() {
	if !r.Latency {
		return
	}
	first, last := hdrhistogram.New(1, maxLatency, 3), hdrhistogram.New(1, maxLatency, 3)
	for i := r.Skip; i < r.Records; i++ {
		if int(r.seen[i]) == r.Subscribers {
			_ = first.RecordValue(min(r.first[i], maxLatency))
			_ = last.RecordValue(min(r.last[i], maxLatency))
		}
	}
	r.out.Each, r.out.Head, r.out.Last = percentiles(r.each), percentiles(first), percentiles(last)
}

func percentiles(h *hdrhistogram.Histogram) *Percentiles {
	p := &Percentiles{
		Count: h.TotalCount(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99),
		P999: h.ValueAtQuantile(99.9), P9999: h.ValueAtQuantile(99.99), Max: h.Max(),
	}
	for x := 1.25; x <= float64(max(h.TotalCount(), 2)); x *= 1.5 {
		p.Curve = append(p.Curve, Point{X: x, Y: float64(h.ValueAtQuantile(100 * (1 - 1/x)))})
	}
	return p
}
