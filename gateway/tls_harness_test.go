package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/internal/testcert"
)

// secured is a gateway that speaks TLS, and who signs for it.
type secured struct {
	*Server
	t         testing.TB
	authority *testcert.Authority
	dir       string // of cert.pem, cert-key.pem and ca.pem
}

// securedBy makes the certificates of a gateway, and the change that makes it
// speak TLS. The test fails when goroutines or descriptors are left in the end.
func securedBy(t testing.TB) (*secured, func(*Config)) {
	t.Helper()
	leavesNothing(t)
	g := &secured{t: t, authority: testcert.NewAuthority(t), dir: t.TempDir()}
	g.replace(testcert.Wish{})
	g.authority.WriteCA(t, g.dir, "ca.pem")
	return g, func(c *Config) {
		c.TLS = TLSOptions{Listen: "127.0.0.1:0", CertFile: filepath.Join(g.dir, "cert.pem"), KeyFile: filepath.Join(g.dir, "cert-key.pem")}
	}
}

func serveTLS(t testing.TB, change ...func(*Config)) *secured {
	t.Helper()
	g, secure := securedBy(t)
	g.Server = serveTest(t, append([]func(*Config){secure}, change...)...)
	return g
}

// wantClients has a gateway ask for certificates of its own authority.
func wantClients(c *Config) {
	c.TLS.ClientCAFile = filepath.Join(filepath.Dir(c.TLS.CertFile), "ca.pem")
}

// leavesNothing fails a test after which goroutines or descriptors are left.
func leavesNothing(t testing.TB) {
	t.Helper()
	files := openFiles(t)
	left := goleak.IgnoreCurrent()
	// gnet enrolls connections by a pool that keeps its goroutines for a while.
	pool := goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1")
	t.Cleanup(func() {
		if err := goleak.Find(left, pool); err != nil && !t.Failed() {
			t.Error(err)
		}
		for end := time.Now().Add(patience); len(openFiles(t)) > len(files); <-time.After(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %v more files are open than before: %v, before: %v", patience, openFiles(t), files)
			}
		}
	})
}

// openFiles is what each descriptor of the process is.
func openFiles(t testing.TB) map[string]string {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, fd := range all {
		files[fd.Name()], _ = os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
	}
	return files
}

// replace puts a new certificate into the gateway's files.
func (g *secured) replace(wish testcert.Wish) tls.Certificate {
	pair := g.authority.Issue(g.t, wish)
	testcert.Write(g.t, g.dir, "cert", pair)
	return pair
}

// trust is a client's side of TLS, with a certificate of its own or without.
func (g *secured) trust(own ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: g.authority.Pool(), Certificates: own}
}

func (g *secured) subscriberConfig(config *tls.Config) feed.SubscriberConfig {
	return feed.SubscriberConfig{Addr: g.TLSAddr().String(), Key: testKey, Dataset: testDataset, TLS: config}
}

// dial opens a session through the SDK that is not started.
func (g *secured) dial(config *tls.Config) (*feed.Subscriber, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sub, err := feed.DialSubscriber(ctx, g.subscriberConfig(config))
	if err == nil {
		g.t.Cleanup(func() { sub.Close() })
	}
	return sub, err
}

// subscribe opens a started session of all trades from the first on.
func (g *secured) subscribe() *feed.Subscriber {
	g.t.Helper()
	sub, err := g.dial(g.trust())
	if err == nil {
		err = sub.Subscribe(feed.Subscription{Schema: feed.SchemaTrades, Start: new(uint64)})
	}
	if err == nil {
		_, err = sub.Start()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return sub
}

// producer opens a session that publishes trades.
func (g *secured) producer(stream string) *feed.Producer {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{
		Addr: g.TLSAddr().String(), Key: testKey, Dataset: testDataset, Name: "by-tls", Stream: stream, TLS: g.trust(),
	})
	if err == nil {
		err = p.Start(metadataOf(feed.SchemaTrades))
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// publish publishes by TLS and waits until all of it is committed.
func (g *secured) publish(stream string, records ...[]byte) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := g.producer(stream)
	if _, err := p.Write(bytes.Join(records, nil)); err != nil {
		g.t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		g.t.Fatal(err)
	}
}

// raw is a client that speaks TLS and the protocol byte by byte.
func (g *secured) raw() (*rawClient, *net.TCPConn) {
	g.t.Helper()
	plain := g.tcp()
	return rawOn(g.t, tls.Client(plain, &tls.Config{RootCAs: g.authority.Pool(), ServerName: "127.0.0.1"})), plain
}

// tcp connects to the TLS port and says nothing.
func (g *secured) tcp() *net.TCPConn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.TLSAddr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// counted waits until so many handshakes have come to a result.
func (g *secured) counted(result string, n uint64) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d handshakes are counted as %s", n, result), func() bool { return g.metrics.handshakes(result).Get() == n })
}

// empty waits until no tunnel, socket or session is left.
func (g *secured) empty() {
	g.t.Helper()
	eventually(g.t, "no tunnel, socket or session is left", func() bool {
		return g.tls.open.Load() == 0 && g.sockets.Load() == 0 && len(g.Sessions()) == 0
	})
}

// takeData reads n data records and returns their bytes.
func takeData(t testing.TB, sub *feed.Subscriber, n int) []byte {
	t.Helper()
	var got []byte
	take(t, sub, func(r feed.Record) bool {
		if !r.RType().IsControl() {
			got = append(got, r...)
			n--
		}
		return n == 0
	})
	return got
}
