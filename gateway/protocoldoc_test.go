package gateway

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

func protocolPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An adapter in another language is written from the page alone: a field or a code that
// it does not have is one that its author never learns of.
func TestProtocolPageNamesEveryFieldAndCode(t *testing.T) {
	page := protocolPage(t)
	files, err := filepath.Glob("../feed/lsg/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources of feed/lsg", err)
	}
	field := regexp.MustCompile(`\bf\.(?:Get|Lookup|need|flag|number|numberTo|time|oneOf)\("(\w+)"|\n\tkey\w+ += "(\w+)"`)
	code := regexp.MustCompile(`\n\t(?:Code|Retry|Line)[A-Z]\w+ += "(\w+)"`)
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(field.FindAllStringSubmatch(string(b), -1), code.FindAllStringSubmatch(string(b), -1)...) {
			word := strings.Join(m[1:], "")
			found++
			if !regexp.MustCompile("`[^`\n]*\\b" + word + "\\b[^`\n]*`").MatchString(page) {
				t.Errorf("docs/protocol.md does not name %s of %s", word, name)
			}
		}
	}
	if found < 60 {
		t.Errorf("%d fields and codes were found in feed/lsg; the patterns of this test do not fit it any more", found)
	}
}

// The bytes on the page are what an author compares his own with.
func TestProtocolPageBytesAreReal(t *testing.T) {
	page := protocolPage(t)
	const challenge, key = "j5pwMHz6vwXruJM4cOwQrQeQE0bImIzT", "db-89s9vCvwDDKPdQJ5Pb30Fyj9mNUM6"
	if !strings.Contains(page, "auth="+lsg.Response(challenge, key)+"|") || !strings.Contains(page, challenge+" "+key+" |") {
		t.Error("docs/protocol.md does not have the answer to its challenge")
	}
	m := feed.Metadata{Version: feed.Version, Dataset: "BINA.SPOT", Schema: feed.SchemaNone, End: feed.UndefTimestamp, StypeIn: feed.STypeNone, StypeOut: feed.STypeInstrumentID}
	meta, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	const ts = 1795600800000000000
	var trade feed.TradeMsg
	feed.Init(&trade, feed.RTypeMbp0)
	trade.PublisherID, trade.InstrumentID, trade.TsEvent, trade.TsRecv = 60001, 1, ts, feed.UndefTimestamp
	trade.Price, trade.Size, trade.Action, trade.Side, trade.Flags, trade.Sequence = 62480010000000, 150, feed.ActionTrade, feed.SideBid, feed.FlagLast, 1
	end := feed.AppendSystem(nil, ts, feed.SystemUnset, lsg.EndSession)
	var want []byte
	for _, b := range [][]byte{meta[:64], feed.Bytes(&trade), end[:16], end[304:]} { // whole rows of the page
		want = append(want, b...)
	}
	var got []byte
	for _, row := range regexp.MustCompile(`(?m)^0[01][0-9a-f]0  ((?:[0-9a-f]{2} ){15}[0-9a-f]{2})\b`).FindAllStringSubmatch(page, -1) {
		b, err := hex.DecodeString(strings.ReplaceAll(row[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
	}
	if string(got) != string(want) {
		t.Errorf("bytes of docs/protocol.md:\n% x\nwant\n% x", got, want)
	}
}

// A record of another size than the page says puts the whole stream out of step.
func TestProtocolPageHasEverySchema(t *testing.T) {
	page := protocolPage(t)
	offset := func(n int) string {
		if n < 0 {
			return "none"
		}
		return fmt.Sprint(n)
	}
	for s := feed.Schema(0); s < feed.NumSchemas; s++ {
		rest := fmt.Sprintf("| %d | %d | %s | %s | %v |", s.RecordSize(), s.RecordSize()/4, offset(s.TsRecvOffset()), offset(s.FlagsOffset()), s.ReplayClock())
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| .*\b%d\b.*0x%02X.*%s$`, uint16(s), uint8(s.RType()), regexp.QuoteMeta(rest)))
		if !row.MatchString(page) {
			t.Errorf("docs/protocol.md has no row for %v: %d, 0x%02X %s", s, uint16(s), uint8(s.RType()), rest)
		}
	}
}
