package system

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/bench/floor"
)

// JetStream is NATS with a stream in files. Its server drops what comes faster
// than it stores, so a producer waits for confirmations.
const JetStream = "jetstream"

const jetStreamWindow = 4_096 // messages

var nextDeliver atomic.Int64

// jetStreamWire publishes with confirmations and reads by push consumers that
// acknowledge nothing: https://docs.nats.io/reference/reference-protocols/nats_api_reference
func jetStreamWire(batch int) Wire {
	return Wire{
		Window: jetStreamWindow * batch,
		Write:  1_000 * RecordSize,
		Subscribe: func(addr string) (int, Frame, error) {
			deliver := fmt.Sprintf("d.%d.%d", os.Getpid(), nextDeliver.Add(1))
			c, err := natsHello(addr, "SUB "+deliver+" 1\r\n")
			if err != nil {
				return -1, Frame{}, err
			}
			consumer := fmt.Sprintf(`{"stream_name":"T","config":{"deliver_subject":%q,"deliver_policy":"all","ack_policy":"none"}}`, deliver)
			if err := jetStreamRequest(addr, "$JS.API.CONSUMER.CREATE.T", consumer); err != nil {
				return -1, Frame{}, err
			}
			fd, err := floor.Detach(c)
			return fd, Frame{Next: jetStreamNext}, err
		},
		Produce: func(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
			c, err := natsHello(addr, "SUB r 1\r\n")
			return c, natsWrapTo(subject+" r", batch), err
		},
		Listen: func(conn *net.TCPConn, records int, confirmed func(int)) error {
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				switch text := lines.Text(); {
				case text == "PING":
					if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
						return err
					}
				case strings.HasPrefix(text, `{"stream"`):
					confirmed(batch)
				case strings.HasPrefix(text, `{"error"`), strings.HasPrefix(text, "-ERR"):
					return fmt.Errorf("server says %q", text)
				}
			}
			return io.ErrUnexpectedEOF
		},
	}
}

// jetStreamNext finds a message, whose header has a reply subject of any length.
func jetStreamNext(b []byte) (records []byte, count, n int) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return nil, 0, 0
	}
	if !bytes.HasPrefix(b, []byte("MSG ")) {
		return nil, 0, end + 2 // PING
	}
	size, err := strconv.Atoi(string(b[bytes.LastIndexByte(b[:end], ' ')+1 : end]))
	if err != nil || len(b) < end+2+size+2 {
		return nil, 0, 0
	}
	return b[end+2 : end+2+size], size / RecordSize, end + 2 + size + 2
}

// jetStreamRequest asks the API for something and waits for the answer.
func jetStreamRequest(addr, api, body string) error {
	c, err := natsHello(addr, "SUB inbox 1\r\n")
	if err != nil {
		return err
	}
	defer c.Close()
	const patience = 10 * time.Second
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "PUB %s inbox %d\r\n%s\r\n", api, len(body), body); err != nil {
		return err
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if text := lines.Text(); strings.HasPrefix(text, "{") {
			var answer struct {
				Error *struct{ Description string }
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Error != nil {
				return fmt.Errorf("%s: %s", api, text)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: no answer", api)
}

// StartJetStream runs the server with its stream in files, synced as by default.
func (p *Programs) StartJetStream(scratch string) (*Server, error) {
	s, err := p.startNATS(scratch, fmt.Sprintf("jetstream { store_dir: %q }\n", filepath.Join(scratch, "jetstream")))
	if err != nil {
		return nil, err
	}
	if err := jetStreamRequest(s.Addr, "$JS.API.STREAM.CREATE.T", `{"name":"T","subjects":["`+subject+`"],"storage":"file","num_replicas":1}`); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}
