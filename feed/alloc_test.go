package feed

import (
	"bytes"
	"testing"
)

// What runs for every record must not allocate.
func TestHotPathsDoNotAllocate(t *testing.T) {
	trades := wire(RTypeMbp0, 1000)
	old := craft()[0]
	definition := Record(old.body[20*sizeStatisticsV1:][:sizeDefinitionV1])
	dst := make([]byte, 0, 1024)
	file := tradesFile(t, 4)
	var sum uint64
	for name, f := range map[string]func(){
		"ScanRun":  func() { _, n, _ := ScanRun(trades, SchemaNone); sum += uint64(n) },
		"SchemaOf": func() { s, _ := SchemaOf(RTypeMbp1, SchemaTbbo); sum += uint64(s) },
		"Record": func() {
			r := Record(trades[:48])
			sum += uint64(r.Size()) + uint64(r.InstrumentID()) + uint64(r.PublisherID()) + r.IndexTime() + r.TsRecv()
		},
		"View":            func() { m, _ := View[TradeMsg](trades[:48]); sum += uint64(m.Price) },
		"Upgrade v3":      func() { b, _ := Upgrade(dst, trades[:48], 3, false); sum += uint64(len(b)) },
		"Upgrade v1":      func() { b, _ := Upgrade(dst, definition, 1, false); sum += uint64(len(b)) },
		"AppendWithTsOut": func() { sum += uint64(len(AppendWithTsOut(dst, trades[:48], 1))) },
		"AppendSystem":    func() { sum += uint64(len(AppendSystem(dst, 1, SystemHeartbeat, "Heartbeat"))) },
		"AppendSymbolMapping": func() {
			sum += uint64(len(AppendSymbolMapping(dst, SymbolMappingFields{InSymbol: "ES.FUT", OutSymbol: "ESH4"})))
		},
		"Price.Append": func() { sum += uint64(len(Price(167_420_000_000).Append(dst))) },
		"MetadataSize": func() { n, _ := MetadataSize(file); sum += uint64(n) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	d, err := NewDecoder(bytes.NewReader(tradesFile(t, 5000)))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(4000, func() { r, _ := d.Next(); sum += r.TsEvent() }); n != 0 {
		t.Errorf("Decoder.Next allocates %v times", n)
	}
}

var benchSum uint64

func BenchmarkScanRun(b *testing.B) {
	trades := wire(RTypeMbp0, 1000)
	b.SetBytes(int64(len(trades)))
	b.ReportAllocs()
	for b.Loop() {
		_, n, err := ScanRun(trades, SchemaNone)
		if n != len(trades) || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkView(b *testing.B) {
	trades := wire(RTypeMbp0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		for at := 0; at < len(trades); at += 48 {
			if m, ok := View[TradeMsg](trades[at : at+48]); ok {
				benchSum += uint64(m.Size)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkIndexTime(b *testing.B) {
	trades := wire(RTypeMbp0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		for at := 0; at < len(trades); at += 48 {
			benchSum += Record(trades[at : at+48]).IndexTime()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkDecoder(b *testing.B) {
	const n = 10_000
	file := tradesFile(b, n)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		d, err := NewDecoder(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		for r, err := range d.Records() {
			if err != nil {
				b.Fatal(err)
			}
			benchSum += r.TsEvent()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}

func BenchmarkUpgradeDefinition(b *testing.B) {
	definition := Record(craft()[0].body[20*sizeStatisticsV1:][:sizeDefinitionV1])
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Upgrade(dst, definition, 1, false); err != nil {
			b.Fatal(err)
		}
	}
}
