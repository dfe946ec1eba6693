package feed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapewire/tapewire/feed/lsg"
)

// testPatience bounds every wait of the SDK's tests; only a failing test uses it up.
const testPatience = 20 * time.Second

// peer is the gateway's end of one connection in a test. It speaks the text phase with package lsg and is otherwise told what to do. A failed
// expectation ends the peer's script, which closes the connection. A test that ends closes it too, and the script is then no failure.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *inbox
	auth lsg.AuthRequest
	nth  int // 0 for the first connection
}

// errStop ends a script early and on purpose.
var errStop = errors.New("script over")

// servePeers listens and runs the script for each connection, one after another. The test fails when a goroutine is left in the end.
func servePeers(t *testing.T, script func(p *peer) error) (addr string) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var live net.Conn
	closed := false
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for nth := 0; ; nth++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			live = conn
			over := closed
			mu.Unlock()
			conn.SetDeadline(time.Now().Add(testPatience))
			p := &peer{t: t, conn: conn, in: newInbox(conn, lineBuffer), nth: nth}
			if !over {
				if err := script(p); err != nil && !errors.Is(err, errStop) && !errors.Is(err, net.ErrClosed) {
					t.Errorf("peer, connection %d: %v", nth, err)
				}
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		closed = true
		if live != nil {
			live.Close()
		}
		mu.Unlock()
		<-ended
	})
	return ln.Addr().String()
}

// greet does the text phase up to the authentication, whose response it verifies.
func (p *peer) greet() error {
	challenge := lsg.NewChallenge()
	if _, err := p.conn.Write(lsg.AppendGreeting(nil, challenge)); err != nil {
		return err
	}
	line, err := p.in.line()
	if err != nil {
		return err
	}
	if p.auth, err = lsg.ParseAuthRequest(line); err != nil {
		return err
	}
	if !lsg.Verify(challenge, OpenModeKey, p.auth.Auth) {
		return errors.New("the response does not verify")
	}
	return nil
}

// admit greets and says yes.
func (p *peer) admit(accepted uint64) error {
	if err := p.greet(); err != nil {
		return err
	}
	return p.send(string(lsg.AuthReply{Success: true, SessionID: 41, Accepted: accepted, HasAccepted: p.auth.Role != ""}.Append(nil)))
}

func (p *peer) send(text string) error {
	_, err := io.WriteString(p.conn, text)
	return err
}

// expect reads one line and compares it.
func (p *peer) expect(want string) error {
	line, err := p.in.line()
	if err == nil && line != want {
		err = errors.New("got line " + line + ", want " + want)
	}
	return err
}

// metadata reads a producer's metadata.
func (p *peer) metadata() (Metadata, error) {
	b, err := p.in.take(PreludeSize)
	if err != nil {
		return Metadata{}, err
	}
	size, err := MetadataSize(b)
	if err != nil {
		return Metadata{}, err
	}
	p.in.from -= PreludeSize
	if b, err = p.in.take(size); err != nil {
		return Metadata{}, err
	}
	return ParseMetadata(b)
}

// started reads start_session and the metadata.
func (p *peer) started() error {
	if err := p.expect(lsg.StartSession); err != nil {
		return err
	}
	_, err := p.metadata()
	return err
}

// record reads one record and returns a copy.
func (p *peer) record() (Record, error) {
	for {
		rec, err := p.in.record()
		if err != nil {
			return nil, err
		}
		if rec != nil {
			return bytes.Clone(rec), nil
		}
		if err := p.in.fill(); err != nil {
			return nil, err
		}
	}
}

// records reads records until n data records have come and returns them all.
func (p *peer) records(n uint64) ([]byte, error) {
	var got []byte
	for seen := uint64(0); seen < n; {
		rec, err := p.record()
		if err != nil {
			return got, err
		}
		if !rec.RType().IsControl() {
			seen++
		}
		got = append(got, rec...)
	}
	return got, nil
}

// text reads records up to the next in-band text.
func (p *peer) text() (string, error) {
	for {
		rec, err := p.record()
		if err != nil {
			return "", err
		}
		if msg, ok := View[SystemMsg](rec); ok && msg.Code == SystemUnset {
			return msg.Text(), nil
		}
	}
}

func (p *peer) ack(n uint64) error {
	return p.send(string(lsg.Ack{N: n, Level: p.auth.Ack}.Append(nil)))
}

// unread tells whether bytes have come that nobody has read, without waiting for any.
func (p *peer) unread() bool {
	raw, err := p.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		p.t.Error(err)
		return true
	}
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err != nil || n > 0 || p.in.to > p.in.from
}

// gone waits until the other side has closed.
func (p *peer) gone() error {
	for {
		p.in.from = p.in.to
		if err := p.in.fill(); err != nil {
			return errStop
		}
	}
}

// testTrades makes n whole trades, each with its number as sequence.
func testTrades(from, n int) []byte {
	var all []byte
	for i := range n {
		m := TradeMsg{Price: Price(from+i) * 1e9, Size: 1, TsRecv: uint64(from + i), Sequence: uint32(from + i)}
		Init(&m, RTypeMbp0)
		m.InstrumentID, m.TsEvent = 17, uint64(from+i)
		all = append(all, Bytes(&m)...)
	}
	return all
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

func dialTestProducer(t *testing.T, addr string) *Producer {
	t.Helper()
	p, err := DialProducer(testContext(t), ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "adapter", Stream: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(p, errors.New("test over")) })
	return p
}

func startTestProducer(t *testing.T, addr string) *Producer {
	t.Helper()
	p := dialTestProducer(t, addr)
	if err := p.Start(Metadata{Schema: SchemaTrades}); err != nil {
		t.Fatal(err)
	}
	return p
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
