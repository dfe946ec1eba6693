// Package system is what is measured, and how to talk to it in raw bytes: the
// load programs must cost nothing that a client library would.
package system

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/tapewire/tapewire/bench/floor"
	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// RecordSize is the size of every record that is sent: a trade, in bytes.
const RecordSize = 48

// A Frame is how records lie in what a subscriber receives.
type Frame struct {
	Size    int // bytes of a frame; zero when they differ
	Records int // how many it has
	// Next finds the first frame in b; n is 0 when it is not complete. It returns
	// the frame's records, or where they do not lie together only how many there
	// are. Where one has to ask for more, it does. Nil where frames are records and
	// nothing else.
	Next func(b []byte) (records []byte, count, n int)
}

// plain is records and nothing else.
var plain = Frame{Size: RecordSize, Records: 1}

// A Wire is the protocol of a system.
type Wire struct {
	// Subscribe connects and returns a socket on which nothing but frames comes.
	Subscribe func(addr string) (fd int, f Frame, err error)
	// Produce connects and returns a socket, and what makes frames of records.
	Produce func(addr string) (conn *net.TCPConn, wrap func(dst, records []byte) []byte, err error)
	// Listen reads what the server says to a producer, answers what it must, tells
	// of records that were confirmed, and returns when that many are.
	Listen func(conn *net.TCPConn, records int, confirmed func(records int)) error
	// Window is how many records may wait for their confirmation; zero: any number,
	// where the server holds a producer back by TCP.
	Window int
	// Write is how many bytes of records are sent in one write; zero: a default.
	Write int
}

// WireOf is the protocol of a system by name; batch is how many records a
// message has where there are messages.
func WireOf(name string, batch int) (Wire, error) {
	switch name {
	case Tapewire:
		return Wire{Subscribe: subscribeLive, Produce: produceLive, Listen: listenLive}, nil
	case RelayName:
		return Wire{Subscribe: subscribePlain, Produce: producePlain, Listen: listenPlain}, nil
	case NATS:
		return natsWire(batch), nil
	case JetStream:
		return jetStreamWire(batch), nil
	case Redis:
		return redisWire(batch), nil
	case Kafka:
		return kafkaWire(), nil
	}
	return Wire{}, fmt.Errorf("no system is called %q", name)
}

// Dataset is where everything is published.
const Dataset = "BENCH.WIRE"

const key = "db-00000000000000000000000000000"

// hello dials a gateway and answers its challenge.
func hello(addr, dataset, fields string) (*net.TCPConn, *bufio.Reader, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(c, 4096)
	var challenge string
	for range 2 {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, nil, fmt.Errorf("greeting: %w", err)
		}
		challenge, _ = strings.CutPrefix(strings.TrimSpace(line), "cram=")
	}
	if _, err := fmt.Fprintf(c, "auth=%s|dataset=%s|encoding=dbn|%s\n", lsg.Response(challenge, key), dataset, fields); err != nil {
		return nil, nil, err
	}
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "success=1") {
		return nil, nil, fmt.Errorf("authentication: %q, %w", line, err)
	}
	return c.(*net.TCPConn), r, nil
}

func subscribeLive(addr string) (int, Frame, error) {
	return Subscription{Line: "schema=trades|symbols=ALL_SYMBOLS"}.Open(addr)
}

// Subscription is what a session of a gateway asks for.
type Subscription struct {
	Dataset string // Dataset when empty
	TsOut   bool
	Line    string
	Pass    int // bytes before the data, where data may follow at once; zero: none does
}

// Open opens a session and passes what comes before the data.
func (s Subscription) Open(addr string) (int, Frame, error) {
	f, fields, subscription, pass := plain, "ts_out=0", s.Line, s.Pass
	if s.TsOut {
		f, fields = Frame{Size: RecordSize + 8, Records: 1}, "ts_out=1"
	}
	c, r, err := hello(addr, cmp.Or(s.Dataset, Dataset), fields)
	if err != nil {
		return -1, f, err
	}
	if _, err := fmt.Fprintf(c, "%s\nstart_session\n", subscription); err != nil {
		return -1, f, err
	}
	if pass > 0 {
		// Byte by byte from the socket: the buffered reader would take data along.
		_, err = io.CopyN(io.Discard, io.MultiReader(io.LimitReader(r, int64(r.Buffered())), c), int64(pass))
	} else {
		err = passControl(r)
	}
	if err != nil {
		return -1, f, fmt.Errorf("begin of the stream: %w", err)
	}
	fd, err := floor.Detach(c)
	return fd, f, err
}

// passControl reads the metadata and the control records up to the note that
// nothing is published yet, or the last acknowledgement: nothing follows unasked.
func passControl(r *bufio.Reader) error {
	head, err := r.Peek(8)
	if err != nil {
		return err
	}
	size, err := feed.MetadataSize(head)
	if err != nil {
		return err
	}
	if _, err := r.Discard(size); err != nil {
		return err
	}
	for {
		h, err := r.Peek(1)
		if err != nil {
			return err
		}
		record := make([]byte, int(h[0])*4)
		if _, err := io.ReadFull(r, record); err != nil {
			return err
		}
		m, ok := feed.View[feed.SystemMsg](feed.Record(record))
		if !ok {
			return errors.New("a record came that nobody published")
		}
		if r.Buffered() == 0 && (m.Code == feed.SystemSubscriptionAck || bytes.Contains(record, []byte("waiting|"))) {
			return nil
		}
	}
}

func produceLive(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
	c, _, err := hello(addr, Dataset, "role=producer|producer=bench|stream=1|ack=written")
	if err != nil {
		return nil, nil, err
	}
	m := feed.Metadata{Version: 3, Dataset: Dataset, Schema: feed.SchemaTrades, End: feed.UndefTimestamp, StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID}
	b, err := m.Append([]byte("start_session\n"))
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.Write(b); err != nil {
		return nil, nil, err
	}
	return c, unwrapped, nil
}

// listenLive waits for the acknowledgement of the last record.
func listenLive(conn *net.TCPConn, records int, _ func(int)) error {
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "ack="); ok {
			n, _, _ := strings.Cut(text, "|")
			if n == strconv.Itoa(records) {
				return nil
			}
		} else if strings.HasPrefix(lines.Text(), "error=") {
			return errors.New(lines.Text())
		}
	}
	return io.ErrUnexpectedEOF
}

// listenPlain waits for the one byte by which a floor says that it has everything.
func listenPlain(conn *net.TCPConn, _ int, _ func(int)) error {
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func unwrapped(dst, records []byte) []byte { return append(dst, records...) }

func subscribePlain(addr string) (int, Frame, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return -1, plain, err
	}
	fd, err := floor.Detach(c.(*net.TCPConn))
	return fd, plain, err
}

func producePlain(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.TCPConn), unwrapped, nil
}
