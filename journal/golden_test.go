package journal

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapewire/tapewire/feed"
)

// updateGolden makes golden directories of the present version that are missing. One that is there is never replaced: it stands for what users have on
// their disks.
//
//	go test ./journal -run GoldenFilesOfVersion -update
var updateGolden = flag.Bool("update", false, "make the golden data directories that are missing in testdata")

// goldenAt is the time of golden record n in ns.
func goldenAt(n uint64) uint64 { return day0 + n*uint64(time.Minute) }

// goldenRecords is n records of an instrument beginning with number from, one a minute.
func goldenRecords(s feed.Schema, id uint32, from uint64, n int) []byte {
	b := records(s, id, from, n)
	for i := range n {
		r := b[i*s.RecordSize():]
		binary.LittleEndian.PutUint64(r[eventOffset:], goldenAt(from+uint64(i)))
		binary.LittleEndian.PutUint64(r[s.TsRecvOffset():], goldenAt(from+uint64(i)))
		r[28], r[29] = 'T', 'A'
	}
	return b
}

// goldenMaker writes a journal with everything in it that has a format, the same each time: no goroutine, a clock of its own.
type goldenMaker struct {
	t    *testing.T
	disk *MemDisk
	j    *Journal
	d    *Dataset
	w    [2]*Writer // of trades and mbp1
	sent [2]uint64
}

func newGoldenMaker(t *testing.T) *goldenMaker {
	m := &goldenMaker{t: t, disk: NewMemDisk()}
	m.disk.boot = 100 // no disk that the files are unpacked on has it
	m.open()
	create(t, m.j)
	m.enter()
	return m
}

func (m *goldenMaker) open() {
	now := time.Unix(0, int64(day0))
	o := wholeOptions(m.disk)
	o.MaxClockSkew = -1 // the clock below has nothing to do with the records' times
	o.Now = func() time.Time {
		now = now.Add(time.Second)
		return now
	}
	var err error
	if m.j, err = Open("j", o); err != nil {
		m.t.Fatal(err)
	}
}

func (m *goldenMaker) enter() {
	m.d = m.j.Lookup(testDataset)
	m.w = [2]*Writer{openWriter(m.t, m.d, "feed-a", "trades"), openWriter(m.t, m.d, "feed-b", "quotes")}
	m.sent = [2]uint64{m.w[0].Accepted(), m.w[1].Accepted()}
}

// append adds records of instrument 1 to trades, of instrument 7 to mbp1.
func (m *goldenMaker) append(numTrades, numQuotes int) {
	m.t.Helper()
	runs := [2][]Run{
		{{trades, goldenRecords(trades, 1, m.sent[0], numTrades)}},
		{{mbp1, goldenRecords(mbp1, 7, m.sent[1], numQuotes)}},
	}
	for i, list := range runs {
		for len(list) > 0 {
			n, err := m.w[i].Append(list)
			list, m.sent[i] = skip(list, n), m.sent[i]+uint64(n)
			if errors.Is(err, ErrNotReady) {
				m.d.prepareRound()
			} else if err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// synced says that nothing went wrong, and makes all of it durable; full segments are sealed.
func (m *goldenMaker) synced(errs ...error) {
	m.t.Helper()
	if err := errors.Join(append(errs, m.d.Sync())...); err != nil {
		m.t.Fatal(err)
	}
	m.d.sealRound()
}

// write leaves the journal open, with records that no sync has covered: sealed segments and others, a recovery's epoch, cut and quarantine, a
// declared instrument and one that was given to another symbol, a gap.
func (m *goldenMaker) write() {
	_, err := m.w[0].Instrument(Instrument{Symbol: "BTCUSDT", PriceIncrement: "0.01", Lot: "0.001", Currency: "USDT", Class: "SPOT"})
	mapped := m.w[1].Map(7, "ETHUSDT")
	m.append(300, 100)
	m.synced(err, mapped, m.w[0].Gap(Gap{Schema: trades, FromTs: goldenAt(299), ToTs: goldenAt(310), FromRecord: 300, ToRecord: 309, Records: 9, Cause: "upstream"}))
	m.append(20, 10)
	abandon(m.j)
	m.disk = distrusted(m.disk)
	m.open()
	m.enter()
	m.append(650, 300)
	m.synced(m.w[1].Map(7, "NEWETH"))
	m.append(50, 200)
	m.synced()
	m.append(40, 20)
}

// goldenFile is where a golden directory lies.
func goldenFile(name string) string { return filepath.Join("testdata", name+".tar.zst") }

// makeGolden writes the golden directories that are missing.
func makeGolden(t *testing.T) {
	t.Helper()
	m := newGoldenMaker(t)
	m.write()
	running := m.disk.Clone(false)
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	for name, disk := range map[string]*MemDisk{"v2-running": running, "v2-closed": m.disk} {
		if _, err := os.Stat(goldenFile(name)); err == nil {
			t.Logf("%s is there and stays", goldenFile(name))
			continue
		}
		if err := os.WriteFile(goldenFile(name), pack(t, disk), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pack is the files of a journal in one; the lock is none of them.
func pack(t *testing.T, disk *MemDisk) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range filesBelow(disk, "j") {
		data := contents(disk, name)
		h := &tar.Header{Name: name[len("j/"):], Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpackGolden puts the files of a golden directory into dir.
func unpackGolden(t *testing.T, disk Disk, dir, name string) {
	t.Helper()
	packed, err := os.Open(goldenFile(name))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := zstd.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		putFile(t, disk, path.Join(dir, h.Name), data)
	}
}

// putFile makes a file, and the directories that lead to it.
func putFile(t *testing.T, disk Disk, name string, data []byte) {
	t.Helper()
	var dirs []string
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	for _, dir := range dirs {
		if err := disk.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// fileBytes is what a file holds.
func fileBytes(t *testing.T, disk Disk, name string) []byte {
	t.Helper()
	f, err := disk.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return b
}
