package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// setVersion writes a version into the header of a file of a dataset, and its CRC too when it is to be taken for one.
func setVersion(b []byte, name string, version uint32, sound bool) {
	le := binary.LittleEndian
	head, crcAt := b[:sideHeader], 12 // of a log
	switch suffix := path.Ext(name); {
	case path.Base(name) == stateName:
		head, crcAt = b[:stateConst], stateCRC
	case suffix == indexSuffix:
		head, crcAt = b[:indexHeader], indexHeader-4
	case suffix == activeSuffix || suffix == sealedSuffix:
		end := le.Uint32(b[4:]) + feed.PreludeSize
		head, crcAt = b[end-segmentHeader:end], segmentHeader-4
	}
	le.PutUint32(head[8:], version)
	if !sound {
		return
	}
	sum := crc32c(head[:crcAt])
	if path.Base(name) == stateName {
		sum = stateSum(head)
	}
	le.PutUint32(head[crcAt:], sum)
}

// knownVersion is the latest version of a file that we read.
func knownVersion(name string) uint32 {
	for _, log := range sideLogs {
		if path.Base(name) == log.name {
			return sideVersion
		}
	}
	switch {
	case path.Ext(name) == indexSuffix:
		return indexVersion
	case path.Base(name) == syncLogName:
		return syncLogVersion
	}
	if path.Base(name) == stateName {
		return stateVersion
	}
	return 1
}

// changeRest makes everything another that a later version may change: all but where magic, version and CRC of the header are.
func changeRest(b []byte, name string) []byte {
	switch suffix := path.Ext(name); {
	case path.Base(name) == stateName:
		return append(b, make([]byte, headerUnit)...)
	case path.Base(name) == syncLogName:
		b = append(b, make([]byte, maxSyncLog)...)
		fallthrough
	case suffix == ".log":
		for i := range b[sideHeader:] {
			b[sideHeader+i] ^= 0x55
		}
		return b
	}
	b[3] = feed.Version + 1
	return b[:len(b)-1]
}

// filesOf is what lies in a directory.
func filesOf(disk *MemDisk, dir string) map[string]string {
	files := map[string]string{}
	for _, name := range filesBelow(disk, dir) {
		files[name] = string(contents(disk, name))
	}
	return files
}

// TestOtherVersionsAreRefusedByNameAndNothingIsChanged raises, and clears, the version of each file of a dataset in turn.
func TestOtherVersionsAreRefusedByNameAndNothingIsChanged(t *testing.T) {
	v := writeWholeJournal(t)
	dir := path.Join("j", testDataset)
	kinds := map[string]int{}
	for _, name := range v.files {
		if !strings.HasPrefix(name, dir+"/") || path.Ext(name) == indexSuffix {
			continue
		}
		kinds[path.Ext(name)]++
		known := knownVersion(name)
		for _, c := range []struct {
			version   uint32
			otherwise bool // all else that may change has changed too
			reboot    bool
			remedy    string
		}{
			{known + 1, false, false, "upgrade"}, {known + 1, true, false, "upgrade"}, {known + 1, false, true, "upgrade"}, {known + 1, true, true, "upgrade"},
			{0, false, false, "use the tapewire that did"}, {0, false, true, "use the tapewire that did"},
		} {
			disk := v.disk.Clone(c.reboot)
			n := disk.node(name)
			setVersion(n.data, name, c.version, true)
			if c.otherwise {
				n.data = changeRest(n.data, name)
			}
			words := []string{name, fmt.Sprintf("version %d, known is %d", c.version, known), c.remedy}
			refused(t, disk, dir, words)
		}
	}
	for _, kind := range []string{"", ".log", sealedSuffix, activeSuffix} {
		if kinds[kind] == 0 {
			t.Errorf("no file with suffix %q among %v", kind, kinds)
		}
	}
}

// refused says that nobody takes the dataset, all in words of why, and that the other one is served.
func refused(t *testing.T, disk *MemDisk, dir string, words []string) {
	t.Helper()
	named := func(who string, err error) {
		t.Helper()
		for _, word := range append(words, ErrVersion.Error()) {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q is not in %v", who, word, err)
			}
		}
	}
	before := filesOf(disk, dir)
	r, err := verify(disk, "j", nil)
	if err != nil || len(r.Problems) != 1 || r.Problems[0].Dataset != testDataset {
		t.Fatalf("%s: verify: %+v, %v", words[0], r.Problems, err)
	}
	named("verify", errors.New(r.Problems[0].Text))
	list, err := inspect(disk, "j")
	if err != nil || len(list) != 2 || list[0].Problem != "" {
		t.Fatalf("%s: inspect: %+v, %v", words[0], list, err)
	}
	named("inspect", errors.New(list[1].Problem))
	j, err := Open("j", wholeOptions(disk))
	if err != nil {
		t.Fatal(err)
	}
	defer abandon(j)
	_, created := j.Create(testDataset)
	if err := j.Damaged(testDataset); !errors.Is(err, ErrVersion) || !errors.Is(created, ErrVersion) || j.Lookup(testDataset) != nil {
		t.Errorf("%s: opened as %v, made again as %v, damaged: %v", words[0], j.Lookup(testDataset), created, err)
	}
	named("open", j.Damaged(testDataset))
	if !maps.Equal(before, filesOf(disk, dir)) {
		t.Errorf("%s: the files are not what they were", words[0])
	}
	other := j.Lookup("OTHER")
	if other == nil {
		t.Fatal("another dataset is not served")
	}
	if err := openWriter(t, other, "p", "s").Map(1, "X"); err != nil {
		t.Errorf("another dataset: %v", err)
	}
}

// TestVersionThatFailsItsCRCIsDamage: a bit that flipped makes no version. What can be had without the file is served.
func TestVersionThatFailsItsCRCIsDamage(t *testing.T) {
	v := writeWholeJournal(t)
	dir := path.Join("j", testDataset)
	served := 0
	for i, name := range v.files {
		if !strings.HasPrefix(name, dir+"/") {
			continue
		}
		for _, version := range []uint32{0, 3, 4, 1<<31 + 1} {
			disk := v.disk.Clone(i%2 == 0)
			setVersion(disk.node(name).data, name, version, false)
			r, err := verify(disk, "j", nil)
			if err != nil || strings.Contains(fmt.Sprint(r.Problems), ErrVersion.Error()) {
				t.Errorf("%s: verify takes damage for a version: %v, %v", name, r.Problems, err)
			}
			j, err := Open("j", wholeOptions(disk))
			if err != nil {
				t.Fatal(err)
			}
			d := j.Lookup(testDataset)
			if err := j.Damaged(testDataset); d == nil && (errors.Is(err, ErrVersion) || !errors.Is(err, ErrCorrupt)) {
				t.Errorf("%s: %v", name, err)
			}
			if base := path.Base(name); d == nil && (base == stateName || base == syncLogName || path.Ext(name) == indexSuffix) {
				t.Errorf("%s: not served though it can be: %v", name, j.Damaged(testDataset))
			}
			if d != nil {
				served++
			}
			abandon(j)
		}
	}
	if served == 0 {
		t.Error("nothing was served")
	}
}

// TestIndexOfAnotherVersionIsMadeAgainAndKept: an index is derived, so it keeps nobody from the records. But the release that wrote it may want it back.
func TestIndexOfAnotherVersionIsMadeAgainAndKept(t *testing.T) {
	v := writeWholeJournal(t)
	name := segmentPath(path.Join("j", testDataset, trades.String()), 1, indexSuffix)
	setVersion(v.disk.node(name).data, name, indexVersion+1, true)
	other := string(contents(v.disk, name))
	kept := path.Join("j", testDataset, quarantineDir, "trades.00000001.idx")
	r, err := verify(v.disk, "j", nil)
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, fmt.Sprintf("trades/00000001.idx has version %d, known is %d", indexVersion+1, indexVersion)) {
		t.Errorf("verify: %v, %v", r.Problems, err)
	}
	for _, full := range []bool{true, false} {
		j, err := Open("j", wholeOptions(v.disk))
		if err != nil {
			t.Fatal(err)
		}
		tape := j.Lookup(testDataset).Tape(trades)
		if got, err := v.serve(tape, trades); err != nil || got != tape.Tail() {
			t.Errorf("%d of %d records are served, %v", got, tape.Tail(), err)
		}
		if full { // there is no room for it elsewhere: then it stays, and is made again at another time
			v.disk.Fault(func(op, name string) error {
				if op == "rename" && path.Ext(name) == indexSuffix {
					return errors.New("no")
				}
				return nil
			})
		}
		if seq, err := tape.Seek(feed.ClockEvent, undefTime-1); err != nil || seq != tape.Tail() {
			t.Errorf("seek found %d, %v", seq, err)
		}
		v.disk.Fault(nil)
		if now := string(contents(v.disk, name)); (now == other) != full {
			t.Errorf("the index is the old one: %v, want %v", now == other, full)
		}
		abandon(j)
	}
	if string(contents(v.disk, kept)) != other {
		t.Error("the index of another version is lost")
	}
	if r, err := verify(v.disk, "j", nil); err != nil || len(r.Problems) > 0 {
		t.Errorf("verify afterwards: %v, %v", r.Problems, err)
	}
}

// A tap is refused when it meets what it would have to read in another version, and no earlier.
func TestTapIsRefusedTheVersionsItWouldRead(t *testing.T) {
	dir := t.TempDir()
	unpackGolden(t, OSDisk{}, dir, "v1-closed")
	if err := open(t, dir, Options{AnyFilesystem: true}).Close(); err != nil { // the state page is of this boot now
		t.Fatal(err)
	}
	tape := trades.String()
	for name, refused := range map[string]bool{
		stateName: true, symbolsName: true, tape + "/00000001.dbn": true, tape + "/00000004.tape": true,
		syncLogName: false, streamsName: false, ledgerName: false, epochsName: false, tape + "/00000001.idx": false, "mbp-1/00000001.dbn": false,
	} {
		name := filepath.Join(dir, testDataset, name)
		before := fileBytes(t, OSDisk{}, name)
		other := append([]byte(nil), before...)
		known := knownVersion(name)
		setVersion(other, name, known+1, true)
		if err := os.WriteFile(name, other, 0o644); err != nil {
			t.Fatal(err)
		}
		tap, err := OpenTap(dir, testDataset, trades)
		if refused != errors.Is(err, ErrVersion) || refused && !strings.Contains(err.Error(), fmt.Sprintf("%s has version %d, known is %d", name, known+1, known)) {
			t.Errorf("%s of a later version: %v", name, err)
		}
		if err == nil {
			if err := errors.Join(tap.SeekTime(feed.ClockRecv, goldenAt(500)), tap.Close()); err != nil || tap.Seq() != 500 {
				t.Errorf("%s of a later version: the tap is at record %d, %v", name, tap.Seq(), err)
			}
		}
		if err := os.WriteFile(name, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
