package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

const (
	servedDataset = "TEST.ONE"
	// servedPatience is how long these tests wait for what must come; much longer than it takes.
	servedPatience = time.Minute
)

// served is a gateway in a process of its own, with an admin side, both on free ports.
type served struct {
	t           *testing.T
	cmd         *exec.Cmd
	addr, admin string // HOST:PORT, URL
	log         string // a file
}

// recovery is the line of the log that says what an opening kept and cut.
type recovery struct {
	Msg     string
	Why     string
	Epoch   uint64
	Records uint64
	Cut     bool
	Lost    uint64
}

// startServed runs a gateway on a data directory until it listens. under is what the program is run by, such as unshare; none is nothing.
func startServed(t *testing.T, under []string, data string, args ...string) *served {
	t.Helper()
	command := slices.Concat(under, []string{"tapewire", "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args)
	s := &served{t: t, cmd: exec.Command(command[0], command[1:]...), log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	must(t, err)
	defer log.Close()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	must(t, err)
	must(t, s.cmd.Start())
	t.Cleanup(s.kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "admin" {
			s.admin = strings.TrimSuffix(f[1], "/metrics,")
		}
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.addr = addr
			go io.Copy(io.Discard, out)
			return s
		}
	}
	s.kill()
	t.Fatalf("the gateway did not come up: %s", s.logged())
	return nil
}

func (s *served) kill() { kill(s.cmd) }

// end ends the gateway in order.
func (s *served) end() {
	s.t.Helper()
	must(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the gateway ended with %v: %s", err, s.logged())
	}
}

func (s *served) logged() string {
	b, err := os.ReadFile(s.log)
	must(s.t, err)
	return string(b)
}

// recovered is what the opening said that it kept and cut.
func (s *served) recovered() (r recovery) {
	s.t.Helper()
	eventually(s.t, "the log says what was recovered", func() bool {
		for line := range strings.Lines(s.logged()) {
			if json.Unmarshal([]byte(line), &r) == nil && r.Msg == "recovered" {
				return true
			}
		}
		return false
	})
	return r
}

// keepsAll is the recovery, which must have cut nothing.
func (s *served) keepsAll(records uint64) recovery {
	s.t.Helper()
	r := s.recovered()
	if r.Cut || r.Lost > 0 || r.Records != records {
		s.t.Fatalf("recovered: %+v; want all of %d records", r, records)
	}
	return r
}

// eventually polls what another process does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(servedPatience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// servedRecord is record k of a stream of two schemas. All its values follow from k.
func servedRecord(k int) feed.Record {
	if k%3 == 0 {
		return testTrade(k)
	}
	m := new(feed.Mbp1Msg)
	feed.Init(m, feed.RTypeMbp1)
	m.PublisherID, m.InstrumentID = 1, uint32(k%len(testSymbols)+1)
	m.TsEvent = testStart + uint64(k)*1e6
	m.TsRecv = m.TsEvent + 150_000
	m.Price, m.Size, m.Action, m.Side, m.Sequence = feed.Price(k+1), uint32(k%500+1), 'A', 'B', uint32(k+1)
	return feed.Bytes(m)
}

// dial opens the stream s of a producer.
func (s *served) dial(ctx context.Context, ack feed.AckLevel) (*feed.Producer, error) {
	p, err := feed.DialProducer(ctx, feed.ProducerConfig{Addr: s.addr, Dataset: servedDataset, Name: "p", Stream: "s", Ack: ack})
	if err != nil {
		return nil, err
	}
	return p, p.Start(feed.Metadata{Version: 3, Dataset: servedDataset, Schema: feed.SchemaNone, Start: testStart, End: feed.UndefTimestamp,
		StypeIn: feed.STypeRawSymbol, StypeOut: feed.STypeInstrumentID, Symbols: testSymbols, Mappings: testMappings()})
}

// publish sends records from what was accepted up to number to, and waits until they are acknowledged.
func (s *served) publish(to int, ack feed.AckLevel, of func(int) feed.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), servedPatience)
	defer cancel()
	p, err := s.dial(ctx, ack)
	must(s.t, err)
	for k := int(p.Accepted()); k < to; k++ {
		must(s.t, p.Publish(of(k)))
	}
	must(s.t, p.Flush())
	must(s.t, p.WaitAcked(ctx, uint64(to)))
	must(s.t, p.Close(ctx))
}

// accepted is how many records the gateway has of the stream.
func (s *served) accepted() int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), servedPatience)
	defer cancel()
	p, err := s.dial(ctx, feed.AckWritten)
	must(s.t, err)
	must(s.t, p.Close(ctx))
	return int(p.Accepted())
}

// replay is what a subscription brings of the past: records, the gaps that are told, and where it stands then.
type replay struct {
	records []byte
	gaps    []lsg.Gap
	at      lsg.Position
	refused string // the error that came in their place
}

// replay subscribes up to the end of the past, and until the position that is told is record to.
func (s *served) replay(sub feed.Subscription, to uint64) (r replay) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), servedPatience)
	defer cancel()
	client, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: s.addr, Dataset: servedDataset, Position: true})
	must(s.t, err)
	defer client.Close()
	must(s.t, client.Subscribe(sub))
	_, err = client.Start()
	must(s.t, err)
	finished := sub.Resume != nil
	for rec, err := range client.Records(ctx) {
		must(s.t, err)
		if !rec.RType().IsControl() {
			r.records = append(r.records, rec...)
			continue
		}
		if e, ok := feed.View[feed.ErrorMsg](rec); ok {
			r.refused = e.Text()
			return r
		}
		if m, ok := feed.View[feed.SystemMsg](rec); ok {
			finished = r.told(s.t, m.Text()) || finished
		}
		if finished && r.at.Seq >= to {
			return r
		}
	}
	s.t.Fatalf("the replay of %v does not end", sub.Schema)
	return r
}

// told takes the text of a SystemMsg. True: the past has come.
func (r *replay) told(t *testing.T, text string) bool {
	t.Helper()
	var err error
	switch {
	case lsg.IsGap(text):
		var gap lsg.Gap
		gap, err = lsg.ParseGap(text)
		r.gaps = append(r.gaps, gap)
	case lsg.IsPosition(text):
		r.at, err = lsg.ParsePosition(text)
	}
	must(t, err)
	return strings.Contains(text, "Finished")
}

// servedTapes is the first records of the stream, as the two tapes hold them.
func servedTapes(count int) map[feed.Schema][]byte {
	want := map[feed.Schema][]byte{}
	for k := range count {
		r := servedRecord(k)
		schema := feed.SchemaMbp1
		if r.RType() == feed.RTypeMbp0 {
			schema = feed.SchemaTrades
		}
		want[schema] = append(want[schema], r...)
	}
	return want
}

// holdsPrefix checks that the tapes hold the first records of the stream, as many as were accepted, and nothing else, and that no gap is told but of lost
// records, which were cut.
func (s *served) holdsPrefix(lost uint64) (accepted int) {
	s.t.Helper()
	accepted = s.accepted()
	told := uint64(0)
	for schema, records := range servedTapes(accepted) {
		got := s.replay(feed.Subscription{Schema: schema, Start: new(uint64)}, 0)
		if !bytes.Equal(got.records, records) || got.refused != "" {
			s.t.Errorf("%v: %d bytes of records, refused %q; want the %d bytes that were published", schema, len(got.records), got.refused, len(records))
		}
		for _, gap := range got.gaps {
			if told += gap.Records; gap.Cause != lsg.CauseCut || gap.Records == 0 {
				s.t.Errorf("%v: a gap is told: %+v", schema, gap)
			}
		}
	}
	if told != lost {
		s.t.Errorf("subscribers are told of %d records that were cut, the opening cut %d", told, lost)
	}
	return accepted
}

// holds is holdsPrefix with so many records, of which none was cut.
func (s *served) holds(count int) {
	s.t.Helper()
	if n := s.holdsPrefix(0); n != count {
		s.t.Errorf("%d records accepted, want %d", n, count)
	}
}

// goesOn checks that a subscriber that comes back at a position gets all that follows, and is told of no gap but what was cut.
func (s *served) goesOn(at lsg.Position, count int, cut bool) {
	s.t.Helper()
	want := servedTapes(count)[feed.SchemaTrades]
	size := uint64(len(testTrade(0)))
	got := s.replay(feed.Subscription{Schema: feed.SchemaTrades, Resume: &at}, uint64(len(want))/size)
	told := slices.ContainsFunc(got.gaps, func(g lsg.Gap) bool { return !cut || g.Cause != lsg.CauseCut })
	if !bytes.Equal(got.records, want[at.Seq*size:]) || told || got.refused != "" {
		s.t.Errorf("from %+v on: %d bytes of records, gaps %+v, refused %q; want %d bytes and no gap", at, len(got.records), got.gaps, got.refused, len(want)-int(at.Seq*size))
	}
}

// verified holds a data directory against its sums.
func verified(t *testing.T, data string) {
	t.Helper()
	if code, out, errors := tapewire(t.Context(), "journal", "verify", "--data", data); code != exitDone {
		t.Errorf("journal verify: exit code %d\n%s%s", code, out, errors)
	}
}
