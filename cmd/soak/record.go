package main

import (
	"encoding/binary"
	"fmt"

	"github.com/tapewire/tapewire/feed"
)

// What is published: streams over two datasets, records of two schemas in turns. A record follows from its stream and its
// number in it, so whoever meets one knows what it must be. Only the instrument ids are the gateway's.
const (
	streams = 4
	symbols = 24
	rare    = symbols - 1 // hardly ever traded: who listens to it alone is told heartbeats

	rareEvery  = 60_013 // records of a stream
	tradeEvery = 3      // records of a stream; the others are quotes
)

var (
	datasets = [...]string{"SOAK.ONE", "SOAK.TWO"}
	schemas  = [...]feed.Schema{feed.SchemaTrades, feed.SchemaMbp1}
)

// datasetOf is the dataset that a stream is published to.
func datasetOf(stream int) int { return stream % len(datasets) }

func producerName(stream int) string { return fmt.Sprintf("soak-%d", stream) }

// streamID is the same for the whole run: a producer that was killed goes on.
const streamID = "run"

func symbolName(symbol int) string { return fmt.Sprintf("SOAK%02d", symbol) }

// schemaOf is the schema of a stream's k-th record.
func schemaOf(k uint64) feed.Schema {
	if k%tradeEvery == 0 {
		return feed.SchemaTrades
	}
	return feed.SchemaMbp1
}

// dueFrom is the first record from k on that belongs to a schema.
func dueFrom(k uint64, schema feed.Schema) uint64 {
	for schemaOf(k) != schema {
		k++
	}
	return k
}

// symbolOf is what the k-th record is about: each symbol once at first, so that all are known soon, then some more than others.
func symbolOf(stream int, k uint64) int {
	switch h := mix(stream, k); {
	case k < symbols:
		return int(k)
	case k%rareEvery == 0:
		return rare
	default:
		return int(min(h%rare, h>>32%rare))
	}
}

const (
	firstTime = 1_767_364_200_000_000_000 // ts_event of a stream's first record, ns
	spacing   = 200_000                   // ns between two records of a stream
	transit   = 500                       // ns from a record's ts_event to its ts_recv, by which tapes are ordered
	sequence  = 44                        // where both schemas have their sequence, in bytes
)

// appendRecord appends the k-th record of a stream, about an instrument with that id.
func appendRecord(dst []byte, stream int, k uint64, id uint32) []byte {
	h := mix(stream, k)
	at := firstTime + k*spacing + uint64(stream)
	header := feed.Header{PublisherID: uint16(stream + 1), InstrumentID: id, TsEvent: at}
	price, size := feed.Price(100_000_000_000+h%1000*10_000_000), uint32(h>>40%500)+1
	if schemaOf(k) == feed.SchemaTrades {
		m := feed.TradeMsg{
			Header: header, Price: price, Size: size, Action: feed.ActionTrade, Side: feed.SideBid, Flags: feed.FlagLast,
			TsRecv: at + transit, TsInDelta: int32(h >> 50), Sequence: uint32(k),
		}
		feed.Init(&m, feed.RTypeMbp0)
		return append(dst, feed.Bytes(&m)...)
	}
	m := feed.Mbp1Msg{
		Header: header, Price: price, Size: size, Action: feed.ActionAdd, Side: feed.SideAsk, Flags: feed.FlagLast,
		TsRecv: at + transit, TsInDelta: int32(h >> 50), Sequence: uint32(k),
		Level: feed.BidAskPair{BidPx: price - 10_000_000, AskPx: price, BidSz: size + 1, AskSz: size, BidCt: uint32(h % 7), AskCt: uint32(h % 5)},
	}
	feed.Init(&m, feed.RTypeMbp1)
	return append(dst, feed.Bytes(&m)...)
}

// identity is which record of which stream a data record says it is.
func identity(r feed.Record) (stream int, k uint64) {
	return int(r.PublisherID()) - 1, uint64(binary.LittleEndian.Uint32(r[sequence:]))
}

func describe(r feed.Record) string {
	stream, k := identity(r)
	return fmt.Sprintf("record %d of stream %d (rtype %#x, instrument %d)", k, stream, uint8(r.RType()), r.InstrumentID())
}

// mix makes a number that looks random of a record's identity.
func mix(stream int, k uint64) uint64 {
	h := k + uint64(stream+1)*0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
