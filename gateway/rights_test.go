package gateway

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapewire/tapewire/feed"
)

// A key opens what its entry says and nothing else, and a refusal says to whom,
// for what and where, so that the owner of the key file can act on it.
func TestKeyDoesNothingBeyondItsRightsAndDatasets(t *testing.T) {
	const here, there = testDataset, "OTHER.WIRE"
	keys := newKeys(t,
		Key{Name: "plain"},
		Key{Name: "subscriber", Rights: []Right{RightSubscribe}},
		Key{Name: "publisher", Rights: []Right{RightPublish}},
		Key{Name: "both", Rights: []Right{RightSubscribe, RightPublish}},
		Key{Name: "operator", Rights: []Right{RightAdmin}},
		Key{Name: "reads-here", Datasets: []string{here}},
		Key{Name: "writes-here", Datasets: []string{here}, Rights: []Right{RightPublish}},
		Key{Name: "both-there", Datasets: []string{there}, Rights: []Right{RightSubscribe, RightPublish}},
		Key{Name: "star", Datasets: []string{"*"}, Rights: []Right{RightPublish}},
	)
	may := map[string][]string{ // right and dataset
		"plain": {"subscribe " + here, "subscribe " + there}, "subscriber": {"subscribe " + here, "subscribe " + there},
		"publisher": {"publish " + here, "publish " + there}, "star": {"publish " + here, "publish " + there},
		"both":       {"subscribe " + here, "subscribe " + there, "publish " + here, "publish " + there},
		"reads-here": {"subscribe " + here}, "writes-here": {"publish " + here}, "both-there": {"subscribe " + there, "publish " + there},
	}
	s := keys.serve()
	for _, k := range keys.keys {
		for _, right := range []Right{RightSubscribe, RightPublish} {
			for _, dataset := range []string{here, there} {
				c := dialRaw(t, s)
				got := c.auth(k.Secret, strings.Replace(roleFields(right, dataset), "producer=p", "producer=p-"+k.Name, 1))
				want := fmt.Sprintf("key %q may not %s dataset %s;", k.Name, right, dataset)
				if slices.Contains(may[k.Name], string(right)+" "+dataset) {
					want = "success=1|"
				}
				if !strings.Contains(got, want) {
					t.Errorf("%s asks to %s %s: %q, want %q", k.Name, right, dataset, got, want)
				}
				c.conn.Close()
			}
		}
	}
	for _, k := range keys.keys {
		keys.noSocketsOf(s, k.Name)
	}
}

// A refused publisher leaves nothing behind, not even the dataset it named.
func TestRefusedPublisherMakesNoDataset(t *testing.T) {
	keys := newKeys(t, Key{Name: "bot"}, Key{Name: "adapter", Rights: []Right{RightPublish}, Datasets: []string{testDataset}})
	s := keys.serve()
	for _, name := range []string{"bot", "adapter"} {
		c := dialRaw(t, s)
		c.authLine(keys.secret(name), producerFields("OTHER.WIRE", "p", "1"))
		// What is pipelined behind a line that is refused must not count either.
		_, _ = c.conn.Write(append([]byte("instrument=AAA\nstart_session\n"), metadataBytes(t, metadataOf(feed.SchemaTrades))...))
		if got := c.rest(); !strings.HasPrefix(got, "success=0|") || strings.Contains(got, "instrument_id") {
			t.Errorf("%s is told %q", name, got)
		}
	}
	if n := len(s.journal.Datasets()); n != 0 {
		t.Errorf("%d datasets were made for publishers that may not", n)
	}
}

// The authentication names the dataset. No later line reaches another one: not a
// subscription, a resume or a late line that names it.
func TestLaterSubscriptionLinesStayInTheSessionsDataset(t *testing.T) {
	const there, hereID, thereID = "OTHER.WIRE", 1, 99
	keys := newKeys(t, Key{Name: "bot", Datasets: []string{testDataset}}, Key{Name: "adapter", Rights: []Right{RightPublish}})
	s := keys.serve()
	for dataset, id := range map[string]uint32{testDataset: hereID, there: thereID} {
		p := dialRaw(t, s)
		p.auth(keys.secret("adapter"), producerFields(dataset, "p", "1"))
		meta := metadataOf(feed.SchemaNone)
		meta.Dataset = dataset
		p.begin(meta, trade(id, 0), quote(id, 1))
		p.await("ack=2|")
	}
	c := dialRaw(t, s)
	c.auth(keys.secret("bot"), "dataset="+testDataset)
	c.send("schema=trades|symbols=ALL_SYMBOLS|start=0|dataset=" + there + "\n" +
		"schema=mbp-1|symbols=ALL_SYMBOLS|resume=1:0|dataset=" + there + "\nstart_session\n" +
		"dataset=" + there + "|schema=trades|symbols=ALL_SYMBOLS\n") // begins with no word of this protocol: ends the session
	_, records := c.records()
	data := map[uint32]int{}
	for _, r := range records {
		if !r.RType().IsControl() {
			data[binary.LittleEndian.Uint32(r[4:])]++
		}
	}
	if data[thereID] > 0 {
		t.Errorf("a key for %s alone was sent %d records of %s", testDataset, data[thereID], there)
	}
	late := dialRaw(t, s)
	late.auth(keys.secret("bot"), "dataset="+testDataset)
	late.send("schema=trades|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	m, err := readMetadata(late)
	if err != nil || m.Dataset != testDataset {
		t.Fatalf("the stream is of %q, %v", m.Dataset, err)
	}
	nextTrade(late)
	late.send("schema=mbp-1|symbols=ALL_SYMBOLS|dataset=" + there + "\n")
	var buf [feed.MaxRecordSize]byte
	for !strings.HasSuffix(systemText(late.next(buf[:])), "for mbp-1 data succeeded") {
		continue // it is live: what is published before it is in place is not for it
	}
	publishAs(t, s, keys.secret("adapter"), there, quote(thereID, 2))
	publishAs(t, s, keys.secret("adapter"), testDataset, quote(hereID, 3))
	for {
		r := late.next(buf[:])
		if r.RType().IsControl() {
			continue
		}
		if r.InstrumentID() != hereID {
			t.Errorf("a late line brought a record of %s", there)
		}
		if r.RType() == feed.RTypeMbp1 {
			break
		}
	}
}

// Nor does a producer get at another dataset's instruments or tapes by naming it
// in a declaration or in its metadata.
func TestProducersLinesStayInItsDataset(t *testing.T) {
	const there = "OTHER.WIRE"
	keys := newKeys(t, Key{Name: "adapter", Rights: []Right{RightPublish}, Datasets: []string{testDataset}}, Key{Name: "owner", Rights: []Right{RightPublish}})
	s := keys.serve()
	publishAs(t, s, keys.secret("owner"), there, trade(1, 0))
	p := dialRaw(t, s)
	p.auth(keys.secret("adapter"), producerFields(testDataset, "p", "1"))
	p.send("instrument=MINE|dataset=" + there + "\n")
	if got := p.line(); !strings.HasPrefix(got, "error=bad_instrument|instrument=MINE|") || !strings.Contains(got, "dataset") {
		t.Errorf("the declaration is answered %q", got)
	}
	meta := metadataOf(feed.SchemaTrades)
	meta.Dataset = there
	p.begin(meta, trade(1, 1))
	if got := p.rest(); !strings.Contains(got, "error=bad_metadata|want="+testDataset+"|got="+there) {
		t.Errorf("metadata of another dataset is answered %q", got)
	}
	d := s.journal.Lookup(there)
	if ids := d.Symbols().IDs("MINE"); len(ids) > 0 {
		t.Errorf("the declaration entered the symbol table of %s", there)
	}
	if tail := d.Tape(feed.SchemaTrades).Tail(); tail != 1 {
		t.Errorf("the tape of %s has %d records, its owner published 1", there, tail)
	}
}

// publishAs sends one record with a key and waits until it is committed.
func publishAs(t testing.TB, s *Server, secret, dataset string, record []byte) {
	t.Helper()
	p := dialRaw(t, s)
	if got := p.auth(secret, producerFields(dataset, "q", "1")); !strings.HasPrefix(got, "success=1|") {
		t.Fatalf("the publisher is told %q", got)
	}
	meta := metadataOf(feed.SchemaNone)
	meta.Dataset = dataset
	p.begin(meta, record)
	p.await("ack=")
	p.conn.Close()
}

// readMetadata reads the header that a stream begins with.
func readMetadata(c *rawClient) (feed.Metadata, error) {
	c.t.Helper()
	b := make([]byte, 128)
	if _, err := readFull(c, b); err != nil {
		return feed.Metadata{}, err
	}
	return feed.ParseMetadata(b)
}

// A file in which one key could be taken for another is refused, and so is what no
// entry can mean. None of the refusals repeats what the file holds of a key.
func TestAmbiguousKeyFilesAreRefused(t *testing.T) {
	const entry = "[[key]]\nname = %q\nkey = %q\n"
	other := "db-" + strings.Repeat("z", 29)
	for name, c := range map[string]struct{ file, want string }{
		"two of a name":         {fmt.Sprintf(entry+entry, "a", testKey, "a", other), "both named a"},
		"two of a secret":       {fmt.Sprintf(entry+entry, "a", testKey, "b", testKey), "a and b have the same key"},
		"admin of a dataset":    {fmt.Sprintf(entry, "a", testKey) + "rights = [\"admin\"]\ndatasets = [\"D\"]\n", "cannot be kept to datasets"},
		"no dataset is left":    {fmt.Sprintf(entry, "a", testKey) + "datasets = []\n", "its list of datasets is empty"},
		"no dataset's name":     {fmt.Sprintf(entry, "a", testKey) + "datasets = [\"xnas\"]\n", "no name of a dataset"},
		"a negative limit":      {fmt.Sprintf(entry, "a", testKey) + "connections = -1\n", "connections is -1"},
		"a limit misspelt":      {fmt.Sprintf(entry, "a", testKey) + "connection = 1\n", "unknown setting key.connection"},
		"a key as a setting":    {fmt.Sprintf(entry, "a", other) + testKey + " = 1\n", "unknown setting"},
		"a key without quotes":  {"[[key]]\nname = \"a\"\nkey = " + testKey + "\n", "keys.toml"},
		"a key that never ends": {"[[key]]\nname = \"a\"\nkey = \"" + testKey + "\n", "keys.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			keys := newKeys(t)
			writeFile(t, keys.path, c.file)
			_, err := LoadKeys(keys.path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the file is answered %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), testKey[3:15]) {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
}

// Whoever has the right to publish must not take a producer's name from the key
// that it belongs to.
func TestAnotherKeyCannotFenceAProducer(t *testing.T) {
	keys := newKeys(t, Key{Name: "desk", Rights: []Right{RightPublish}}, Key{Name: "stranger", Rights: []Right{RightPublish}},
		Key{Name: "heir", Rights: []Right{RightPublish, RightTakeover}})
	s := keys.serve()
	desk := dialRaw(t, s)
	desk.auth(keys.secret("desk"), producerFields(testDataset, "p", "1"))
	desk.begin(metadataOf(feed.SchemaTrades), trade(1, 0))
	desk.await("ack=1|")
	if got := dialRaw(t, s).auth(keys.secret("stranger"), producerFields(testDataset, "p", "1")+"|resume=1000"); !strings.HasPrefix(got, "error=owned|") || !strings.Contains(got, "desk") {
		t.Errorf("a stranger is told %q", got)
	}
	desk.send(string(trade(1, 1)))
	desk.await("ack=2|")
	if got := dialRaw(t, s).auth(keys.secret("heir"), producerFields(testDataset, "p", "1")); !strings.Contains(got, "accepted=2") {
		t.Errorf("a key with the right to take over is told %q", got)
	}
	if got := desk.await("error=")[0]; !strings.HasPrefix(got, "error=fenced") {
		t.Errorf("the session before is told %q", got)
	}
}
