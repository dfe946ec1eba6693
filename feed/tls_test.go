package feed

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/tapewire/tapewire/internal/testcert"
)

// byTLS has the peers' end of servePeers speak TLS: it passes on what comes to a
// port of its own.
func byTLS(t *testing.T, config *tls.Config, script func(*peer) error) (addr string) {
	t.Helper()
	return servePeers(t, func(p *peer) error {
		secure := tls.Server(p.conn, config)
		if err := secure.Handshake(); err != nil {
			return errStop // some of these tests want that
		}
		p.conn, p.in = secure, newInbox(secure, lineBuffer)
		err := script(p)
		secure.Close()
		return err
	})
}

func serverOf(a *testcert.Authority, t *testing.T, wish testcert.Wish) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.Issue(t, wish)}}
}

func TestProducerAndSubscriberSpeakTLS(t *testing.T) {
	authority := testcert.NewAuthority(t)
	config := &tls.Config{RootCAs: authority.Pool()}
	sent := testTrades(0, 10_000) // more than a record of TLS and a buffer of ours
	published := make(chan []byte, 1)
	addr := byTLS(t, serverOf(authority, t, testcert.Wish{}), func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		if err := p.started(); err != nil {
			return err
		}
		got, err := p.records(10_000)
		published <- got
		if err == nil {
			err = p.ack(10_000)
		}
		if err != nil {
			return err
		}
		return p.gone()
	})
	p, err := DialProducer(testContext(t), ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "adapter", Stream: "s1", TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(Metadata{Schema: SchemaTrades}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-published, sent) {
		t.Error("the gateway got other bytes than were published")
	}
	if config.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
}

// What is wrong with a certificate is said with what to do about it; a port that
// speaks the other protocol is named so.
func TestTLSFailuresNameCauseAndRemedy(t *testing.T) {
	authority := testcert.NewAuthority(t)
	trust := &tls.Config{RootCAs: authority.Pool()}
	greets := func(p *peer) error { return p.greet() }
	for name, c := range map[string]struct {
		server *tls.Config
		client *tls.Config
		words  []string
	}{
		"stranger":   {serverOf(testcert.NewAuthority(t), t, testcert.Wish{}), trust, []string{"unknown authority", "--tls-ca"}},
		"expired":    {serverOf(authority, t, testcert.Wish{NotAfter: time.Now().Add(-time.Minute)}), trust, []string{"expired", "renew"}},
		"other name": {serverOf(authority, t, testcert.Wish{Name: "gateway.example"}), trust, []string{"127.0.0.1", "connect by a name"}},
		"plain port": {nil, trust, []string{"speaks no TLS"}},
		"TLS port":   {serverOf(authority, t, testcert.Wish{}), nil, []string{"it says nothing", "TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			serve := servePeers
			if c.server != nil {
				serve = func(t *testing.T, script func(*peer) error) string { return byTLS(t, c.server, script) }
			}
			timeout := testPatience
			if c.client == nil {
				timeout = 200 * time.Millisecond // both sides wait for the other's first word
			}
			addr := serve(t, func(p *peer) error {
				if err := greets(p); err != nil {
					return errStop
				}
				return nil
			})
			_, err := DialSubscriber(testContext(t), SubscriberConfig{Addr: addr, Dataset: "TEST.SET", TLS: c.client, DialTimeout: timeout})
			if !errors.Is(err, ErrConnect) {
				t.Errorf("got %v, want ErrConnect", err)
			}
			wantText(t, err, append(c.words, addr)...)
		})
	}
}

// A name in the certificate is what counts, not the address that was dialled.
func TestServerNameMayBeGiven(t *testing.T) {
	authority := testcert.NewAuthority(t)
	addr := byTLS(t, serverOf(authority, t, testcert.Wish{Name: "gateway.example"}), func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		return p.gone()
	})
	s, err := DialSubscriber(testContext(t), SubscriberConfig{
		Addr: addr, Dataset: "TEST.SET", TLS: &tls.Config{RootCAs: authority.Pool(), ServerName: "gateway.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// What speaks TLS answers a line of text with an alert.
func TestAlertIsTakenForATLSPort(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := p.send("\x15\x03\x01\x00\x02\x02\x32"); err != nil {
			return err
		}
		return p.conn.(*net.TCPConn).CloseWrite()
	})
	_, err := DialSubscriber(testContext(t), SubscriberConfig{Addr: addr, Dataset: "TEST.SET"})
	wantText(t, err, "this port speaks TLS")
}

// A lost connection is dialled again by TLS, too.
func TestResumingProducerResumesByTLS(t *testing.T) {
	authority := testcert.NewAuthority(t)
	done := make(chan []byte, 1)
	addr := byTLS(t, serverOf(authority, t, testcert.Wish{}), func(p *peer) error {
		if err := p.admit(0); err != nil {
			return err
		}
		if err := p.started(); err != nil {
			return err
		}
		got, err := p.records(100)
		if err != nil || p.nth == 0 {
			return err // lost without an ack
		}
		done <- got
		if err := p.ack(100); err != nil {
			return err
		}
		return p.gone()
	})
	r, err := DialResumingProducer(testContext(t), ResumingConfig{
		ProducerConfig: ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "adapter", Stream: "s1", TLS: &tls.Config{RootCAs: authority.Pool()}},
		Metadata:       Metadata{Schema: SchemaTrades}, pause: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := testTrades(0, 100)
	if _, err := r.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-done, sent) {
		t.Error("the second session got other bytes")
	}
}
