package synth

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

var update = flag.Bool("update", false, "write the files of testdata at the repository's root instead of comparing with them")

// goldenStart is 2026-01-05 14:30 UTC in ns.
const goldenStart = 1_767_623_400_000_000_000

// goldenFiles are small files of our own in the ecosystem's format, for tests and for trying things out:
//
//	go test ./feed/synth -run Golden -update
func goldenFiles(t *testing.T) map[string][]byte {
	t.Helper()
	m, err := NewMarket(1, Options{Start: goldenStart, PublisherID: 1}, Instruments()...)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"trades.dbn":  goldenFile(t, feed.SchemaTrades, m.AppendRecords(nil, feed.SchemaTrades, 100)),
		"mbp-1.dbn":   goldenFile(t, feed.SchemaMbp1, m.AppendRecords(nil, feed.SchemaMbp1, 100)),
		"session.dbn": append(goldenFile(t, feed.SchemaNone, nil), goldenSession(m)...),
	}
}

// goldenFile is metadata as a historical file has it, with every symbol mapped to its id, and records. Of no schema, it is
// the metadata of a live session.
func goldenFile(t *testing.T, schema feed.Schema, records []byte) []byte {
	t.Helper()
	m := feed.Metadata{Version: feed.Version, Dataset: "DEMO.SYNTH", Schema: schema, Start: goldenStart, End: feed.UndefTimestamp, StypeIn: feed.STypeNone}
	if schema != feed.SchemaNone {
		m.End, m.StypeIn, m.StypeOut = goldenStart+uint64(24*time.Hour), feed.STypeRawSymbol, feed.STypeInstrumentID
		for _, i := range Instruments() {
			m.Symbols = append(m.Symbols, i.Symbol)
			m.Mappings = append(m.Mappings, feed.SymbolMapping{RawSymbol: i.Symbol, Intervals: []feed.MappingInterval{
				{StartDate: 20260105, EndDate: 20260106, Symbol: strconv.Itoa(int(i.ID))}}})
		}
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, records...)
}

// goldenSession is what a live session brings: an acknowledgement, mappings, records of two schemas and a heartbeat.
func goldenSession(m *Market) []byte {
	b := feed.AppendSystem(nil, goldenStart, feed.SystemSubscriptionAck, "Subscription request 0 for trades data succeeded")
	for _, i := range Instruments() {
		b = feed.AppendSymbolMapping(b, feed.SymbolMappingFields{InstrumentID: i.ID, TsEvent: goldenStart, StypeIn: feed.STypeRawSymbol, InSymbol: i.Symbol,
			StypeOut: feed.STypeRawSymbol, OutSymbol: i.Symbol, StartTs: feed.UndefTimestamp, EndTs: feed.UndefTimestamp})
	}
	for range 20 {
		quote, trade := m.Next()
		b = append(b, feed.Bytes(quote)...)
		if trade != nil {
			b = append(b, feed.Bytes(trade)...)
		}
	}
	return feed.AppendSystem(b, goldenStart+uint64(time.Minute), feed.SystemHeartbeat, "Heartbeat")
}

// A byte that changes in these files has changed the format, or the market, for everyone.
func TestGoldenFilesAreWhatIsWritten(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata")
	for name, want := range goldenFiles(t) {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, and %d are written now, which differ", name, len(got), len(want))
		}
		d, err := feed.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range d.Records() {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if s, ok := feed.SchemaOf(r.RType(), d.Metadata().Schema); !ok && !r.RType().IsControl() || ok && d.Metadata().Schema != feed.SchemaNone && s != d.Metadata().Schema {
				t.Errorf("%s: a record of type %v", name, r.RType())
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
