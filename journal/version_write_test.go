package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
)

// TestWhatIsWrittenIsStillVersion1 reads each thing of a golden directory that has a format, and writes it again: the bytes must be the same. When it
// fails, an older tapewire can not read what this one writes, and the file's version must be raised.
func TestWhatIsWrittenIsStillVersion1(t *testing.T) {
	disk := NewMemDisk()
	unpackGolden(t, disk, "j", "v1-running")
	dir := path.Join("j", testDataset)
	same := func(name string, got []byte) {
		t.Helper()
		if want := fileBytes(t, disk, path.Join(dir, name)); len(got) == 0 || len(got) > len(want) || !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("%s: the first %d of %d bytes are written otherwise now", name, len(got), len(want))
		}
	}
	writeLogsAgain(t, disk, dir, same)
	for _, name := range filesBelow(disk, dir) {
		name = strings.TrimPrefix(name, dir+"/")
		if suffix := path.Ext(name); suffix == sealedSuffix || suffix == activeSuffix {
			writeSegmentAgain(t, disk, dir, name, same)
		}
	}
}

// TestStatePageIsStillVersion2 does the same for what version 1 had otherwise.
func TestStatePageIsStillVersion2(t *testing.T) {
	disk := NewMemDisk()
	unpackGolden(t, disk, "j", "v2-running")
	page := &statePage{b: fileBytes(t, disk, path.Join("j", testDataset, stateName))}
	var s slot
	id, epoch, err := checkState(page.b)
	sum, readErr := page.read(&s)
	if err = errors.Join(err, readErr); err != nil || s.n == 0 || page.version() != 2 {
		t.Fatalf("%d tapes in the newest commit of version %d, %v", s.n, page.version(), err)
	}
	again := &statePage{b: slices.Clone(page.b)}
	clear(again.b[:stateConst])
	clear(again.b[stateSlots+int(page.load(stateCommit)&1)*slotBytes:][:slotHeader+s.n*slotEntry])
	again.constant(id, page.witness(), epoch)
	again.fill(page.load(stateCommit), sum, &s)
	again.apply(&s)
	if !bytes.Equal(again.b, page.b) || again.total() != sum {
		t.Error("the state page is written otherwise now, or summed up otherwise")
	}
}

// writeLogsAgain makes sync.log and the side logs from what was read from them.
func writeLogsAgain(t *testing.T, disk *MemDisk, dir string, same func(string, []byte)) {
	t.Helper()
	entries, _, err := readSyncLog(disk, dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	b := binary.LittleEndian.AppendUint64([]byte(syncLogMagic), 1) // version 1, whose entries do not have the last eight bytes
	for _, e := range entries {
		p := e.append(nil)
		b = appendFrame(b, p[:len(p)-8])
	}
	same(syncLogName, b)
	v, err := loadView(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, log := range sideLogs[:logOutliers] { // version 1 has no other
		payloads, err := v.payloads(i)
		if err != nil || len(payloads) == 0 {
			t.Fatalf("%s: %d entries, %v", log.name, len(payloads), err)
		}
		b := binary.LittleEndian.AppendUint64([]byte(log.magic), 1) // the header of version 1; entries are as they were
		for _, p := range payloads {
			b = appendFrame(b, entryAgain(t, log.name, p))
		}
		same(log.name, b)
	}
}

// entryAgain parses an entry of a side log and writes it again.
func entryAgain(t *testing.T, log string, p []byte) []byte {
	t.Helper()
	switch log {
	case symbolsName:
		list, err := parseMappings(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		const grown = 1 + 1 + 4 + 4 + 4 // bytes of the fields that version 1 does not have
		again := appendMappings(nil, list)
		return again[:len(again)-grown]
	case ledgerName:
		g, err := parseGap(p)
		if err != nil {
			t.Fatal(err)
		}
		return g.append(nil)
	case epochsName:
		list, err := parseEpochs([][]byte{p})
		if err != nil {
			t.Fatal(err)
		}
		return list[1].append(nil)
	}
	s, err := parseStream(p)
	if err != nil {
		t.Fatal(err)
	}
	return s.append(nil)
}

// writeSegmentAgain makes the header region, and a sealed segment's index, from what was read from them.
func writeSegmentAgain(t *testing.T, disk *MemDisk, dir, name string, same func(string, []byte)) {
	t.Helper()
	b := fileBytes(t, disk, path.Join(dir, name))
	info, err := readSegmentInfo(memFileOf(b), name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := feed.ParseMetadata(b)
	if err != nil {
		t.Fatal(err)
	}
	region, err := info.headerRegion(&m)
	if err != nil {
		t.Fatal(err)
	}
	same(name, region)
	if want := (segmentInfo{trades, 48, 1, true, 0, 1, 256, day0 + uint64(12*time.Second), headerUnit}); name == "trades/00000001.dbn" && info != want {
		t.Errorf("%s: header %+v, want %+v", name, info, want)
	}
	if !info.sealed {
		return
	}
	blocks, err := makeBlocks(memFileOf(b), info, info.base, info.base+info.records, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Indexes are written in version 2 now; what version 1 has is what they say too.
	index := strings.TrimSuffix(name, sealedSuffix) + indexSuffix
	_, old, err := parseIndex(fileBytes(t, disk, path.Join(dir, index)), info, true)
	if err != nil || len(old) != len(blocks) {
		t.Fatalf("%s: %d blocks, want %d, %v", index, len(old), len(blocks), err)
	}
	for i := range old {
		if !old[i].same(&blocks[i]) || old[i].top != 0 || old[i].span.MaxReplay < blocks[i].span.MaxReplay {
			t.Errorf("%s: block %d is read as %+v, want %+v", index, i, old[i], blocks[i])
		}
	}
}
