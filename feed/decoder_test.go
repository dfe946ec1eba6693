package feed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// tradesFile is a small file of n trades.
func tradesFile(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	m := sessionMetadata()
	e, err := NewEncoder(&b, m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		trade := testTrade(i)
		if err := e.Write(Bytes(&trade)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// testTrade is the i-th trade of a series.
func testTrade(i int) TradeMsg {
	trade := TradeMsg{
		Header: Header{PublisherID: 2, InstrumentID: uint32(100 + i), TsEvent: uint64(1000 + i)},
		Price:  Price(i) * PriceScale, Size: uint32(i + 1), Action: ActionTrade, Side: SideBid, TsRecv: uint64(2000 + i), TsInDelta: 5, Sequence: uint32(i),
	}
	Init(&trade, RTypeMbp0)
	return trade
}

// frames compresses each part as a zstd frame of its own.
func frames(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var all []byte
	for _, p := range parts {
		all = z.EncodeAll(p, all)
	}
	return all
}

// skippable is a zstd frame that decoders pass over.
func skippable(content string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, skippableMagic+5)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(content))), content...)
}

func TestEveryFormOfAFileIsRead(t *testing.T) {
	const n = 5000 // more than a buffer, so that records lie across its end
	plain := tradesFile(t, n)
	part := func(from, to int) []byte { return plain[from:to] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name  string
		input []byte
	}{
		{"plain", plain},
		{"zstd", frames(t, plain)},
		{"several frames", frames(t, part(0, 300), part(300, 301), part(301, len(plain)))},
		{"a frame boundary in the metadata", frames(t, part(0, 60), part(60, len(plain)))},
		{"a skippable frame last", join(frames(t, plain), skippable("seek table"))},
		{"a skippable frame between", join(frames(t, part(0, 500)), skippable(""), frames(t, part(500, len(plain))))},
		{"a skippable frame first", join(skippable("hello"), frames(t, plain))},
	} {
		for _, src := range []io.Reader{bytes.NewReader(c.input), iotest.OneByteReader(bytes.NewReader(c.input)), iotest.DataErrReader(bytes.NewReader(c.input))} {
			got, d, err := transcode(src)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if at := firstDifference(got, plain); at >= 0 || d.record != n {
				t.Errorf("%s: %d records, first difference at %d", c.name, d.record, at)
			}
			if _, err := d.Next(); err != io.EOF {
				t.Errorf("%s: after the end: %v", c.name, err)
			}
		}
	}
}

// A cut file must not pass for a whole one, wherever the cut is.
func TestCutFilesAreToldFromWholeOnes(t *testing.T) {
	const n = 3
	plain := tradesFile(t, n)
	for at := range len(plain) {
		got, _, err := transcode(bytes.NewReader(plain[:at]))
		if whole := at >= 128 && (at-128)%48 == 0; whole {
			if err != nil || len(got) != at {
				t.Errorf("cut at %d, between records: %d bytes, %v", at, len(got), err)
			}
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && !(at > 0 && at < 3 && errors.Is(err, ErrNotDBN)) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	compressed := frames(t, tradesFile(t, 200))
	for at := range len(compressed) {
		if _, _, err := transcode(bytes.NewReader(compressed[:at])); err == nil {
			t.Errorf("compressed, cut at %d of %d: no error", at, len(compressed))
		}
	}
}

func TestWrongInputsAreRefusedByName(t *testing.T) {
	plain := tradesFile(t, 2)
	badLength, badType, short := bytes.Clone(plain), bytes.Clone(plain), bytes.Clone(plain)
	badLength[128+48]--
	badType[128+48+1] = 0x33
	short[128+48] = 3
	dbz := append(skippable("DBZ\x01 and its metadata"), frames(t, plain)...)
	for _, c := range []struct {
		name  string
		input []byte
		opts  []DecoderOption
		want  error
		text  string
	}{
		{"empty", nil, nil, ErrNotDBN, "empty"},
		{"text", []byte("symbol,price\nMSFT,1"), nil, ErrNotDBN, "symbol"},
		{"text in zstd", frames(t, []byte("symbol,price\nMSFT,1")), nil, ErrNotDBN, "symbol"},
		{"dbz", dbz, nil, ErrLegacyDBZ, "convert"},
		{"records alone", plain[128:], nil, ErrNotDBN, "fragment"},
		{"a file declared as a fragment", plain, []DecoderOption{WithFragment(3)}, ErrNotDBN, "begins with metadata"},
		{"a fragment of version 4", plain[128:], []DecoderOption{WithFragment(4)}, ErrVersion, "1 to 3"},
		{"version 4", append([]byte("DBN\x04"), plain[4:]...), nil, ErrVersion, "4"},
		{"garbage after the frame", append(frames(t, plain), "garbage"...), nil, zstd.ErrMagicMismatch, "record 2"},
		{"a zstd window of 256 MiB", []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 18 << 3, 1, 0, 0}, nil, zstd.ErrWindowSizeExceeded, "window"},
		{"length", badLength, nil, ErrLength, "record 1: want 48 bytes of mbp-0 in version 3, got 44"},
		{"type", badType, nil, ErrRType, "record 1: want a known record type, got rtype 0x33"},
		{"shorter than a header", short, nil, ErrLength, "record 1: want at least 16 bytes, got 12"},
	} {
		_, _, err := transcode(bytes.NewReader(c.input), c.opts...)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.text)
		}
	}
}

func TestFragmentsAreReadWhenDeclared(t *testing.T) {
	plain := tradesFile(t, 3)
	for _, input := range [][]byte{plain[128:], frames(t, plain[128:])} {
		got, d, err := transcode(bytes.NewReader(input), WithFragment(3))
		if err != nil || !bytes.Equal(got, plain[128:]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if m := d.Metadata(); m.Version != 3 || m.Schema != SchemaNone || m.StypeIn != STypeNone {
			t.Errorf("metadata %+v", m)
		}
	}
}

// A reader of a live connection must get a record that has arrived, not wait for a buffer to be full.
func TestRecordsOfALiveConnectionAreNotHeldBack(t *testing.T) {
	plain := tradesFile(t, 2)
	r, w := io.Pipe()
	defer r.Close()
	records := make(chan error)
	go func() {
		defer close(records)
		d, err := NewDecoder(r)
		for err == nil {
			_, err = d.Next()
			records <- err
		}
	}()
	write := func(b []byte) {
		if _, err := w.Write(b); err != nil {
			t.Error(err)
		}
	}
	write(plain[:100])
	write(plain[100 : 128+47])
	for _, rest := range [][]byte{plain[128+47 : 128+48], plain[128+48:]} {
		write(rest)
		if err := <-records; err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := <-records; err != io.EOF {
		t.Error(err)
	}
}

func TestReadErrorsComeThrough(t *testing.T) {
	broken := errors.New("broken")
	plain := tradesFile(t, 2)
	for _, at := range []int{0, 5, 60, 128, 140, 176} {
		_, _, err := transcode(io.MultiReader(bytes.NewReader(plain[:at]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("broken after %d bytes: %v", at, err)
		}
	}
}

func TestOpenFileNamesThePathAndClosesIt(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.dbn.zst"), filepath.Join(dir, "bad.dbn")
	if err := errors.Join(os.WriteFile(good, frames(t, tradesFile(t, 3)), 0o600), os.WriteFile(bad, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(bad); !errors.Is(err, ErrNotDBN) || !strings.Contains(err.Error(), bad) {
		t.Errorf("%v", err)
	}
	if _, err := OpenFile(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	d, err := OpenFile(good)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range d.Records() {
		if err != nil || r.InstrumentID() != uint32(100+n) {
			t.Errorf("record %d: %v, %v", n, r, err)
		}
		n++
	}
	if err := d.Close(); n != 3 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
}

func TestLegacyFilesOfTheCorpusAreRefused(t *testing.T) {
	dir := dataDir(t)
	files, err := filepath.Glob(filepath.Join(dir, "official", "*", "*.dbz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		if _, err := OpenFile(path); !errors.Is(err, ErrLegacyDBZ) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
