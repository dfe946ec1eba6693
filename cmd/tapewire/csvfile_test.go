package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// testdata/csv has a file of made-up records for each schema, and what the encoder of the dbn tool makes of it (databento_dbn's Transcoder to CSV with
// map_symbols, without pretty_px and pretty_ts).
func TestCSVIsThatOfTheDBNTool(t *testing.T) {
	for schema := feed.Schema(0); schema < feed.NumSchemas; schema++ {
		dec, err := feed.OpenFile("testdata/csv/" + schema.String() + ".dbn")
		must(t, err)
		var got bytes.Buffer
		out := newCSV(newDelayedWriter(&got, nil), schema, false)
		must(t, out.Control(mapping(1, "ALFA")))
		must(t, out.Control(mapping(2, `B,"R" X`)))
		must(t, out.Control(mapping(3, "GONE")))
		must(t, out.Control(mapping(3, ""))) // has no name any more
		for rec, err := range dec.Records() {
			must(t, err)
			must(t, out.Data(rec))
		}
		must(t, out.Close())
		dec.Close()
		want, err := os.ReadFile("testdata/csv/" + schema.String() + ".csv")
		must(t, err)
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\ngot  %s\nwant %s", schema, got.Bytes(), want)
		}
	}
}

func TestCSVWithoutRecordsHasItsHeader(t *testing.T) {
	var got bytes.Buffer
	must(t, newCSV(newDelayedWriter(&got, nil), feed.SchemaOhlcv1s, false).Close())
	if want := "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}
