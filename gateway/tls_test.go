package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/internal/testcert"
)

// What goes in by TLS comes out by TLS, and by TCP, as the same bytes, whatever
// the send path; and the sessions have their peers' own addresses.
func TestTapeByTLSIsTheTape(t *testing.T) {
	const n = 200_000 // many times what a tunnel holds
	all := trades(1, n)
	want := bytes.Join(all, nil)
	for _, path := range []SendPath{SendAuto, SendWrite, SendSendfile, SendSplice, SendCopy} {
		t.Run(string(path), func(t *testing.T) {
			g := serveTLS(t, func(c *Config) { c.SendPath = path })
			g.publish("a", all...)
			sub := g.subscribe()
			if got := takeData(t, sub, n); !bytes.Equal(got, want) {
				t.Error("what comes by TLS is not what was published")
			}
			plain := sdkSubscribe(t, g.Server, feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
			if got := takeData(t, plain, n); !bytes.Equal(got, want) {
				t.Error("what comes by TCP is not what was published")
			}
		})
	}
}

func TestSessionByTLSHasItsPeersAddress(t *testing.T) {
	g := serveTLS(t)
	c, plain := g.raw()
	c.auth(testKey, "dataset="+testDataset)
	eventually(t, "the session is there", func() bool { return len(g.Sessions()) == 1 })
	if got, want := g.Sessions()[0].Remote, plain.LocalAddr().String(); got != want {
		t.Errorf("the session's remote is %s, its peer is %s", got, want)
	}
	p, peer := g.raw()
	p.produce("1")
	if got, want := g.producers.list()[0].client.remote, peer.LocalAddr().String(); got != want {
		t.Errorf("the producer's remote is %s, its peer is %s", got, want)
	}
}

// A certificate that is replaced counts from the next handshake on, without a
// restart and without an end of the sessions that are in. One that is wrong
// changes nothing.
func TestReplacedCertificateCountsFromTheNextHandshake(t *testing.T) {
	g := serveTLS(t)
	old := g.subscribe()
	shown := func() []byte {
		conn, err := tls.Dial("tcp", g.TLSAddr().String(), g.trust())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Raw
	}
	first := shown()
	second := g.replace(testcert.Wish{}).Certificate[0]
	eventually(t, "handshakes show the new certificate", func() bool { return bytes.Equal(shown(), second) })
	if bytes.Equal(first, second) {
		t.Fatal("the certificates do not differ")
	}
	certFile := filepath.Join(g.dir, "cert.pem")
	if err := os.WriteFile(certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.ReloadTLS(); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("a file that is no certificate is read again: %v", err)
	}
	if !bytes.Equal(shown(), second) {
		t.Error("a file that is no certificate changed what handshakes show")
	}
	third := g.replace(testcert.Wish{}).Certificate[0]
	if err := g.ReloadTLS(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shown(), third) {
		t.Error("after ReloadTLS handshakes do not show the new certificate at once")
	}
	g.publish("a", trades(1, 10)...)
	takeData(t, old, 10)
}

func TestClientCertificateIsRequiredAndVerified(t *testing.T) {
	g := serveTLS(t, wantClients)
	if _, err := g.dial(g.trust()); !errors.Is(err, feed.ErrConnect) || !strings.Contains(err.Error(), "asks for a client certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	stranger := testcert.NewAuthority(t).Issue(t, testcert.Wish{})
	if _, err := g.dial(g.presenting(stranger)); err == nil || !strings.Contains(err.Error(), "does not take this client certificate") {
		t.Errorf("with a stranger's certificate: %v", err)
	}
	expired := g.authority.Issue(t, testcert.Wish{NotAfter: time.Now().Add(-time.Hour)})
	if _, err := g.dial(g.presenting(expired)); err == nil || !strings.Contains(err.Error(), "does not take this client certificate") {
		t.Errorf("with an expired certificate: %v", err)
	}
	g.counted(handshakeCertificate, 3)
	if _, err := g.dial(g.presenting(g.authority.Issue(t, testcert.Wish{}))); err != nil {
		t.Errorf("with a good certificate: %v", err)
	}
	g.counted(handshakeOK, 1)
}

// presenting shows a certificate whoever the server says it trusts.
func (g *secured) presenting(pair tls.Certificate) *tls.Config {
	config := g.trust()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config
}

// Who connects and says nothing, or begins a handshake and leaves it, is dropped
// within the bounds, holds one of a bounded number of places until then, and
// nobody who is in notices.
func TestHandshakeThatNeverEndsIsDropped(t *testing.T) {
	g := serveTLS(t, func(c *Config) {
		c.Limits.Hello, c.Limits.AuthTimeout, c.Limits.Handshakes = 50*time.Millisecond, 500*time.Millisecond, 2
	})
	in := g.subscribe()
	halfOpen := g.tcp()
	if _, err := halfOpen.Write([]byte{handshakeRecord, 3, 1}); err != nil {
		t.Fatal(err)
	}
	silent := g.tcp()
	eventually(t, "both hold a place", func() bool { return len(g.tls.slots) == 2 })
	waiting := make(chan error, 1)
	go func() { // it has to wait, and gets in
		_, err := g.dial(g.trust())
		waiting <- err
	}()
	g.Server.publishPlain(t)
	takeData(t, in, 10)
	for name, conn := range map[string]io.Reader{"half open": halfOpen, "silent": silent} {
		if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the %s peer is not closed: %v", name, err)
		}
	}
	if err := <-waiting; err != nil {
		t.Errorf("who came meanwhile: %v", err)
	}
	g.counted(handshakeSilent, 1)
	g.counted(handshakeSlow, 1)
	g.counted(handshakeOK, 2)
}

// publishPlain publishes ten trades past the TLS listener.
func (s *Server) publishPlain(t testing.TB) {
	t.Helper()
	publish(t, s, "plain", metadataOf(feed.SchemaTrades), trades(1, 10)...)
}

// Who mistakes one port for the other hears so, in the words of the protocol
// that it speaks, and the server counts it.
func TestWrongPortIsNamed(t *testing.T) {
	g := serveTLS(t, func(c *Config) { c.Limits.Hello = 50 * time.Millisecond })
	_, err := g.dial(nil)
	var refused *feed.RefusedError
	if !errors.As(err, &refused) || refused.Text != lsg.TLSOnly {
		t.Errorf("a client without TLS on the port with TLS: %v", err)
	}
	g.counted(handshakeSilent, 1)
	chatty := g.tcp()
	if _, err := chatty.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := rawOn(t, chatty).rest(); !strings.HasSuffix(got, "success=0|error="+lsg.TLSOnly+"\n") {
		t.Errorf("a client that speaks first and no TLS is told %q", got)
	}
	g.counted(handshakePlain, 1)
	cfg := g.subscriberConfig(g.trust())
	cfg.Addr = g.Addr().String()
	if _, err := feed.DialSubscriber(t.Context(), cfg); !errors.Is(err, feed.ErrConnect) || !strings.Contains(err.Error(), "the port speaks no TLS") {
		t.Errorf("a client with TLS on the port without: %v", err)
	}
	eventually(t, "its refusal is counted", func() bool { return g.metrics.rejects("auth").Get() == 1 })
}

func TestClientsDistrustIsCounted(t *testing.T) {
	g := serveTLS(t)
	config := g.trust()
	config.RootCAs = testcert.NewAuthority(t).Pool()
	if _, err := g.dial(config); err == nil {
		t.Fatal("a certificate of a stranger is trusted")
	}
	g.counted(handshakeDistrusted, 1)
}

// The reason for an end is the last record of the stream, behind everything that
// was still on its way.
func TestSubscriberByTLSGetsTheClosingErrorRecord(t *testing.T) {
	const n = 100_000 // more than tunnel and sockets hold
	for name, end := range map[string]func(*secured) string{
		"by the operator": func(g *secured) string {
			g.CloseSession(g.Sessions()[0].ID)
			return "Session closed by the operator"
		},
		"by a shutdown": func(g *secured) string {
			go g.Shutdown(context.Background())
			return shutdownText
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := serveTLS(t, func(c *Config) { c.Limits.Drain, c.Limits.Linger = patience, patience })
			g.publish("a", trades(1, n)...)
			sub := g.subscribe()
			eventually(t, "the session is as far ahead as it can be", func() bool { return g.Sessions()[0].Blocked })
			want, last, got := end(g), "", 0
			var err error
			for r, e := range sub.Records(t.Context()) {
				if err = e; e != nil {
					break
				}
				last = ""
				if m, ok := feed.View[feed.ErrorMsg](r); ok {
					last = m.Text()
				}
				if !r.RType().IsControl() {
					if sequence(r) != got {
						t.Fatalf("record %d where %d is due", sequence(r), got)
					}
					got++
				}
			}
			if !strings.HasPrefix(last, want) || !errors.Is(err, io.EOF) {
				t.Errorf("after %d records the last one says %q and the stream ends with %v, want %q and the end of TLS", got, last, err, want)
			}
			sub.Close()
			g.empty()
		})
	}
}

// To TLS a read that timed out must not be the end: an iteration that its context
// ended goes on where it was.
func TestIterationGoesOnAfterItsContextByTLS(t *testing.T) {
	g := serveTLS(t)
	sub := g.subscribe()
	for round := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		for r, err := range sub.Records(ctx) {
			if err == nil && !r.RType().IsControl() {
				t.Fatal("a record came before it was published")
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		cancel()
	}
	g.publish("a", trades(1, 1000)...)
	takeData(t, sub, 1000)
}

// A refusal at the authentication, by the event loop, comes through, too.
func TestRefusalComesThroughTheTunnel(t *testing.T) {
	g := serveTLS(t)
	c, _ := g.raw()
	if got := c.auth(testKey, "dataset="+testDataset+"|encoding=csv"); !strings.HasPrefix(got, "success=0|error=encoding=csv is not served here") {
		t.Errorf("got %q", got)
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("after the refusal came %q", rest)
	}
	c.conn.Close()
	g.empty()
}

// However a peer goes, its session and its tunnel go with it.
func TestPeerThatGoesEndsItsSession(t *testing.T) {
	for name, leave := range map[string]func(*rawClient, interface{ SetLinger(int) error }, io.Closer){
		"with the end of TLS":    func(c *rawClient, _ interface{ SetLinger(int) error }, _ io.Closer) { c.conn.Close() },
		"with TCP's end alone":   func(_ *rawClient, _ interface{ SetLinger(int) error }, tcp io.Closer) { tcp.Close() },
		"with a reset":           func(_ *rawClient, s interface{ SetLinger(int) error }, tcp io.Closer) { s.SetLinger(0); tcp.Close() },
		"with half of TLS's end": func(c *rawClient, _ interface{ SetLinger(int) error }, _ io.Closer) { c.conn.(*tls.Conn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			g := serveTLS(t)
			subscriber, tcp := g.raw()
			subscriber.auth(testKey, "dataset="+testDataset)
			producer, producerTCP := g.raw()
			producer.produce("1")
			eventually(t, "both are in", func() bool { return g.sockets.Load() == 2 })
			leave(subscriber, tcp, tcp)
			leave(producer, producerTCP, producerTCP)
			g.empty()
			if left := g.producers.list(); len(left) != 0 {
				t.Errorf("%d producers are left", len(left))
			}
		})
	}
}

// A peer that stops reading holds its tunnel no longer than a linger after its
// session has ended.
func TestPeerThatDoesNotReadIsCutWithItsSession(t *testing.T) {
	g := serveTLS(t, func(c *Config) { c.Limits.Linger = 100 * time.Millisecond })
	g.publish("a", trades(1, 500_000)...)
	c, _ := g.raw()
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	eventually(t, "the session is blocked", func() bool { all := g.Sessions(); return len(all) == 1 && all[0].Blocked })
	g.CloseSession(g.Sessions()[0].ID)
	g.empty() // while its connection is open, and full
}

// A connection by TLS is one connection: the limit counts it once, and who comes
// beyond it is told.
func TestConnectionByTLSCountsOnce(t *testing.T) {
	g := serveTLS(t, func(c *Config) { c.Limits.Connections = 2 })
	first, _ := g.raw()
	first.auth(testKey, "dataset="+testDataset)
	plain := dialRaw(t, g.Server)
	plain.auth(testKey, "dataset="+testDataset)
	if n := g.sockets.Load(); n != 2 {
		t.Errorf("%d connections are counted, there are 2", n)
	}
	third, _ := g.raw()
	if got := third.rest(); !strings.Contains(got, "success=0|error=connection limit of this gateway reached (2)") {
		t.Errorf("the third is told %q", got)
	}
	third.conn.Close()
	first.conn.Close()
	eventually(t, "there is room", func() bool { return g.sockets.Load() == 1 })
	fourth, _ := g.raw()
	if got := fourth.auth(testKey, "dataset="+testDataset); !strings.HasPrefix(got, "success=1") {
		t.Errorf("with room again: %q", got)
	}
}

// A producer that must wait is held back by TCP through the tunnel, and nothing
// that it sent is lost.
func TestProducerByTLSIsHeldBack(t *testing.T) {
	const n = 200_000
	g, secure := securedBy(t)
	server, disk := serveMemory(t, 20*time.Millisecond, secure, func(c *Config) { c.Limits.Parked = 256 << 10 })
	g.Server = server
	p := g.producer("a")
	first, all := trades(1, n), make(chan error, 1)
	if _, err := p.Write(first[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.WaitAcked(ctx, 1); err != nil {
		t.Fatal(err)
	}
	disk.Limit(disk.Used())
	go func() {
		for _, r := range first[1:] {
			if err := p.Publish(feed.Record(r)); err != nil {
				all <- err
				return
			}
		}
		all <- p.Close(ctx)
	}()
	eventually(t, "the producer is told to wait", func() bool { return p.Paused() != "" || p.Err() != nil })
	disk.Limit(1 << 40)
	if err := <-all; err != nil {
		t.Fatal(err)
	}
	if got := takeData(t, g.subscribe(), n); !bytes.Equal(got, bytes.Join(first, nil)) {
		t.Error("the tape is not what was published")
	}
}

// The spinner and tunnels come to the event loop in the same way; neither is
// taken for the other.
func TestSpinningLoopTakesTunnels(t *testing.T) {
	g := serveTLS(t, func(c *Config) { c.Spin = true })
	g.publish("a", trades(1, 1000)...)
	takeData(t, g.subscribe(), 1000)
}

func TestOpenModeByTLSIsForLoopback(t *testing.T) {
	g := serveTLS(t)
	options := g.cfg.TLS
	options.Listen = "0.0.0.0:0"
	if _, err := New(g.journal, Config{TLS: options}); !errors.Is(err, ErrOpenMode) {
		t.Errorf("an open gateway that speaks TLS to everybody: %v", err)
	}
}

// Two sockets more for each connection must fit the file limit, or accept would
// fail and end the event loop.
func TestFileLimitCountsTunnels(t *testing.T) {
	g := serveTLS(t)
	if err := func() error { _, err := g.limits.planFiles(0); return err }(); err != nil {
		t.Errorf("the default limits: %v", err)
	}
	files, err := fileLimit()
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{Connections: files / 2, Datasets: minDatasets}
	if _, err := New(g.journal, Config{Limits: limits}); err != nil {
		t.Errorf("%d connections without TLS: %v", limits.Connections, err)
	}
	if _, err := New(g.journal, Config{Limits: limits, TLS: g.cfg.TLS}); err == nil || !strings.Contains(err.Error(), "--max-connections") {
		t.Errorf("%d connections that may come by TLS: %v", limits.Connections, err)
	}
}

func TestMissingCertificateNamesFlagAndFile(t *testing.T) {
	for want, options := range map[string]TLSOptions{
		"--tls-listen":    {CertFile: "cert.pem"},
		"--tls-key FILE":  {Listen: "127.0.0.1:0", CertFile: "cert.pem"},
		"nowhere/key.pem": {Listen: "127.0.0.1:0", CertFile: "nowhere/cert.pem", KeyFile: "nowhere/key.pem"},
	} {
		if _, err := New(nil, Config{TLS: options}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q named", options, err, want)
		}
	}
}
