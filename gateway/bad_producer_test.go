package gateway

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// Each bad input of a producer gets its own clear line; what came before it
// stays; a neighbour in the middle of publishing does not notice.
func TestBadProducerInputIsRefusedByNameAndKeepsWhatCameBefore(t *testing.T) {
	good := bytes.Join([][]byte{trade(1, 0), trade(1, 1), trade(1, 2)}, nil)
	edit := func(change func(b []byte)) []byte {
		b := trade(1, 3)
		change(b)
		return b
	}
	cases := []struct {
		name     string
		schema   feed.Schema
		lines    string
		bad      []byte
		want     []string
		accepted int
	}{
		{"wrong record length", feed.SchemaTrades, "", edit(func(b []byte) { b[0] = 13 }), []string{"error=bad_length", "record=3", "want=48", "got=52", "retry=never"}, 3},
		{"record size of another schema", feed.SchemaNone, "", edit(func(b []byte) { b[0] = 20 }), []string{"error=bad_length", "record=3", "got=80"}, 3},
		{"impossible length", feed.SchemaTrades, "", edit(func(b []byte) { b[0] = 255 }), []string{"error=bad_length", "record=3", "got=1020"}, 3},
		{"length zero", feed.SchemaTrades, "", edit(func(b []byte) { b[0] = 0 }), []string{"error=bad_length", "record=3"}, 3},
		{"unknown rtype", feed.SchemaTrades, "", edit(func(b []byte) { b[1] = 0x77 }), []string{"error=bad_rtype", "record=3", "0x77"}, 3},
		{"deprecated ohlcv rtype", feed.SchemaNone, "", edit(func(b []byte) { b[0], b[1] = 14, 0x11 }), []string{"error=bad_rtype", "record=3"}, 3},
		{"schema other than declared", feed.SchemaTrades, "", quote(1, 3), []string{"error=schema_mismatch", "record=3"}, 3},
		{"undeclared instrument", feed.SchemaTrades, "instrument=AAA\n", trade(99, 3), []string{"error=unknown_instrument", "record=0"}, 0},
	}
	s := serveTest(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			stream := strings.ReplaceAll(c.name, " ", "-")
			p := dialRaw(t, s)
			if got := p.produce(stream); !strings.HasPrefix(got, "success=1|") {
				t.Fatalf("reply is %q", got)
			}
			p.send(c.lines + "start_session\n")
			for range strings.Count(c.lines, "\n") {
				p.line() // instrument reply
			}
			input := append(metadataBytes(t, metadataOf(c.schema)), good...)
			if c.accepted == 0 {
				input = metadataBytes(t, metadataOf(c.schema))
			}
			p.send(string(append(input, c.bad...)))
			rest := p.rest()
			var last string
			for line := range strings.Lines(rest) {
				last = line
			}
			for _, want := range c.want {
				if !strings.Contains(last, want) {
					t.Errorf("the last line %q lacks %q", last, want)
				}
			}
			again := dialRaw(t, s)
			if got := again.produce(stream); !strings.HasSuffix(got, "|accepted="+string(rune('0'+c.accepted))) {
				t.Errorf("a resume is told %q, want %d accepted", got, c.accepted)
			}
		})
	}
}

// Half a record and then nothing: the whole ones count, the half does not.
func TestHalfARecordBeforeACloseIsNotCommitted(t *testing.T) {
	s := serveTest(t)
	p := dialRaw(t, s)
	p.produce("half")
	p.send("start_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades))) + string(trade(1, 0)) + string(trade(1, 1)[:20]))
	if got := p.line(); got != "ack=1|level=written" {
		t.Errorf("the ack is %q", got)
	}
	p.conn.Close()
	again := dialRaw(t, s)
	if got := again.produce("half"); !strings.HasSuffix(got, "|accepted=1") {
		t.Errorf("a resume is told %q, want 1 accepted", got)
	}
}

// Records that arrive in pieces of any size are the same records.
func TestRecordsCutAtAnyByteArriveWhole(t *testing.T) {
	s := serveTest(t)
	var stream []byte
	stream = append(stream, "start_session\n"...)
	stream = append(stream, metadataBytes(t, metadataOf(feed.SchemaNone))...)
	const n = 40
	for i := range n {
		if i%3 == 0 {
			stream = append(stream, quote(7, i)...)
		} else {
			stream = append(stream, trade(7, i)...)
		}
	}
	for _, piece := range []int{1, 7, 47, 48, 49, 127, 1000} {
		p := dialRaw(t, s)
		name := "piece-" + string(rune('a'+piece%26)) + strings.Repeat("x", piece%5)
		p.produce(name)
		for b := stream; len(b) > 0; b = b[min(piece, len(b)):] {
			p.send(string(b[:min(piece, len(b))]))
		}
		for {
			if line := p.line(); strings.HasPrefix(line, "ack=40|") {
				break
			} else if !strings.HasPrefix(line, "ack=") {
				t.Fatalf("pieces of %d bytes: %q", piece, line)
			}
		}
	}
}

// A half-open adapter must not lock its successor out, and it is told.
func TestNewerSessionOfAProducerFencesTheOlder(t *testing.T) {
	s := serveTest(t)
	older := dialRaw(t, s)
	older.produce("one")
	newer := dialRaw(t, s)
	if got := newer.produce("one"); !strings.HasPrefix(got, "success=1|") {
		t.Fatalf("the newer session is told %q", got)
	}
	if got := older.rest(); !strings.Contains(got, "error=fenced") {
		t.Errorf("the older session is told %q", got)
	}
	newer.send("start_session\n" + string(metadataBytes(t, metadataOf(feed.SchemaTrades))) + string(trade(1, 0)))
	if got := newer.line(); got != "ack=1|level=written" {
		t.Errorf("the newer session gets %q", got)
	}
}

// An id is one symbol: a second producer that says otherwise is refused.
func TestSameIDForAnotherSymbolIsAConflict(t *testing.T) {
	s := serveTest(t)
	with := func(symbol string) feed.Metadata { return withMapping(metadataOf(feed.SchemaTrades), 5, symbol) }
	first := dialRaw(t, s)
	first.auth(testKey, "dataset="+testDataset+"|role=producer|producer=a|stream=1")
	first.send("start_session\n" + string(metadataBytes(t, with("AAPL"))) + string(trade(5, 0)))
	first.line()
	second := dialRaw(t, s)
	second.auth(testKey, "dataset="+testDataset+"|role=producer|producer=b|stream=1")
	second.send("start_session\n" + string(metadataBytes(t, with("MSFT"))) + string(trade(5, 0)))
	if got := second.rest(); !strings.Contains(got, "error=id_conflict") {
		t.Errorf("the second producer is told %q", got)
	}
}
