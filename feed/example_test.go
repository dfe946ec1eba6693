package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// venueTrade stands for what a venue's own client library delivers.
type venueTrade struct {
	Price, Lots int64
	At          time.Time
}

func venueTrades(context.Context) <-chan venueTrade { return nil }

// An adapter: it turns a venue's trades into records, and leaves reconnecting, resending and acks to the ResumingProducer.
func ExampleResumingProducer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	producer, err := feed.DialResumingProducer(ctx, feed.ResumingConfig{
		ProducerConfig: feed.ProducerConfig{Addr: "127.0.0.1:13000", Dataset: "BINA.SPOT", Name: "binance-1"},
		Metadata:       feed.Metadata{Schema: feed.SchemaTrades},
		Instruments:    []feed.Instrument{{Symbol: "BTCUSDT", PriceIncrement: "0.01", Lot: "0.00001", Asset: "BTC", Currency: "USDT", Class: "X"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	id, _ := producer.InstrumentID("BTCUSDT")
	var msg feed.TradeMsg
	feed.Init(&msg, feed.RTypeMbp0)
	msg.InstrumentID, msg.Action, msg.Side = id, 'T', 'N'
	for trade := range venueTrades(ctx) {
		msg.TsEvent, msg.TsRecv = uint64(trade.At.UnixNano()), feed.UndefTimestamp // the gateway stamps the receipt
		msg.Price, msg.Size = feed.Price(trade.Price), uint32(trade.Lots)
		if err := producer.Publish(feed.Bytes(&msg)); err != nil {
			log.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := producer.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// A bot: one schema of two instruments, from ten minutes ago into the present without a seam.
func ExampleSubscriber() {
	ctx := context.Background()
	subscriber, err := feed.DialSubscriber(ctx, feed.SubscriberConfig{Addr: "127.0.0.1:13000", Dataset: "BINA.SPOT"})
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	err = subscriber.Subscribe(feed.Subscription{
		Schema: feed.SchemaTrades, SType: feed.STypeRawSymbol, Symbols: []string{"BTCUSDT", "ETHUSDT"}, Start: feed.StartAt(time.Now().Add(-10 * time.Minute)),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := subscriber.Start(); err != nil {
		log.Fatal(err)
	}
	for rec, err := range subscriber.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if trade, ok := feed.View[feed.TradeMsg](rec); ok {
			fmt.Println(trade.InstrumentID, trade.Price, trade.Size)
		}
	}
}

// A recorder: it outlives the connection, the gateway and itself. What it keeps of its progress is written after the records that it speaks of.
func ExampleResumingSubscriber() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := feed.ResumingSubscriberConfig{
		SubscriberConfig: feed.SubscriberConfig{Addr: "127.0.0.1:13000", Dataset: "BINA.SPOT"},
		Subscriptions:    []feed.Subscription{{Schema: feed.SchemaTrades, Start: new(uint64)}}, // from the beginning, once
		Lost:             func(err error, pause time.Duration) { log.Printf("%v; trying again in %v", err, pause) },
	}
	if kept, err := os.ReadFile("progress.json"); err == nil {
		if err := json.Unmarshal(kept, &cfg.Progress); err != nil {
			log.Fatal(err)
		}
	}
	subscriber, err := feed.DialResumingSubscriber(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	for rec, err := range subscriber.Records(ctx) {
		if err != nil {
			log.Print(err)
			break
		}
		if trade, ok := feed.View[feed.TradeMsg](rec); ok {
			name, _ := subscriber.Name(trade.InstrumentID)
			fmt.Println(name, trade.Price, trade.Size) // each trade once
		}
	}
	if kept, err := json.Marshal(subscriber.Progress()); err == nil {
		if err := os.WriteFile("progress.json", kept, 0o666); err != nil {
			log.Print(err)
		}
	}
}

// A program that publishes a file: the stream's ID is the file's own, so that a second run goes on where the first one ended.
func ExampleProducer() {
	ctx := context.Background()
	producer, err := feed.DialProducer(ctx, feed.ProducerConfig{Dataset: "XNAS.ITCH", Name: "backfill", Stream: "sha256-of-the-file", Ack: feed.AckSynced})
	var refused *feed.RefusedError
	if errors.As(err, &refused) {
		log.Fatal("the gateway says: ", refused.Text)
	} else if err != nil {
		log.Fatal(err)
	}
	file, err := feed.OpenFile("xnas-itch-20261120.trades.dbn.zst")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	if err := producer.Start(*file.Metadata()); err != nil {
		log.Fatal(err)
	}
	skip := producer.Accepted() // these are in the tapes already
	for rec, err := range file.Records() {
		if err != nil {
			log.Fatal(err)
		}
		if skip > 0 && !rec.RType().IsControl() {
			skip--
			continue
		}
		if err := producer.Publish(rec); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(ctx); err != nil {
		log.Fatal(err)
	}
}
