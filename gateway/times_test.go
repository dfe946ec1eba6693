package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapewire/tapewire/feed"
)

// publishWith publishes records with a producer of the test's making.
func publishWith(t *testing.T, s *Server, cfg feed.ProducerConfig, meta feed.Metadata, records ...feed.Record) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cfg.Addr, cfg.Key, cfg.Dataset = s.Addr().String(), testKey, meta.Dataset
	p, err := feed.DialProducer(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(meta); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(records...); err != nil {
		return err
	}
	return p.Close(ctx)
}

// plain makes a record of any schema with its times and nothing else.
func plain(s feed.Schema, event, recv uint64) feed.Record {
	r := make(feed.Record, s.RecordSize())
	r[0], r[1] = byte(len(r)/4), byte(s.RType())
	binary.LittleEndian.PutUint64(r[8:], event)
	if off := s.TsRecvOffset(); off >= 0 {
		binary.LittleEndian.PutUint64(r[off:], recv)
	}
	return r
}

// TestRecordWithoutTheTimeThatItsReplayGoesByIsRefused, and only where the schema's clock needs it: samples of a book without a trade have no ts_event,
// nor have some venues' definitions.
func TestRecordWithoutTheTimeThatItsReplayGoesByIsRefused(t *testing.T) {
	s := serveTest(t)
	for schema := range feed.Schema(feed.NumSchemas) {
		for name, event := range map[string]uint64{"0": 0, "undefined": feed.UndefTimestamp} {
			meta := metadataOf(schema)
			meta.Dataset = fmt.Sprintf("T%d.%s", schema, strings.ToUpper(name[:1]))
			good := plain(schema, eventTime(0), eventTime(0))
			err := publishWith(t, s, feed.ProducerConfig{Name: "p", Stream: "s"}, meta, good, plain(schema, event, eventTime(1)), good)
			want, tail := "", uint64(3)
			if schema.ReplayClock() == feed.ClockEvent {
				want, tail = "bad_time", 1
			}
			if (err != nil) != (want != "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name)) {
				t.Errorf("%s with ts_event %s: %v", schema, name, err)
			}
			if got := s.journal.Lookup(meta.Dataset).Tape(schema).Tail(); got != tail {
				t.Errorf("%s with ts_event %s: %d records are kept, want %d", schema, name, got, tail)
			}
			if off := schema.FlagsOffset(); off >= 0 { // a snapshot's counts by ts_recv
				snapshot := plain(schema, event, eventTime(2))
				snapshot[off] = byte(feed.FlagSnapshot)
				if err := publishWith(t, s, feed.ProducerConfig{Name: "p2", Stream: "s"}, meta, snapshot); err != nil {
					t.Errorf("snapshot of %s with ts_event %s: %v", schema, name, err)
				}
			}
		}
	}
}

// TestNoRealFileIsRefusedForItsTimes runs every file there is through.
func TestNoRealFileIsRefusedForItsTimes(t *testing.T) {
	const dir = "../../shared/data/dbn"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the real data is not there: %v", err)
	}
	s := serveTest(t)
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "/lean/") { // whose millions are trades and quotes with times
			return err
		}
		if info, err := e.Info(); err != nil || testing.Short() && info.Size() > 4<<10 {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(path, ".zst") {
			z, err := zstd.NewReader(f)
			if err != nil {
				return err
			}
			defer z.Close()
			r = z
		}
		dec, err := feed.NewDecoder(r)
		if err != nil {
			return nil // a fragment, or no DBN
		}
		var records []feed.Record
		for rec, err := range dec.Records() {
			if err != nil {
				break
			}
			if !rec.RType().IsControl() && len(records) < 10_000 {
				records = append(records, bytes.Clone(rec))
			}
		}
		if len(records) == 0 {
			return nil
		}
		files++
		meta := metadataOf(dec.Metadata().Schema)
		meta.Dataset = fmt.Sprintf("FILE.%d", files)
		if err := publishWith(t, s, feed.ProducerConfig{Name: "p", Stream: "s", KeepTsRecv: true}, meta, records...); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestFilesUndefinedReceiptStaysAndALiveOnesIsStamped: the time of receipt of a file is not when it was published.
func TestFilesUndefinedReceiptStaysAndALiveOnesIsStamped(t *testing.T) {
	s := serveTest(t)
	for keep, dataset := range map[bool]string{true: "KEEP.IT", false: "STAMP.IT"} {
		meta := metadataOf(feed.SchemaTrades)
		meta.Dataset = dataset
		before := uint64(time.Now().UnixNano())
		if err := publishWith(t, s, feed.ProducerConfig{Name: "p", Stream: "s", KeepTsRecv: keep}, meta, plain(feed.SchemaTrades, eventTime(0), feed.UndefTimestamp)); err != nil {
			t.Fatal(err)
		}
		seg, err := s.journal.Lookup(dataset).Tape(feed.SchemaTrades).Segment(0)
		if err != nil {
			t.Fatal(err)
		}
		got := feed.Record(seg.Mapped(0, 1)).TsRecv()
		seg.Release()
		if undefined := got == feed.UndefTimestamp; undefined != keep || !keep && (got < before || got > uint64(time.Now().UnixNano())) {
			t.Errorf("ts_recv=keep %v: ts_recv is %s", keep, feed.FormatTime(got))
		}
	}
}

// TestStartNowDeliversNothingOldBehindAFutureStamp: one clock of 2055 in a day of records. A simulation that means it is sought like any other.
func TestStartNowDeliversNothingOldBehindAFutureStamp(t *testing.T) {
	s := serveTest(t)
	const n, bad = 5000, 100
	far := uint64(time.Date(2055, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	day := make([]feed.Record, n)
	for i := range day {
		day[i] = trade(1, i)
	}
	binary.LittleEndian.PutUint64(day[bad][8:], far)
	if err := publishWith(t, s, feed.ProducerConfig{Name: "p", Stream: "s"}, metadataOf(feed.SchemaTrades), day...); err != nil {
		t.Fatal(err)
	}
	tape := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades)
	for _, c := range []struct{ start, want uint64 }{{eventTime(1000), 1000}, {eventTime(bad), bad + 1}, {uint64(time.Now().UnixNano()), n}, {far, n}} {
		if got, err := tape.Seek(feed.ClockReplay, c.start); err != nil || got != c.want {
			t.Errorf("start=%s begins with record %d, %v, want %d", feed.FormatTime(c.start), got, err, c.want)
		}
	}
	var b bytes.Buffer
	s.metrics.write(&b)
	if want := fmt.Sprintf("tapewire_outlier_records_total{dataset=%q,schema=\"trades\"} 1\n", testDataset); !strings.Contains(b.String(), want) {
		t.Errorf("the metrics lack %q", want)
	}
	meta := metadataOf(feed.SchemaTrades)
	meta.Dataset = "SIM.ONE"
	for i := range day {
		binary.LittleEndian.PutUint64(day[i][8:], far+uint64(i))
	}
	if err := publishWith(t, s, feed.ProducerConfig{Name: "p", Stream: "s", Future: true}, meta, day...); err != nil {
		t.Fatal(err)
	}
	if got, err := s.journal.Lookup("SIM.ONE").Tape(feed.SchemaTrades).Seek(feed.ClockReplay, far+1234); err != nil || got != 1234 {
		t.Errorf("the simulation's start finds record %d, %v", got, err)
	}
}
