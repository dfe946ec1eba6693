package gateway

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// What comes over a connection may come in any pieces: TCP knows no lines and no
// records. These tests tell one server everything at once and another the same
// in pieces, through the callbacks of a real connection, and compare what the
// two answer and keep. A panic, something left over or kept beyond its bound
// fails by itself (see talk).

// fuzzMost is the longest input, so that a pipelining producer stays below Limits.Pipelined.
const fuzzMost = 48 << 10

// hurries is a bit of the first cut: pieces do not wait for a producer that waits.
const hurries = 0x80

// FuzzProducerConnection is what follows a producer's authentication line:
// instrument lines, metadata of any version, records of any version, control
// records with their commands.
func FuzzProducerConnection(f *testing.F) {
	for _, seed := range producerSeeds(f) {
		f.Add(seed, []byte{})
		f.Add(seed, []byte{6})
		f.Add(seed, []byte{hurries | 20, 0, 47, 99})
	}
	login := []byte("auth=x|" + producerFields(testDataset, "fuzz", "1") + "\n")
	var pair fuzzPair
	f.Cleanup(pair.close)
	var marks [2]fuzzMark
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if len(stream) > fuzzMost {
			return
		}
		if pair.next(t, nil) {
			marks = [2]fuzzMark{}
		}
		from := time.Now()
		b := slices.Concat(login, stream)
		whole := pair.whole.say(t, b, nil, false)
		pieces := pair.pieces.say(t, b, cuts, len(cuts) > 0 && cuts[0]&hurries != 0)
		if a, b := told(whole), told(pieces); !slices.Equal(a, b) {
			t.Fatalf("at once the producer is told %q, in pieces %q", a, b)
		}
		a, c := pair.whole.growth(t, testDataset, &marks[0]), pair.pieces.growth(t, testDataset, &marks[1])
		for schema := range feed.Schema(feed.NumSchemas) {
			if !bytes.Equal(withoutTimes(a.tapes[schema], from, time.Now()), withoutTimes(c.tapes[schema], from, time.Now())) {
				t.Fatalf("at once the tape of %v is %x, in pieces %x", schema, a.tapes[schema], c.tapes[schema])
			}
		}
		if !reflect.DeepEqual(a.names, c.names) {
			t.Fatalf("at once the records are called %q, in pieces %q", a.names, c.names)
		}
		if !reflect.DeepEqual(a.symbols, c.symbols) {
			t.Fatalf("at once the symbol table has %+v, in pieces %+v", a.symbols, c.symbols)
		}
		if a.accepted != uint64(a.records) || c.accepted != uint64(c.records) {
			t.Fatalf("%d records are on the tapes and %d are counted; in pieces %d and %d", a.records, a.accepted, c.records, c.accepted)
		}
	})
}

// producerSeeds are streams as adapters send them, and some that are wrong in one place.
func producerSeeds(f *testing.F) (seeds [][]byte) {
	start := []byte("start_session\n")
	lines := []byte("instrument=AAA|price_increment=0.01|lot=1|currency=USD|class=K\ninstrument=BBB\nstart_session\n")
	system := func(text string) []byte { return feed.AppendSystem(nil, 1, feed.SystemUnset, text) }
	records := slices.Concat(trade(1, 0), trade(1, 1), quote(2, 2), trade(2, 3))
	for _, version := range []uint8{1, 2, 3} {
		for _, tsOut := range []bool{false, true} {
			m := withMapping(metadataOf(feed.SchemaNone), 1, "AAA")
			m.Version, m.TsOut = version, tsOut
			var sent []byte
			for i := range 6 {
				r := trade(1, i)
				if tsOut {
					r = feed.AppendWithTsOut(nil, r, 77)
				}
				sent = append(sent, r...)
			}
			seeds = append(seeds, slices.Concat(start, metadataBytes(f, m), sent))
		}
	}
	m := metadataBytes(f, metadataOf(feed.SchemaNone))
	undefined := trade(1, 1)
	for i := 32; i < 40; i++ {
		undefined[i] = 0xff
	}
	return append(seeds,
		slices.Concat(lines, m, records),
		slices.Concat(lines, m, trade(1, 0), trade(77, 1), trade(1, 2)),
		slices.Concat(start, m, records, system("end_session"), trade(1, 9)),
		slices.Concat(start, m, mappingRecord(5, "CCC"), trade(5, 0), mappingRecord(5, "DDD"), trade(5, 1), undefined),
		slices.Concat(start, m, trade(5, 0), definition(5, "EEE"), trade(5, 1), definition(5, "FFF"), definition(6, "EEE"), trade(6, 2)),
		slices.Concat(start, m, system("gap|schema=trades|from_ts=1|to_ts=2|cause=upstream|records=3"), trade(1, 0), system("instrument=GGG|lot=2"), system("gap|x")),
		slices.Concat(start, m, feed.AppendError(nil, 1, feed.ErrorInternal, "Internal error", true), feed.AppendSystem(nil, 1, feed.SystemHeartbeat, "Heartbeat"), trade(1, 0)[:47]),
		slices.Concat(start, metadataBytes(f, metadataOf(feed.SchemaTrades)), trade(1, 0), quote(1, 1)),
		slices.Concat(start, metadataBytes(f, metadataOf(feed.SchemaTbbo)), quote(1, 1)),
		slices.Concat(start, []byte("DBN\x03\xff\xff\xff\x00")),
		[]byte("instrument=\n"), []byte("\n"), bytes.Repeat([]byte("x"), producerLine+1),
	)
}

// FuzzSubscriberConnection is what follows a subscriber's authentication line.
// Without data on the tapes both servers must answer the same; with, what they
// send must be whole records.
func FuzzSubscriberConnection(f *testing.F) {
	for _, seed := range []string{
		"schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS|start=0|snapshot=0|id=1|is_last=1\nstart_session\n",
		"schema=trades|symbols=AAA,BBB|is_last=0|id=3\nschema=trades|symbols=CCC|id=3|is_last=1\nstart_session=0\n",
		"schema=mbp-1|stype_in=instrument_id|symbols=1,2\nschema=trades|symbols=ALL_SYMBOLS\nstart_session\nschema=mbp-1|symbols=ALL_SYMBOLS|start=5\n",
		"schema=trades|symbols=AAA\nstart_session\nunsubscribe|schema=trades|symbols=AAA\nschema=trades|symbols=AAA\n",
		"schema=trades|symbols=ALL_SYMBOLS|resume=1:5\nstart_session\n", "schema=trades|symbols=ALL_SYMBOLS|resume=9:5\nstart_session\n",
		"nonsense\nschema=trades|symbols=A\nstart_session\n", "schema=mbo|symbols=A|snapshot=1\nstart_session", "start_session\nstart_session\n",
		strings.Repeat("schema=trades|symbols=A|id=1\n", 30) + "start_session\n", strings.Repeat("\n", 50),
		"schema=trades|stype_in=instrument_id|symbols=4294967296\nstart_session\n",
	} {
		f.Add([]byte(seed), []byte{}, false)
		f.Add([]byte(seed), []byte{0, 30}, true)
	}
	login := []byte("auth=x|dataset=" + testDataset + "\n")
	var empty, full fuzzPair
	f.Cleanup(empty.close)
	f.Cleanup(full.close)
	f.Fuzz(func(t *testing.T, text, cuts []byte, data bool) {
		if len(text) > fuzzMost {
			return
		}
		pair, setup := &empty, func(*fuzzServer) {}
		if data {
			pair, setup = &full, func(h *fuzzServer) { fuzzPublish(t, h) }
		}
		pair.next(t, setup)
		from := time.Now()
		b := slices.Concat(login, text)
		whole := heard(t, pair.whole.say(t, b, nil, false))
		pieces := heard(t, pair.pieces.say(t, b, cuts, false))
		if data {
			return // how data and answers mix depends on when the lines come
		}
		to := time.Now()
		if len(whole) != len(pieces) {
			t.Fatalf("at once the subscriber is told %q, in pieces %q", whole, pieces)
		}
		for i := range whole {
			if !bytes.Equal(withoutTimes(whole[i], from, to), withoutTimes(pieces[i], from, to)) {
				t.Fatalf("at once message %d is %q, in pieces %q", i, whole[i], pieces[i])
			}
		}
	})
}

// heard takes what a subscriber is told apart: lines, then metadata and records.
// The end of a replay is told at any place among the answers, so it comes last.
func heard(t testing.TB, out []byte) (messages [][]byte) {
	t.Helper()
	for range 3 { // version, challenge, reply
		line, rest, ok := bytes.Cut(out, []byte("\n"))
		if !ok {
			return append(messages, line)
		}
		if !bytes.HasPrefix(line, []byte("cram=")) {
			messages = append(messages, line)
		}
		out = rest
	}
	if len(out) == 0 {
		return messages
	}
	_, records := decode(t, out)
	messages = append(messages, out[:metadataLength(t, out)])
	var last [][]byte
	for _, r := range records {
		if m, ok := feed.View[feed.SystemMsg](r); ok && m.Code == feed.SystemReplayCompleted {
			last = append(last, r)
			continue
		}
		if schema, ok := feed.SchemaOf(r.RType(), feed.SchemaNone); ok {
			checkWhole(t, schema, r)
		}
		messages = append(messages, r)
	}
	slices.SortFunc(last, bytes.Compare)
	return append(messages, last...)
}

func metadataLength(t testing.TB, b []byte) int {
	n, err := feed.MetadataSize(b)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// FuzzAuthentication is a connection from its first byte: whoever comes, and
// whatever is behind the first line.
func FuzzAuthentication(f *testing.F) {
	for _, seed := range []string{
		"auth=x-abcde|dataset=TEST.WIRE|encoding=dbn|ts_out=1|compression=none|heartbeat_interval_s=30|slow_reader_behavior=skip|position=1|client=a b\nschema=trades|symbols=A\nstart_session\n",
		"dataset=TEST.WIRE|auth=x\r\nstart_session\n", "auth=x|dataset=A\n", "auth=x|dataset=A|encoding=json\n", "auth=x|dataset=A|compression=zstd\n",
		"auth=x|dataset=A|role=producer|producer=p|stream=s|ack=synced|resume=5|heartbeat_interval_s=10\nstart_session\n",
		"auth=x|role=producer|producer=p|stream=s\n", "auth=x|dataset=a/b|role=producer|producer=p|stream=s\n", "\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
		strings.Repeat("a", 5000), "auth=" + strings.Repeat("a", 4090) + "\n", "lsg_version=1\n",
	} {
		f.Add([]byte(seed), []byte{})
		f.Add([]byte(seed), []byte{hurries | 3, 10})
	}
	var pair fuzzPair
	f.Cleanup(pair.close)
	f.Fuzz(func(t *testing.T, b, cuts []byte) {
		if len(b) > fuzzMost {
			return
		}
		pair.next(t, nil)
		whole := pair.whole.say(t, b, nil, false)
		pieces := pair.pieces.say(t, b, cuts, len(cuts) > 0 && cuts[0]&hurries != 0)
		if a, b := replies(whole), replies(pieces); !slices.Equal(a, b) {
			t.Fatalf("at once the client is told %q, in pieces %q", a, b)
		}
	})
}

// replies is what a client was told up to the reply to its authentication.
func replies(out []byte) []string {
	lines := told(out)
	return lines[:min(len(lines), 2)]
}
