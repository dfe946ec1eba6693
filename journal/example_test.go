package journal_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// A program on the gateway's machine follows a tape without a connection.
func ExampleOpenTap() {
	tap, err := journal.OpenTap("tapewire-data", "XNAS.ITCH", feed.SchemaTrades)
	if err != nil {
		log.Fatal(err)
	}
	defer tap.Close()
	for {
		run, err := tap.Next()
		if err != nil {
			log.Fatal(err)
		}
		if run == nil {
			if err := tap.Wait(context.Background()); err != nil { // or call Next again at once, to spin
				log.Fatal(err)
			}
			continue
		}
		seq := tap.Seq() - uint64(len(run)/tap.RecordSize())
		for ; len(run) > 0; run = run[tap.RecordSize():] {
			record := feed.Record(run[:tap.RecordSize()])
			if trade, ok := feed.View[feed.TradeMsg](record); ok {
				symbol, _ := tap.SymbolAt(seq, record)
				fmt.Println(symbol, trade.Price)
			}
			seq++
		}
	}
}
