package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// Files that somebody takes away or cuts while the gateway runs cost their records and nothing else: every session is told how many, in one piece, goes
// on behind them, and has all of them when they are back and the gateway has started again.
func TestFilesTakenAwayBesideARunningGatewayAreToldAndPassedOver(t *testing.T) {
	const fileRecords = (64<<10 - 4096) / 48
	remove := func(files, keep string) error {
		return errors.Join(os.Rename(filepath.Join(files, "00000003.dbn"), filepath.Join(keep, "00000003.dbn")),
			os.Rename(filepath.Join(files, "00000004.dbn"), filepath.Join(keep, "00000004.dbn")))
	}
	for name, c := range map[string]struct {
		hurt  func(files, keep string) error
		first int
		lost  int
	}{
		"two files removed": {remove, 2 * fileRecords, 2 * fileRecords},
		"two files and their indexes removed": {func(files, keep string) error {
			return errors.Join(remove(files, keep), os.Remove(filepath.Join(files, "00000003.idx")), os.Remove(filepath.Join(files, "00000004.idx")))
		}, 2 * fileRecords, 2 * fileRecords},
		"the first file removed": {func(files, keep string) error {
			return os.Rename(filepath.Join(files, "00000001.dbn"), filepath.Join(keep, "00000001.dbn"))
		}, 0, fileRecords},
		"a file cut": {func(files, keep string) error {
			b, err := os.ReadFile(filepath.Join(files, "00000003.dbn"))
			return errors.Join(err, os.WriteFile(filepath.Join(keep, "00000003.dbn"), b, 0o600), os.Truncate(filepath.Join(files, "00000003.dbn"), 4096+100*48+7))
		}, 2*fileRecords + 100, fileRecords - 100},
		"a file emptied": {func(files, keep string) error {
			b, err := os.ReadFile(filepath.Join(files, "00000003.dbn"))
			return errors.Join(err, os.WriteFile(filepath.Join(keep, "00000003.dbn"), b, 0o600), os.Truncate(filepath.Join(files, "00000003.dbn"), 0))
		}, 2 * fileRecords, fileRecords},
	} {
		t.Run(name, func(t *testing.T) {
			dir, keep := t.TempDir(), t.TempDir()
			o := journal.Options{MinSegment: 64 << 10, MaxSegment: 64 << 10, AnyFilesystem: true, Sync: journal.SyncPolicy{Each: true}}
			j, err := journal.Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			s := serveJournal(t, j, Config{Logger: zap.NewNop()})
			publish(t, s, "1", metadataOf(feed.SchemaTrades), trades(1, damagedTrades)...)
			files := filepath.Join(dir, testDataset, "trades")
			eventually(t, "files are sealed", func() bool {
				names, _ := filepath.Glob(filepath.Join(files, "*.dbn"))
				return len(names) >= 8
			})
			if err := c.hurt(files, keep); err != nil {
				t.Fatal(err)
			}
			for _, fields := range [][2]string{
				{"", "symbols=ALL_SYMBOLS|start=0"},
				{"|ts_out=1", "symbols=ALL_SYMBOLS|start=0"},
				{"", "stype_in=instrument_id|symbols=1,2|start=0"},
			} {
				client := dialRaw(t, s)
				client.auth(testKey, "dataset="+testDataset+fields[0])
				client.send("schema=trades|" + fields[1] + "\nstart_session\n")
				client.pass(128)
				got, gaps := readDamaged(t, client, damagedTrades)
				if len(gaps) != 1 || gaps[0].Cause != journal.CauseDamaged || int(gaps[0].Records) != c.lost || got != damagedTrades-c.lost || int(gaps[0].At.Seq) != c.first+c.lost {
					t.Errorf("%v: %d records and the gaps %+v; want one of %d from %d on", fields, got, gaps, c.lost, c.first)
				}
			}
			entries := 0
			for _, g := range j.Lookup(testDataset).Gaps() {
				if g.Cause == journal.CauseDamaged && int(g.Records) == c.lost {
					entries++
				}
			}
			if entries != 1 || len(j.Lookup(testDataset).Gaps()) != 1 {
				t.Errorf("the ledger has %+v, want the gap once", j.Lookup(testDataset).Gaps())
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			_ = j.Close()
			back, err := filepath.Glob(filepath.Join(keep, "*.dbn"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range back {
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(filepath.Join(files, filepath.Base(path)), b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if j, err = journal.Open(dir, o); err != nil {
				t.Fatal(err)
			}
			s = serveJournal(t, j, Config{Logger: zap.NewNop()})
			client := dialRaw(t, s)
			client.auth(testKey, "dataset="+testDataset)
			client.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
			client.pass(128)
			if got, _ := readDamaged(t, client, damagedTrades); got != damagedTrades {
				t.Errorf("with the files back %d records are served, want all %d", got, damagedTrades)
			}
		})
	}
}
