package load

import (
	"encoding/binary"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/bench/system"
	"github.com/tapewire/tapewire/feed"
)

// Produced is what a producer did.
type Produced struct {
	StartNs, EndNs int64 // wall clock: the first record was due, the last was handed to the kernel
	ConfirmedNs    int64 // the server had confirmed the last; zero when nobody waited for that
	LateP99        int64 // ns that records left later than they were due; a system that pushes back makes it grow
}

// Produce sends records.
type Produce struct {
	Records     int
	Rate        int // records a second; zero: as fast as the socket takes them
	Write       int // bytes of records in one write, when flat out
	Instruments int // ids 1 to this many take turns; zero is one
	Window      int // records that may wait for their confirmation; zero: any number

	confirmed atomic.Int64
	news      chan struct{} // something was confirmed
}

// NewProduce completes a producer.
func NewProduce(p *Produce) *Produce {
	p.news = make(chan struct{}, 1)
	return p
}

// Confirmed notes that the server has confirmed so many more records.
func (p *Produce) Confirmed(records int) {
	p.confirmed.Add(int64(records))
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// await waits until n more records fit the window.
func (p *Produce) await(sent, n int) {
	for p.Window > 0 && sent+n-int(p.confirmed.Load()) > max(p.Window, n) {
		<-p.news
	}
}

// flatOutBlock is what is encoded once and sent again and again when flat out.
const flatOutBlock = 256 << 10 / system.RecordSize * system.RecordSize

// Run sends to a connection.
func (p *Produce) Run(conn *net.TCPConn, wrap func(dst, records []byte) []byte) (*Produced, error) {
	if p.Rate > 0 {
		return p.paced(conn, wrap)
	}
	return p.flatOut(conn, wrap)
}

func (p *Produce) flatOut(conn *net.TCPConn, wrap func(dst, records []byte) []byte) (*Produced, error) {
	size := p.Write
	if size == 0 {
		size = flatOutBlock
	}
	if p.Instruments > 1 { // each as often as the others
		size = max(1, size/system.RecordSize/p.Instruments) * p.Instruments * system.RecordSize
	}
	size = size / system.RecordSize * system.RecordSize
	records := make([]byte, 0, size)
	now := uint64(time.Now().UnixNano())
	for i := range size / system.RecordSize {
		records = p.appendTrade(records, i, now+uint64(i))
	}
	framed := wrap(nil, records)
	out := &Produced{StartNs: time.Now().UnixNano()}
	for left := p.Records; left > 0; {
		n := min(left, len(records)/system.RecordSize)
		b := framed
		if n*system.RecordSize < len(records) {
			b = wrap(framed[:0:0], records[:n*system.RecordSize])
		}
		p.await(p.Records-left, n)
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		left -= n
	}
	out.EndNs = time.Now().UnixNano()
	return out, nil
}

// spinBefore is how long before a record is due the producer stops to sleep: a
// sleep alone would end late by the wake-up of a processor.
const spinBefore = 100 * time.Microsecond

// paced sends each record when it is due, and those that are late at once and
// together; each says when it was due. It sleeps while there is time, so that it
// does not take a core away from what is measured.
func (p *Produce) paced(conn *net.TCPConn, wrap func(dst, records []byte) []byte) (*Produced, error) {
	const most = 4096 // records of one write
	records, framed := make([]byte, 0, most*system.RecordSize), make([]byte, 0, 2*most*system.RecordSize)
	late := make([]int64, 0, p.Records)
	start := time.Now()
	out := &Produced{StartNs: start.UnixNano()}
	every := float64(time.Second) / float64(p.Rate)
	for sent := 0; sent < p.Records; {
		passed := time.Since(start)
		due := min(p.Records, int(float64(passed)/every)+1)
		if due == sent {
			if wait := time.Duration(float64(sent)*every) - passed - spinBefore; wait > 0 {
				sleep(wait)
			}
			continue
		}
		due = min(due, sent+most)
		records = records[:0]
		for i := sent; i < due; i++ {
			at := int64(float64(i) * every)
			records = p.appendTrade(records, i, uint64(out.StartNs+at))
			late = append(late, int64(passed)-at)
		}
		framed = wrap(framed[:0], records)
		if _, err := conn.Write(framed); err != nil {
			return nil, err
		}
		sent = due
	}
	out.EndNs = time.Now().UnixNano()
	out.LateP99 = p99(late)
	return out, nil
}

// sleep is one system call: time.Sleep would add the runtime's own delays.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}

// appendTrade makes the i-th trade: https://databento.com/docs/schemas-and-data-formats/trades
func (p *Produce) appendTrade(dst []byte, i int, ts uint64) []byte {
	var b [system.RecordSize]byte
	b[0], b[1] = system.RecordSize/4, byte(feed.RTypeMbp0)
	binary.LittleEndian.PutUint16(b[2:], 1)
	binary.LittleEndian.PutUint32(b[4:], uint32(1+i%max(1, p.Instruments)))
	binary.LittleEndian.PutUint64(b[8:], ts)
	binary.LittleEndian.PutUint64(b[16:], uint64(100_000_000_000+int64(i%1000)*10_000_000))
	binary.LittleEndian.PutUint32(b[24:], uint32(1+i%100))
	b[28], b[29] = 'T', 'B'
	binary.LittleEndian.PutUint64(b[32:], ts)
	binary.LittleEndian.PutUint32(b[44:], uint32(i))
	return append(dst, b[:]...)
}

// p99 is the 99th percentile; it sorts the values.
func p99(values []int64) int64 {
	slices.Sort(values)
	return values[len(values)*99/100]
}
