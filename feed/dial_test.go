package feed

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed/lsg"
)

func TestDialNamesAddressAndRemedyWhenNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, err = DialSubscriber(testContext(t), SubscriberConfig{Addr: addr, Dataset: "TEST.SET"})
	if !errors.Is(err, ErrConnect) {
		t.Fatalf("got %v, want ErrConnect", err)
	}
	wantText(t, err, addr, "check that the gateway runs")
}

func TestDialEndsWithItsContextBeforeASilentPeer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	addr := servePeers(t, func(p *peer) error {
		cancel() // the client has connected and waits for a greeting
		return p.gone()
	})
	_, err := DialProducer(ctx, ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "n"})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrConnect) {
		t.Errorf("got %v, want ErrConnect for context.Canceled", err)
	}
}

func TestDialSurvivesLinesSplitIntoBytes(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		challenge := lsg.NewChallenge()
		p.conn.(*net.TCPConn).SetNoDelay(true)
		for _, b := range lsg.AppendGreeting(nil, challenge) {
			if err := p.send(string(b)); err != nil {
				return err
			}
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
		for _, b := range []byte("success=1|session_id=7\r\n") {
			if err := p.send(string(b)); err != nil {
				return err
			}
		}
		return p.gone()
	})
	s, err := DialSubscriber(testContext(t), SubscriberConfig{Addr: addr, Dataset: "TEST.SET"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.reply.SessionID != 7 || s.SessionID() != 7 {
		t.Errorf("session %d, want 7", s.SessionID())
	}
}

func TestRefusalCarriesTheGatewaysWords(t *testing.T) {
	for reply, want := range map[string]RefusedError{
		"success=0|error=no such key":                     {Code: lsg.CodeAuth, Text: "no such key", Retry: lsg.RetryNever},
		"error=limit|retry=later|text=too many producers": {Code: lsg.CodeLimit, Text: "too many producers", Retry: lsg.RetryLater},
		"success=0|error=" + lsg.ConnectionLimit + " (8)": {Code: lsg.CodeLimit, Text: lsg.ConnectionLimit + " (8)", Retry: lsg.RetryLater},
	} {
		t.Run(want.Text, func(t *testing.T) {
			addr := servePeers(t, func(p *peer) error {
				if err := p.greet(); err != nil {
					return err
				}
				return p.send(reply + "\n")
			})
			_, err := DialProducer(testContext(t), ProducerConfig{Addr: addr, Dataset: "TEST.SET", Name: "n"})
			var refused *RefusedError
			if !errors.As(err, &refused) || *refused != want {
				t.Errorf("got %v, want %v", err, &want)
			}
			if errors.Is(err, ErrConnect) {
				t.Error("a refusal passes as a failed connection, which callers would try again")
			}
			if IsFinal(err) != (want.Retry == lsg.RetryNever) {
				t.Errorf("IsFinal is %v", IsFinal(err))
			}
		})
	}
}

func TestPeerThatIsNoGatewayIsNamedSo(t *testing.T) {
	for name, words := range map[string]string{
		"web server": "HTTP/1.1 400 Bad Request\r\n\r\n", "empty line": "\n", "no challenge": "lsg_version=1\nnochallenge=1\n", "silent": "",
	} {
		t.Run(name, func(t *testing.T) {
			addr := servePeers(t, func(p *peer) error { return p.send(words) })
			_, err := DialSubscriber(testContext(t), SubscriberConfig{Addr: addr, Dataset: "TEST.SET"})
			if !errors.Is(err, ErrConnect) {
				t.Fatalf("got %v, want ErrConnect", err)
			}
			wantText(t, err, addr, "Live gateway")
		})
	}
}

func TestKeysAreCheckedAndNeverShown(t *testing.T) {
	if len(OpenModeKey) != lsg.KeySize {
		t.Errorf("OpenModeKey has %d bytes, want %d", len(OpenModeKey), lsg.KeySize)
	}
	const short = "db-secretsecretsecret"
	_, err := DialSubscriber(testContext(t), SubscriberConfig{Dataset: "TEST.SET", Key: short})
	if !errors.Is(err, ErrConfig) {
		t.Fatalf("got %v, want ErrConfig", err)
	}
	wantText(t, err, "21 bytes", "32")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error %q shows the key", err)
	}
}

func TestBadSettingsAreNotTakenForABadNetwork(t *testing.T) {
	addr := servePeers(t, func(p *peer) error {
		if err := p.send(string(lsg.AppendGreeting(nil, lsg.NewChallenge()))); err != nil {
			return err
		}
		return p.gone()
	})
	for name, cfg := range map[string]ProducerConfig{
		"no name":         {Dataset: "TEST.SET"},
		"long dataset":    {Dataset: "TEST.SET.TOO.LONG", Name: "n"},
		"forged field":    {Dataset: "TEST.SET", Name: "n", Client: "a|role=admin"},
		"part of seconds": {Dataset: "TEST.SET", Name: "n", Heartbeat: 1},
		"unknown level":   {Dataset: "TEST.SET", Name: "n", Ack: "often"},
	} {
		cfg.Addr = addr
		if _, err := DialProducer(testContext(t), cfg); !errors.Is(err, ErrConfig) || errors.Is(err, ErrConnect) {
			t.Errorf("%s: got %v, want ErrConfig", name, err)
		}
	}
}
