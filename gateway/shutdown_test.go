package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
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
	for role, c := range late {
		if got := c.auth(testKey, fields[role]); got != "success=0|error=the gateway is shutting down" {
			t.Errorf("a %s that comes during the drain is told %q", role, got)
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
