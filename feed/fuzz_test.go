package feed

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

// What parses can be written, and what was written parses to the same; nothing panics, whatever comes.
func FuzzParseMetadata(f *testing.F) {
	for version := uint8(1); version <= 3; version++ {
		m := fullMetadata(version)
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte("DBN\x03\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			return
		}
		written, err := m.Append(nil)
		if err != nil {
			return // a symbol of more than 70 bytes, where a wider field was declared
		}
		again, err := ParseMetadata(written)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v\nis written and read as\n%+v, %v", m, again, err)
		}
	})
}

// Every record that a decoder gives is one of version 3, and it ends; as a whole file, as a fragment and compressed.
func FuzzDecoder(f *testing.F) {
	f.Add(tradesFile(f, 3), uint8(0))
	f.Add(frames(f, tradesFile(f, 3)), uint8(0))
	f.Add(append(skippable("x"), frames(f, tradesFile(f, 3))...), uint8(0))
	f.Add(tradesFile(f, 3)[128:], uint8(3))
	for _, c := range craft() {
		f.Add(c.input(), uint8(0))
		f.Add(c.body, c.version)
	}
	f.Fuzz(func(t *testing.T, b []byte, fragment uint8) {
		var opts []DecoderOption
		if fragment != 0 {
			opts = append(opts, WithFragment(fragment))
		}
		d, err := NewDecoder(io.LimitReader(bytes.NewReader(b), 1<<20), opts...)
		if err != nil {
			return
		}
		defer d.Close()
		e, err := NewEncoder(io.Discard, Metadata{Version: Version})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 1<<16; n++ {
			r, err := d.Next()
			if err != nil {
				return
			}
			if err := e.Write(r); err != nil {
				t.Fatalf("record %d: %v", n, err)
			}
		}
	})
}

// An upgraded record is one of version 3, and upgrading it once more changes nothing.
func FuzzUpgrade(f *testing.F) {
	for _, c := range craft() {
		for rest := c.body; len(rest) > 0; rest = rest[Record(rest).Size():] {
			f.Add(rest[:Record(rest).Size()], c.version, c.tsOut)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, version uint8, tsOut bool) {
		got, err := Upgrade([]byte("before"), b, version, tsOut)
		if err != nil {
			if string(got) != "before" {
				t.Fatalf("%v, and %q is left", err, got)
			}
			return
		}
		got = got[len("before"):]
		again, err := Upgrade(nil, got, Version, false)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%x\nis upgraded once more to\n%x, %v", got, again, err)
		}
		if r := Record(got); len(got) != r.RType().RecordSize() || r.RType() != Record(b).RType() || r.InstrumentID() != Record(b).InstrumentID() {
			t.Fatalf("%x becomes %x", b, got)
		}
	})
}

// A run holds whole records of one schema and its end is where ScanRun says, whatever comes behind it.
func FuzzScanRun(f *testing.F) {
	f.Add(wire(RTypeMbp0, 3), uint16(SchemaNone))
	f.Add(append(wire(RTypeMbp1, 2), wire(RTypeSystem, 1)...), uint16(SchemaTbbo))
	f.Fuzz(func(t *testing.T, b []byte, declared uint16) {
		schema, n, err := ScanRun(b, Schema(declared))
		if n > len(b) || n > 0 && n%schema.RecordSize() != 0 {
			t.Fatalf("%d bytes of %v in %d", n, schema, len(b))
		}
		for at := 0; at < n; at += schema.RecordSize() {
			r := Record(b[at:])
			if s, ok := SchemaOf(r.RType(), Schema(declared)); !ok || s != schema || r.Size() != schema.RecordSize() {
				t.Fatalf("record at %d: %v of %d bytes in a run of %v", at, r.RType(), r.Size(), schema)
			}
		}
		if rest := b[n:]; n > 0 && err == nil && len(rest) >= schema.RecordSize() {
			if s, ok := SchemaOf(Record(rest).RType(), Schema(declared)); ok && s == schema {
				t.Fatalf("the run of %v goes on after %d bytes", schema, n)
			}
		}
	})
}
