package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// scrapeOfEverything is /metrics of a gateway that has some of each: TLS, a dataset
// that is not served, producers here and gone, a subscriber, a gap, retention by disk.
func scrapeOfEverything(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "HURT"), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir, journal.Options{AnyFilesystem: true, Retain: journal.Retention{Disk: 99}})
	if err != nil {
		t.Fatal(err)
	}
	_, secure := securedBy(t)
	cfg := Config{Version: "v1, of a test"}
	secure(&cfg)
	s := serveJournal(t, j, cfg)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 10)...)
	c := dialRaw(t, s)
	c.produce("1")
	c.begin(metadataOf(feed.SchemaTrades), trade(1, 11))
	c.await("ack=")
	sdkSubscribe(t, s, feed.Subscription{Schema: feed.SchemaTrades})
	eventually(t, "the session shows its cursor", func() bool { return strings.Contains(scrape(s), "tapewire_session_lag_records{") })
	return scrape(s)
}

// A desk alerts on an adapter by its name: it must see one that is gone, also one that
// did not come back after a restart, and how much each brought.
func TestMetricsNameProducersThatAreGone(t *testing.T) {
	dir := t.TempDir()
	s, j := serveOnce(t, dir)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 10)...)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 15)[10:]...) // goes on: two sessions of one name
	c := dialRaw(t, s)
	c.produce("1")
	c.begin(metadataOf(feed.SchemaTrades), trade(1, 20), trade(1, 21))
	c.await("ack=2|")
	gone, raw := fmt.Sprintf(`{dataset=%q,producer="producer-a"} `, testDataset), fmt.Sprintf(`{dataset=%q,producer="raw"} `, testDataset)
	eventually(t, "the first producer is gone", func() bool { return strings.Contains(scrape(s), "tapewire_producer_connected"+gone+"0\n") })
	wantMetrics(t, s, "tapewire_producer_records_total"+gone+"15\n", "tapewire_producer_seconds_since_last_record"+gone,
		"tapewire_producer_connected"+raw+"1\n", "tapewire_producer_records_total"+raw+"2\n", "tapewire_producer_accepted_records"+raw+"2\n",
		"tapewire_producer_seconds_since_last_record"+raw, fmt.Sprintf("tapewire_producers{dataset=%q} 1\n", testDataset))
	c.conn.Close()
	stopOnce(t, s, j)

	s = serveDir(t, dir)
	wantMetrics(t, s, "tapewire_producer_connected"+gone+"0\n", "tapewire_producer_connected"+raw+"0\n", "tapewire_producer_records_total"+raw+"0\n",
		fmt.Sprintf("tapewire_producers{dataset=%q} 0\n", testDataset), fmt.Sprintf(`tapewire_seconds_since_last_record{dataset=%q,schema="trades"} `, testDataset))
	if strings.Contains(scrape(s), "tapewire_producer_seconds_since_last_record"+raw) {
		t.Error("a producer that sent nothing yet has an age")
	}
}

// Clients choose their names: they must not be able to make any number of series.
func TestProducersThatAreShownAreBounded(t *testing.T) {
	var ts tallies
	for i := range maxProducersShown {
		p := namedProducer(fmt.Sprint(i))
		ts.arrived(p)
		if i != 7 {
			ts.of[producerKey{testDataset, fmt.Sprint(i)}].session = nil // it left at time 0
		}
	}
	ts.of[producerKey{testDataset, "3"}].left = -time.Second
	ts.arrived(namedProducer("one more"))
	if len(ts.of) != maxProducersShown {
		t.Errorf("%d names are shown", len(ts.of))
	}
	for name, want := range map[string]bool{"one more": true, "7": true, "3": false} {
		if ts.of[producerKey{testDataset, name}] != nil != want {
			t.Errorf("%s is shown: %v", name, !want)
		}
	}
	for key, tally := range ts.of {
		tally.session = namedProducer(key.name)
	}
	ts.arrived(namedProducer("too many")) // all are connected: it has no line of its own
	if len(ts.of) != maxProducersShown || ts.of[producerKey{testDataset, "too many"}] != nil {
		t.Error("a name beyond the bound is shown, or took the place of one that is connected")
	}
}

func namedProducer(name string) *producer {
	p := &producer{}
	p.req.Dataset, p.req.Producer = testDataset, name
	return p
}

// Who misses records must see it by the cause, in the dataset that it concerns, and
// have a line to compare with before the first gap comes.
func TestMetricsCountGapsByCause(t *testing.T) {
	s := serveTest(t)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 10)...)
	of := func(cause string) string { return fmt.Sprintf("{dataset=%q,cause=%q} ", testDataset, cause) }
	wantMetrics(t, s, "tapewire_gaps_entered_total"+of("upstream")+"0\n", "tapewire_ledger_gaps"+of("cut")+"0\n")
	w, err := s.journal.Lookup(testDataset).OpenWriter(journal.WriterOptions{Producer: "p", Stream: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, g := range []journal.Gap{
		{Schema: feed.SchemaTrades, Cause: journal.CauseUpstream, Records: 5},
		{Schema: feed.SchemaTrades, Cause: journal.CauseUpstream, Records: 6}, // at the same place: one entry
		{Schema: feed.SchemaTrades, Cause: "a_word_of_its_own"},
	} {
		if err := w.Gap(g); err != nil {
			t.Fatal(err)
		}
	}
	wantMetrics(t, s, "tapewire_gaps_entered_total"+of("upstream")+"2\n", "tapewire_ledger_gaps"+of("upstream")+"2\n", "tapewire_ledger_gap_records"+of("upstream")+"11\n",
		"tapewire_gaps_entered_total"+of("other")+"1\n", "tapewire_ledger_gaps"+of("other")+"1\n")
	if strings.Contains(scrape(s), "a_word_of_its_own") {
		t.Error("a producer's own word became a label")
	}
}

// Who looks at the disk must see it before retention, or a full disk, takes records away.
func TestMetricsTellHowFullTheDiskIs(t *testing.T) {
	disk := journal.NewMemDisk()
	j, err := journal.Open("/data", journal.Options{Disk: disk, MinSegment: 64 << 10, MaxSegment: 64 << 10, Retain: journal.Retention{Disk: 50}})
	if err != nil {
		t.Fatal(err)
	}
	s := serveJournal(t, j, Config{SendPath: SendWrite})
	publish(t, s, "a", metadataOf(feed.SchemaTrades), trades(1, 3000)...) // more than two segments
	const size = 1 << 30
	disk.Limit(size)
	used := disk.Used()
	wantMetrics(t, s, fmt.Sprintf("tapewire_disk_size_bytes %d\n", size), "tapewire_disk_free_bytes ", "tapewire_retain_disk_ratio ")
	if got, want := s.journal.Lookup(testDataset).DiskBytes(), int64(3000*feed.SchemaTrades.RecordSize()); got < want || got > used {
		t.Errorf("the dataset's segments take %d bytes, its records %d and all files %d", got, want, used)
	}
	if got, want := valueOf(t, s, "tapewire_retain_disk_ratio"), 2*float64(used)/size; got < want*0.9 || got > want*1.5 {
		t.Errorf("%v of what retention allows is in use, want about %v", got, want)
	}
}

// Who replays must see how far back the tape reaches, also once its first records have expired.
func TestMetricsTellTheOldestKeptRecord(t *testing.T) {
	j, err := journal.Open(t.TempDir(), journal.Options{
		MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Interval: time.Millisecond}, Retain: journal.Retention{Age: time.Nanosecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serveJournal(t, j, Config{})
	name := fmt.Sprintf(`tapewire_oldest_record_timestamp_seconds{dataset=%q,schema="trades"}`, testDataset)
	all := trades(1, 20_000)
	publish(t, s, "a", metadataOf(feed.SchemaTrades), all[:10]...)
	if got, want := valueOf(t, s, name), float64(feed.Record(all[0]).IndexTime())/1e9; got != want {
		t.Errorf("the oldest record is of %v, want %v", got, want)
	}
	publish(t, s, "a", metadataOf(feed.SchemaTrades), all[10:]...)
	tape := s.journal.Lookup(testDataset).Tape(feed.SchemaTrades)
	eventually(t, "records expire, and the metric is that of the first that is kept", func() bool {
		first := tape.First()
		return first > 0 && first < tape.Tail() && tape.First() == first && valueOf(t, s, name) == float64(feed.Record(all[first]).IndexTime())/1e9
	})
}

// serveOnce serves a directory until stopOnce.
func serveOnce(t *testing.T, dir string) (*Server, *journal.Journal) {
	t.Helper()
	j, err := journal.Open(dir, journal.Options{AnyFilesystem: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(j, Config{Listen: "127.0.0.1:0"})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, j
}

func stopOnce(t *testing.T, s *Server, j *journal.Journal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantMetrics(t *testing.T, s *Server, want ...string) {
	t.Helper()
	page := scrape(s)
	for _, w := range want {
		if !strings.Contains(page, "\n"+w) {
			t.Errorf("the metrics lack %q", w)
		}
	}
}

// valueOf is the value of a sample; -1: there is none.
func valueOf(t *testing.T, s *Server, name string) float64 {
	t.Helper()
	for line := range strings.Lines(scrape(s)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return -1
}
