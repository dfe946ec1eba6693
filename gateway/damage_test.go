package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

const damagedTrades = 20_000

// damagedJournal is a tape over many sealed files of which one has a flipped bit and one is gone.
func damagedJournal(t *testing.T, gone string) *journal.Journal {
	t.Helper()
	dir := t.TempDir()
	o := journal.Options{MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Each: true}}
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(j, Config{Listen: "127.0.0.1:0", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, damagedTrades)...)
	files := filepath.Join(dir, testDataset, "trades")
	eventually(t, "files are sealed", func() bool {
		names, _ := filepath.Glob(filepath.Join(files, "*.dbn"))
		return len(names) >= 10
	})
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	third := filepath.Join(files, "00000003.dbn")
	b, err := os.ReadFile(third)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(third, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(files, gone)); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Open(dir, o); err != nil {
		t.Fatal(err)
	}
	return j
}

// Damage on disk costs the records it hit and nothing else: every kind of session
// is told how many are missing, and goes on behind them.
func TestDamagedRecordsAreToldCountedAndPassedOverByEverySession(t *testing.T) {
	j := damagedJournal(t, "00000006.dbn")
	s := serveJournal(t, j, Config{Logger: zap.NewNop()})
	for name, fields := range map[string][2]string{
		"zero copy": {"", "symbols=ALL_SYMBOLS"},
		"ts_out":    {"|ts_out=1", "symbols=ALL_SYMBOLS"},
		"a filter":  {"", "stype_in=instrument_id|symbols=1,2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, s)
			c.auth(testKey, "dataset="+testDataset+fields[0])
			c.send("schema=trades|" + fields[1] + "|start=0\nstart_session\n")
			c.pass(128)
			got, gaps := readDamaged(t, c, damagedTrades)
			lost := uint64(0)
			for _, g := range gaps {
				lost += g.Records
			}
			if len(gaps) != 2 || gaps[0].Cause != journal.CauseDamaged || lost+uint64(got) != damagedTrades || lost > 2*(64<<10)/48 {
				t.Errorf("%d records and the gaps %+v of %d", got, gaps, damagedTrades)
			}
		})
	}
	tape := j.Lookup(testDataset).Tape(feed.SchemaTrades)
	if holes := tape.Holes(); len(holes) != 2 {
		t.Errorf("holes: %v", holes)
	}
	if n := s.metrics.damaged.Get(); n == 0 {
		t.Error("no damaged record was counted")
	}
}

// What a tape lacks before its first record is told once, and of it what the session lacks, wherever in it that goes on.
func TestALostBeginningIsToldOnceToWhoGoesOnInsideIt(t *testing.T) {
	j := damagedJournal(t, "00000001.dbn")
	s := serveJournal(t, j, Config{Logger: zap.NewNop()})
	d := j.Lookup(testDataset)
	first := d.Tape(feed.SchemaTrades).First()
	for start, lost := range map[string]uint64{
		"start=0":                                       first,
		fmt.Sprintf("resume=%d:0", d.Epoch()):           first,
		fmt.Sprintf("resume=%d:100", d.Epoch()):         first - 100,
		fmt.Sprintf("resume=%d:%d", d.Epoch(), first):   0,
		fmt.Sprintf("resume=%d:%d", d.Epoch(), first+1): 0,
	} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|symbols=ALL_SYMBOLS|" + start + "\nstart_session\n")
		c.pass(128)
		told, buf := uint64(0), make([]byte, 1024)
		for r := c.next(buf); r.RType() != feed.RTypeMbp0; r = c.next(buf) {
			if g, err := lsg.ParseGap(strings.TrimLeft(systemText(r), "0123456789 ")); err == nil {
				told += g.Records
			}
		}
		if told != lost || first == 0 {
			t.Errorf("%s: %d records are told as lost, want %d", start, told, lost)
		}
	}
}

// readDamaged reads trades up to the last one: in order, each whole, and missing only where a gap was told just before.
func readDamaged(t *testing.T, c *rawClient, all int) (got int, gaps []lsg.Gap) {
	t.Helper()
	next, buf := 0, make([]byte, 1024)
	for next < all {
		r := c.next(buf)
		if text := systemText(r); text != "" {
			if g, err := lsg.ParseGap(strings.TrimLeft(text, "0123456789 ")); err == nil {
				gaps = append(gaps, g)
				next += int(g.Records)
			}
			continue
		}
		if r.RType() != feed.RTypeMbp0 {
			continue
		}
		if n := sequence(r); n != next || string(r[:48]) != stamped(trade(1, n), r) {
			t.Fatalf("record %d comes where %d is next, after gaps %+v", n, next, gaps)
		}
		next++
		got++
	}
	return got, gaps
}

// stamped is b with the length that r says: a ts_out makes it longer.
func stamped(b []byte, r feed.Record) string {
	b[0] = r[0]
	return string(b)
}

// One damaged dataset, or one of a later version, is refused by name, to producers and to subscribers; the others are served.
func TestADamagedDatasetIsRefusedByNameAndOthersAreServed(t *testing.T) {
	later := binary.LittleEndian.AppendUint32([]byte("TWSTREAM"), 99)
	later = binary.LittleEndian.AppendUint32(later, crc32.Checksum(later, crc32.MakeTable(crc32.Castagnoli)))
	never := []byte("this was never ours")
	refuseDataset(t, map[string][]byte{"state": never, "sync.log": never}, "damaged", "neither the state page (journal is damaged")
	refuseDataset(t, map[string][]byte{"streams.log": later}, "of another version of tapewire", "file format version not known")
}

// refuseDataset has files in place of a dataset's.
func refuseDataset(t *testing.T, files map[string][]byte, subscriber, producer string) {
	t.Helper()
	dir := t.TempDir()
	s := serveDir(t, dir)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, 10)...)
	other := metadataOf(feed.SchemaTrades)
	other.Dataset = "OTHER"
	publish(t, s, "1", other, trades(1, 10)...)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.journal.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, testDataset, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = serveDir(t, dir)
	publish(t, s, "2", other, trades(1, 10)...)
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	_, records := c.records()
	failure, ok := feed.View[feed.ErrorMsg](records[len(records)-1])
	if !ok || failure.Code != feed.ErrorInternal || !strings.HasPrefix(failure.Text(), "dataset "+testDataset+" is "+subscriber) {
		t.Errorf("a subscriber of a dataset that is %s gets %v", subscriber, records)
	}
	p := dialRaw(t, s)
	if reply := p.produce("1"); !strings.HasPrefix(reply, "success=0|") || !strings.Contains(reply, "dataset "+testDataset+": "+producer) {
		t.Errorf("a producer to a dataset that is %s gets %q", subscriber, reply)
	}
}

// Without streams.log nobody knows what a producer has sent: it is refused for good, an operator is told, and readers miss nothing. So it is where something else
// stands in its place, which does not pass by itself either.
func TestDatasetWithoutItsStreamsServesReadersAndRefusesProducers(t *testing.T) {
	for what, place := range map[string]func(path string) error{
		"gone":             func(string) error { return nil },
		"a directory":      func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to itself": func(path string) error { return os.Symlink(path, path) },
		"a pipe":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(what, func(t *testing.T) { withoutStreams(t, place) })
	}
}

func withoutStreams(t *testing.T, place func(path string) error) {
	dir := t.TempDir()
	s := serveDir(t, dir)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, 10)...)
	streams := filepath.Join(dir, testDataset, "streams.log")
	if err := errors.Join(s.Shutdown(t.Context()), s.journal.Close(), os.Remove(streams), place(streams)); err != nil {
		t.Fatal(err)
	}
	s = serveDir(t, dir)
	const remedy = "back from a backup and start again, or publish to another dataset"
	p := dialRaw(t, s)
	if reply := p.produce("1"); !strings.HasPrefix(reply, "success=0|") || !strings.Contains(reply, remedy) {
		t.Errorf("a producer gets %q", reply)
	}
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "dataset "+testDataset+" takes no records") || !strings.Contains(err.Error(), remedy) {
		t.Errorf("ready: %v", err)
	}
	c := dialRaw(t, s)
	c.auth(testKey, "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	c.pass(128)
	if got, gaps := readDamaged(t, c, 10); got != 10 || len(gaps) > 0 {
		t.Errorf("a reader gets %d records, gaps %+v", got, gaps)
	}
}

// A disk that does not give some records back costs those: the session is told, and goes on.
func TestAReadErrorOfTheDiskCostsWhatItHitAndNoSession(t *testing.T) {
	const all = 10_000
	s, disk := serveMemory(t, time.Millisecond)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, all)...)
	d := s.journal.Lookup(testDataset)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	third := path.Join("/data", testDataset, "trades", "00000003.dbn")
	eventually(t, "the third segment is sealed", func() bool {
		_, err := disk.Open(third, true)
		return err == nil
	})
	disk.Fault(func(op, path string) error {
		if op == "read" && path == third {
			return syscall.EIO
		}
		return nil
	})
	for _, fields := range []string{"symbols=ALL_SYMBOLS", "stype_in=instrument_id|symbols=1"} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|" + fields + "|start=0\nstart_session\n")
		c.pass(128)
		if got, gaps := readDamaged(t, c, all); len(gaps) == 0 || got < all-(64<<10)/48 {
			t.Errorf("%s: %d records and gaps %+v", fields, got, gaps)
		}
	}
}

// Somebody cuts the file that is being written: who reads it is told what is gone, the
// dataset takes no more, and the process and all others go on.
func TestACutSegmentCostsItsRecordsAndNotTheGateway(t *testing.T) {
	dir := t.TempDir()
	s := serveDir(t, dir)
	publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, 5000)...)
	other := metadataOf(feed.SchemaTrades)
	other.Dataset = "OTHER"
	publish(t, s, "1", other, trades(1, 10)...)
	if err := os.Truncate(filepath.Join(dir, testDataset, "trades", "00000001.tape"), 8192); err != nil {
		t.Fatal(err)
	}
	for _, fields := range []string{"symbols=ALL_SYMBOLS", "stype_in=instrument_id|symbols=1"} {
		c := dialRaw(t, s)
		c.auth(testKey, "dataset="+testDataset)
		c.send("schema=trades|" + fields + "|start=0\nstart_session\n")
		c.pass(128)
		if got, gaps := readDamaged(t, c, 5000); len(gaps) != 1 || gaps[0].Cause != journal.CauseDamaged || got != (8192-4096)/48 {
			t.Errorf("%s: %d records of a tape that was cut, gaps %+v", fields, got, gaps)
		}
	}
	publish(t, s, "2", other, trades(1, 10)...)
	if tail := s.journal.Lookup("OTHER").Tape(feed.SchemaTrades).Tail(); tail != 20 {
		t.Errorf("another dataset has %d records, want 20", tail)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.journal.Close(); err != nil && !errors.Is(err, journal.ErrSyncFailed) { // its last sync reads what is gone
		t.Error(err)
	}
}
