package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

const splitSeedEnv = "TAPEWIRE_SPLIT_SEED"

func tapeBytes(t *testing.T, tape *journal.Tape) (all []byte) {
	t.Helper()
	for seq := tape.First(); seq < tape.Tail(); {
		seg, err := tape.Segment(seq)
		if err != nil {
			t.Fatal(err)
		}
		end := min(seg.Limit(), tape.Tail())
		b := make([]byte, int(end-seq)*tape.RecordSize())
		if _, err := seg.ReadAt(b, seg.Offset(seq)); err != nil {
			t.Fatal(err)
		}
		seg.Release()
		all, seq = append(all, b...), end
	}
	return all
}

// mixed makes n records of two schemas as m says they are sent, with control
// records in between, and the bytes that each tape must have.
func mixed(rng *rand.Rand, m feed.Metadata, n int) (sent, trades, quotes []byte) {
	add := func(r []byte) {
		if m.TsOut {
			sent = feed.AppendWithTsOut(sent, r, 77)
		} else {
			sent = append(sent, r...)
		}
	}
	for i := range n {
		if rng.IntN(2) == 0 {
			trades = append(trades, trade(1, i)...)
			add(trade(1, i))
		} else {
			quotes = append(quotes, quote(1, i)...)
			add(quote(1, i))
		}
		if m.Version > 1 && rng.IntN(50) == 0 {
			add(feed.AppendSystem(nil, 1, feed.SystemHeartbeat, "Heartbeat"))
		}
	}
	return sent, trades, quotes
}

// Pieces of any size, several schemas, each kind of input, and waits for the
// journal at any place: the tapes hold exactly what was sent, once.
func TestRandomSplitsAreTheSameTape(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv(splitSeedEnv), 10, 64); err == nil {
		seed = n
	}
	t.Logf("repeat with: %s=%d go test -run '^%s$' ./gateway", splitSeedEnv, seed, t.Name())
	s, _ := serveMemory(t, time.Millisecond) // the smallest segments: many waits
	inputs := []struct {
		name    string
		version uint8
		tsOut   bool
	}{{"V3", 3, false}, {"V3.TS", 3, true}, {"V2", 2, false}, {"V1.TS", 1, true}}
	const n, repeats = 6000, 3
	for i, in := range inputs {
		for repeat := range repeats {
			dataset := fmt.Sprintf("%s.%d", in.name, repeat)
			t.Run(dataset, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(i*repeats+repeat)))
				m := metadataOf(feed.SchemaNone)
				m.Dataset, m.Version, m.TsOut = dataset, in.version, in.tsOut
				sent, trades, quotes := mixed(rng, m, n)
				p := dialRaw(t, s)
				p.produceAs(dataset, "p", "1")
				go func() {
					for b := bytes.Join([][]byte{[]byte("start_session\n"), metadataBytes(t, m), sent}, nil); len(b) > 0; {
						k := min(len(b), 1+rng.IntN(1<<rng.IntN(15)))
						if _, err := p.conn.Write(b[:k]); err != nil {
							return // the reader says why
						}
						b = b[k:]
					}
				}()
				for _, line := range p.await(fmt.Sprintf("ack=%d|", n)) {
					if !strings.HasPrefix(line, "ack=") {
						t.Errorf("the producer is told %q", line)
					}
				}
				d := s.journal.Lookup(dataset)
				if !bytes.Equal(tapeBytes(t, d.Tape(feed.SchemaTrades)), trades) || !bytes.Equal(tapeBytes(t, d.Tape(feed.SchemaMbp1)), quotes) {
					t.Error("the tapes are not what was sent")
				}
			})
		}
	}
}

// sealedRecords is how many records the sealed tapes of the test below hold;
// every third is a trade, and the instruments take turns.
const sealedRecords, sealedInstruments = 12_000, 5

// Segments that were sealed long ago are not mapped and are read in other ways:
// on each send path, filtered, merged and stamped, they give the same records.
func TestSealedSegmentsAreReplayedWholeOnEachPath(t *testing.T) {
	dir := t.TempDir()
	open := func() *journal.Journal {
		j, err := journal.Open(dir, journal.Options{AnyFilesystem: true, RetryInterval: time.Millisecond, MinSegment: 64 << 10, MaxSegment: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	t.Run("publish", func(t *testing.T) {
		s := serveJournal(t, open(), Config{})
		var trades, quotes [][]byte
		for i := range sealedRecords {
			if id := uint32(i % sealedInstruments); i%3 == 0 {
				trades = append(trades, trade(id, i))
			} else {
				quotes = append(quotes, quote(id, i))
			}
		}
		publish(t, s, "t", metadataOf(feed.SchemaTrades), trades...)
		publish(t, s, "q", metadataOf(feed.SchemaMbp1), quotes...)
	})
	for _, path := range []SendPath{SendWrite, SendCopy, SendSendfile, SendSplice} {
		t.Run(fmt.Sprint(path), func(t *testing.T) {
			s := serveJournal(t, open(), Config{SendPath: path})
			for _, tsOut := range []string{"0", "1"} {
				for _, filtered := range []bool{false, true} {
					for _, schemas := range [][]string{{"trades"}, {"mbp-1"}, {"trades", "mbp-1"}} {
						replaySealed(t, s, tsOut, filtered, schemas)
					}
				}
			}
		})
	}
}

// replaySealed replays from the eleventh record on and checks which records come.
func replaySealed(t *testing.T, s *Server, tsOut string, filtered bool, schemas []string) {
	t.Helper()
	c := dialRaw(t, s)
	defer c.conn.Close()
	c.auth(testKey, "dataset="+testDataset+"|ts_out="+tsOut)
	symbols := "symbols=ALL_SYMBOLS"
	if filtered {
		symbols = "stype_in=instrument_id|symbols=2"
	}
	const from = 10
	for _, schema := range schemas {
		c.send(fmt.Sprintf("schema=%s|%s|start=%d\n", schema, symbols, eventTime(from)))
	}
	c.send("start_session\n")
	c.pass(128)
	var want []int
	for i := from; i < sealedRecords; i++ {
		if (len(schemas) == 2 || (i%3 == 0) == (schemas[0] == "trades")) && (!filtered || i%sealedInstruments == 2) {
			want = append(want, i)
		}
	}
	buf := make([]byte, feed.MaxRecordSize+8)
	for got, finished := 0, 0; finished < len(schemas) || got < len(want); {
		switch r := c.next(buf); r.RType() {
		case feed.RTypeMbp0, feed.RTypeMbp1:
			if got == len(want) || sequence(r) != want[got] {
				t.Fatalf("ts_out=%s %s %v: the record after %d others is %d", tsOut, symbols, schemas, got, sequence(r))
			}
			got++
		case feed.RTypeSystem:
			if bytes.Contains(r, []byte("Finished")) {
				finished++
			}
		}
	}
}
