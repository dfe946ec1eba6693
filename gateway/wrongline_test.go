package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A line in band that is wrong costs its producer that line: it is answered by what is
// wrong with it, enters nothing, and the records behind it go on.
func TestAWrongLineInBandEndsNoFeed(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	c.begin(metadataOf(feed.SchemaTrades))
	for i, x := range []struct{ text, want, why string }{
		{"gap|schema=trades", "error=bad_gap|line=gap|retry=never|", "cause"},
		{"gap|schema=tradez|cause=upstream", "error=bad_gap|line=gap|retry=never|", "one of mbo, mbp-1"},
		{"gap|from_ts=9|to_ts=5|cause=upstream", "error=bad_gap|line=gap|retry=never|", "lies before"},
		{"gap|from_ts=yesterday|cause=upstream", "error=bad_gap|line=gap|retry=never|", "from_ts"},
		{"gap|records=99999999999999999999|cause=upstream", "error=bad_gap|line=gap|retry=never|", "records"},
		{"gap|cause=upstream|cause=cut", "error=bad_gap|line=gap|retry=never|", "twice"},
		{"gap|cause=two words", "error=bad_gap|line=gap|retry=never|", "one word"},
		{"gap|cause=" + strings.Repeat("x", 65), "error=bad_gap|line=gap|retry=never|", "at most 64"},
		{"gap|cause=up\x07stream", "error=bad_gap|line=gap|retry=never|", "control character"},
		{"instrument=|lot=1", "error=bad_instrument|line=instrument|retry=never|", "empty"},
		{"instrument=A|lot=1|lot=2", "error=bad_instrument|instrument=A|retry=never|", "twice"},
		{"instrument=A|lott=1", "error=bad_instrument|instrument=A|retry=never|", "unknown field"},
	} {
		c.send(inBand(x.text))
		if got := c.line(); !strings.HasPrefix(got, x.want) || !strings.Contains(got, x.why) {
			t.Errorf("%q is answered %q, want %q and %q", x.text, got, x.want, x.why)
		}
		c.send(string(trade(1, i)))
		if got, want := c.line(), fmt.Sprintf("ack=%d|level=written", i+1); got != want {
			t.Fatalf("the record behind %q is answered %q", x.text, got)
		}
	}
	if n := len(s.journal.Lookup(testDataset).Gaps()); n > 0 {
		t.Errorf("%d gaps were entered of lines that are refused", n)
	}
}

// Before the records, too: and what is no text at all ends the session, since nothing
// behind it can be understood.
func TestAWrongLineBeforeTheStartEndsNoSession(t *testing.T) {
	s := serveTest(t)
	c := dialRaw(t, s)
	c.produce("1")
	for _, line := range []string{"hello", "end_session", "gap|cause=upstream", "schema=trades|symbols=A", ""} {
		c.send(line + "\n")
		if got := c.line(); !strings.HasPrefix(got, "error=bad_line|line=unknown|retry=never|") || !strings.Contains(got, "start_session") {
			t.Errorf("%q is answered %q", line, got)
		}
	}
	c.send("instrument=\n")
	if got := c.line(); !strings.HasPrefix(got, "error=bad_instrument|line=instrument|") {
		t.Errorf("an instrument without a symbol is answered %q", got)
	}
	id := c.declared("instrument=A")
	c.begin(metadataOf(feed.SchemaTrades), trade(id, 0))
	c.await("ack=1")

	c = dialRaw(t, s)
	c.produce("2")
	c.send(string(metadataBytes(t, metadataOf(feed.SchemaTrades))) + "\n") // without start_session
	if got := c.rest(); !strings.HasPrefix(got, "error=bad_metadata|") {
		t.Errorf("records without start_session are answered %q", got)
	}
}

// Lines that are refused are bounded like those that are taken.
func TestRefusedLinesHaveABound(t *testing.T) {
	s := serveTest(t, func(c *Config) { c.Limits.InstrumentsPerProducer = 10 })
	c := dialRaw(t, s)
	c.produce("1")
	c.send(strings.Repeat("hello\n", 20))
	for i := range 11 {
		want := "error=bad_line|"
		if i == 10 {
			want = "error=limit|retry=never|"
		}
		if got := c.line(); !strings.HasPrefix(got, want) {
			t.Fatalf("line %d of 20, of which 10 may be wrong, is answered %q", i+1, got)
		}
	}
}

// The SDK gives the caller an error for a gap that makes no sense, is told of one that
// the gateway refuses, and goes on publishing.
func TestTheSDKGoesOnBehindAGapThatIsRefused(t *testing.T) {
	s := serveTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var told []*feed.LineError
	cfg := feed.ProducerConfig{Addr: s.Addr().String(), Key: testKey, Dataset: testDataset, Name: "p", Stream: "1",
		LineRefused: func(e *feed.LineError) { told = append(told, e) }}
	p, err := feed.DialResumingProducer(ctx, feed.ResumingConfig{ProducerConfig: cfg, Metadata: metadataOf(feed.SchemaTrades)})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []feed.Gap{{Schema: "tradez", Cause: "upstream"}, {FromTs: 9, ToTs: 5, Cause: "upstream"}, {Cause: "two words"}, {}} {
		if err := p.Gap(g); !errors.Is(err, feed.ErrConfig) {
			t.Errorf("%+v: %v", g, err)
		}
	}
	wrong := feed.AppendSystem(nil, eventTime(0), feed.SystemUnset, "gap|schema=tradez|cause=upstream") // as a file may have it
	err = errors.Join(p.Publish(trade(1, 0)), p.Publish(wrong), p.Gap(feed.Gap{Schema: "trades", Cause: "upstream"}), p.Publish(trade(1, 1)), p.Close(ctx))
	if err != nil || p.Sent() != 2 {
		t.Errorf("%d records: %v", p.Sent(), err)
	}
	if len(told) != 1 || told[0].Code != lsg.CodeBadGap || told[0].Line != lsg.LineGap || !strings.Contains(told[0].Text, "tradez") {
		t.Errorf("told %v", told)
	}
	if n := len(s.journal.Lookup(testDataset).Gaps()); n != 1 {
		t.Errorf("%d gaps in the ledger, want the one that is right", n)
	}
}
