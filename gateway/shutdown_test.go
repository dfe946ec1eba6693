package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// While a shutdown waits for a slow reader, nobody new is let in, to be cut off
// without a word a moment later; who publishes is told to come back.
func TestNobodyIsLetInDuringTheDrain(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.Drain, c.Limits.Linger = patience, patience })
	slow := startedRaw(t, s)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 200_000)...)
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	publishing := dialRaw(t, s)
	publishing.produce("9")
	fields := map[string]string{"producer": producerFields(testDataset, "late", "1"), "subscriber": "dataset=" + testDataset}
	late := map[string]*rawClient{}
	for role := range fields {
		late[role] = dialRaw(t, s)
		if _, err := late[role].r.Peek(1); err != nil { // accepted before the shutdown
			t.Fatal(err)
		}
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if got := publishing.rest(); !strings.Contains(got, "error=shutdown|retry=later") {
		t.Errorf("who publishes is told %q", got)
	}
	told := map[string]string{ // a producer takes success=0 for the last word, and must not
		"producer": "error=shutdown|retry=later|text=the gateway is shutting down", "subscriber": "success=0|error=the gateway is shutting down",
	}
	for role, c := range late {
		for _, c := range []*rawClient{c, dialRaw(t, s)} { // and one that only comes now
			if got := c.auth(testKey, fields[role]); got != told[role] {
				t.Errorf("a %s that comes during the drain is told %q", role, got)
			}
		}
	}
	slow.conn.Close()
	select {
	case err := <-down:
		if err != nil {
			t.Errorf("shutdown: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the shutdown does not end with its last session")
	}
}

// An adapter that dials again while a shutdown waits for a slow reader must not
// give up: the gateway is back a moment later.
func TestResumingProducerSurvivesARestartWithADrain(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t, rand.New(rand.NewPCG(1, 2)))
	serve := func() (*Server, *journal.Journal) {
		j, err := journal.Open(dir, journal.Options{AnyFilesystem: true})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(j, Config{Listen: addr, Limits: Limits{Drain: patience, Linger: patience}})
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		return s, j
	}
	s, j := serve()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	p, err := feed.DialResumingProducer(ctx, feed.ResumingConfig{
		ProducerConfig: feed.ProducerConfig{Addr: addr, Key: testKey, Dataset: testDataset, Name: "p", Stream: "1"}, Metadata: metadataOf(feed.SchemaTrades),
	})
	if err != nil {
		t.Fatal(err)
	}
	slow := startedRaw(t, s)
	for _, r := range trades(1, 200_000) {
		if err := p.Publish(r); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the reader is behind", func() bool { return s.Sessions()[0].Blocked })
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(ctx) }()
	eventually(t, "the producer was turned away twice", func() bool { return s.metrics.rejects(lsg.CodeShutdown).Get() > 2 })
	slow.conn.Close()
	if err := errors.Join(<-down, j.Close()); err != nil {
		t.Fatal(err)
	}
	s, j = serve()
	if err := p.Publish(trade(1, 200_000)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if got := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades).Tail(); got != 200_001 {
		t.Errorf("the tape has %d records, want 200,001", got)
	}
	if err := errors.Join(s.Shutdown(ctx), j.Close()); err != nil {
		t.Error(err)
	}
}
