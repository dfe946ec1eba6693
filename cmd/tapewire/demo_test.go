package main

import (
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// The check is only worth something if it fails when a bot holds other bytes, or fewer.
func TestDemoCheckFindsWhatABotDidNotGet(t *testing.T) {
	const count = 100
	for name, spoil := range map[string]func(n int, rec feed.Record) feed.Record{
		"nothing":    func(_ int, rec feed.Record) feed.Record { return rec },
		"other bit":  func(n int, rec feed.Record) feed.Record { rec[20] ^= 1 & byte(n/50); return rec },
		"other tape": func(n int, _ feed.Record) feed.Record { return testTrade(n + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			j, err := journal.Open("data", journal.Options{Disk: journal.NewMemDisk()})
			must(t, err)
			defer j.Close()
			source, err := newMadeUpMarket(1, 1000)
			must(t, err)
			d, err := j.Create(madeUpDataset)
			must(t, err)
			w, err := d.OpenWriter(journal.WriterOptions{Producer: "demo", Stream: "s"})
			must(t, err)
			stamps := newStamps()
			s := &show{source: source, journal: j, live: newBot("live bot", source, stamps), late: newBot("late bot", source, stamps)}
			for n := range count {
				rec := testTrade(n)
				for appended := 0; appended == 0; {
					if appended, err = w.Append([]journal.Run{{Schema: feed.SchemaTrades, Bytes: rec}}); err != nil {
						must(t, w.Wait(t.Context()))
					}
				}
				s.live.data(rec, feed.SchemaNone)
				s.late.data(spoil(n, rec), feed.SchemaNone)
			}
			result, err := s.check(t.Context())
			if name == "nothing" {
				if err != nil || !strings.Contains(result, "trades     100 records") {
					t.Errorf("%q, %v", result, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "FAILED: the first 100 trades records of late bot") {
				t.Errorf("%q, %v", result, err)
			}
		})
	}
}
