package main

import (
	"bufio"
	"bytes"
	little "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A socket that was sent to by reference holds pages of the tape, also when the gateway is dead and its successor has other plans for them. These tests stall
// a receiver over loopback, which keeps the references, kill the gateway, let the next one do what changes files, and read on.

// queuedCase is a tape and a receiver of it, in numbers of trades.
type queuedCase struct {
	first   int // the receiver takes before it stalls
	kept    int // a recovery keeps
	least   int // the receiver must get, or what was cut was not queued
	total   int // are published
	ordinal int // of the segment that trades from kept to least lie in
}

var (
	// The first segment holds 21,760 trades, the second twice as many. A receiver that is less behind gets copies from auto.
	cutInUse  = queuedCase{first: 20_000, kept: 24_000, least: 34_000, total: 60_000, ordinal: 2}
	cutSealed = queuedCase{first: 1000, kept: 4000, least: 12_000, total: 60_000, ordinal: 1}
)

const queuedBuffer = 64 << 10 // bytes, of the receiver's socket

// stalled is a receiver with a small buffer, so that what it does not read is queued in the gateway's socket.
type stalled struct {
	t    *testing.T
	in   *bufio.Reader
	next int // trade
}

// stall subscribes to all trades and takes the first ones.
func stall(t *testing.T, s *served, first int) *stalled {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, queuedBuffer)
		})
	}}
	conn, err := d.Dial("tcp", s.addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(servedPatience)))
	r := &stalled{t: t, in: bufio.NewReader(conn)}
	r.line()
	challenge, err := lsg.ParseChallenge(r.line())
	must(t, err)
	key := feed.OpenModeKey
	auth, err := lsg.AuthRequest{Auth: lsg.Response(challenge, key), Dataset: servedDataset, Encoding: lsg.EncodingDBN}.Append(nil)
	must(t, err)
	_, err = conn.Write(auth)
	must(t, err)
	if reply := r.line(); !strings.HasPrefix(reply, "success=1") {
		t.Fatal(reply)
	}
	_, err = io.WriteString(conn, "schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS|start=0\nstart_session\n")
	must(t, err)
	prelude := r.bytes(8)
	r.bytes(int(little.LittleEndian.Uint32(prelude[4:])))
	for r.next < first {
		r.whole()
	}
	return r
}

func (r *stalled) line() string {
	line, err := r.in.ReadString('\n')
	must(r.t, err)
	return strings.TrimSuffix(line, "\n")
}

func (r *stalled) bytes(n int) []byte {
	b := make([]byte, n)
	_, err := io.ReadFull(r.in, b)
	must(r.t, err)
	return b
}

// take is what comes in the place of the next trade, passing over control records; the last one may be cut short. None: that was all.
func (r *stalled) take() []byte {
	for {
		head, _ := r.in.Peek(2) // a dead gateway's end may be a reset
		b := make([]byte, len(testTrade(0)))
		control := len(head) == 2 && feed.RType(head[1]).IsControl()
		if control {
			b = make([]byte, int(head[0])*4)
		}
		n, err := io.ReadFull(r.in, b)
		if !control {
			return b[:n]
		}
		if err != nil {
			return nil
		}
	}
}

// whole takes a trade that must be what was published. False: there are no more.
func (r *stalled) whole() bool {
	r.t.Helper()
	got, want := r.take(), testTrade(r.next)
	if !bytes.Equal(got, want[:len(got)]) {
		r.t.Fatalf("trade %d is\n% x, published was\n% x", r.next, got, want)
	}
	if len(got) < len(want) {
		return false
	}
	r.next++
	return true
}

// changed reads on to the end, and says whether any trade is not what was published.
func (r *stalled) changed() bool {
	for got := r.take(); len(got) > 0; got = r.take() {
		if !bytes.Equal(got, testTrade(r.next)[:len(got)]) {
			return true
		}
		r.next++
	}
	return false
}

// full waits until the gateway has sent all that there is, or that the receiver's socket takes.
func (s *served) full(least int) {
	s.t.Helper()
	last := uint64(0)
	eventually(s.t, "the socket of the receiver is full", func() bool {
		time.Sleep(50 * time.Millisecond) // between two looks that must say the same
		resp, err := http.Get(s.admin + "/sessions")
		must(s.t, err)
		defer resp.Body.Close()
		var all []struct {
			Sent uint64 `json:"sent_bytes"`
		}
		must(s.t, json.NewDecoder(resp.Body).Decode(&all))
		if len(all) != 1 {
			return false
		}
		still := all[0].Sent == last
		last = all[0].Sent
		return still
	})
	if sent := int(last) / len(testTrade(0)); sent < least {
		s.t.Fatalf("only %d trades left the gateway: what is cut is not queued", sent)
	}
}

// logEnd is where the entries of a sync log end.
func logEnd(t *testing.T, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	at := 16
	for at+8 <= len(b) {
		n := int(little.LittleEndian.Uint32(b[at:]))
		if n == 0 {
			break
		}
		at += 8 + n
	}
	return int64(at)
}

// hurt changes a byte of a file.
func hurt(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	must(t, err)
}

// overwrite stores over everything that a file holds behind its header.
func overwrite(t *testing.T, f *os.File) {
	t.Helper()
	info, err := f.Stat()
	must(t, err)
	b := bytes.Repeat([]byte{0xee}, int(info.Size())-queuedHeader)
	_, err = f.WriteAt(b, queuedHeader)
	must(t, err)
}

// queuedHeader is no less than what comes before the records of a segment of these tests.
const queuedHeader = 16 << 10

// queued is a data directory of a gateway that was killed, with a receiver whose socket holds trades far beyond those that a recovery will keep.
type queued struct {
	queuedCase
	data, dataset string
	log           int64 // bytes of the sync log up to the entry that vouches for what is kept
	receiver      *stalled
}

func queue(t *testing.T, data, path string, c queuedCase) *queued {
	t.Helper()
	q := &queued{queuedCase: c, data: data, dataset: filepath.Join(data, servedDataset)}
	s := startServed(t, nil, data, "--send-path", path, "--sync", "20ms", "--any-filesystem")
	s.publish(q.kept, feed.AckSynced, testTrade)
	q.log = logEnd(t, filepath.Join(q.dataset, "sync.log"))
	s.publish(q.total, feed.AckSynced, testTrade)
	eventually(t, "the first segment is sealed", func() bool { return exists(q.segment(1, "dbn")) })
	q.receiver = stall(t, s, q.first)
	s.full(q.least)
	s.kill()
	return q
}

func (q *queued) segment(n int, suffix string) string {
	return filepath.Join(q.dataset, "trades", fmt.Sprintf("%08d.%s", n, suffix))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// otherTrade is what the successor is given where trades were cut.
func otherTrade(k int) feed.Record { return testTrade(k + 5_000_000) }

// cut makes the next gateway cut what is not to be kept, as if the disk had lost it, and publishes others in its place.
func (q *queued) cut(t *testing.T) {
	t.Helper()
	hurt(t, filepath.Join(q.dataset, "sync.log"), q.log+8)
	hurt(t, filepath.Join(q.dataset, "state"), 20)
	s := startServed(t, nil, q.data, "--sync", "20ms", "--any-filesystem")
	if r := s.recovered(); !r.Cut || r.Records != uint64(q.kept) || r.Lost != uint64(q.total-q.kept) {
		t.Fatalf("recovered: %+v; want a cut of all but %d records", r, q.kept)
	}
	s.publish(q.total+10_000, feed.AckSynced, otherTrade)
	eventually(t, "the segment is sealed", func() bool { return exists(q.segment(q.ordinal, "dbn")) })
	s.end()
}

// reads has the receiver take trades, up to a number or all that its socket holds.
func (q *queued) reads(t *testing.T, to int) {
	t.Helper()
	for q.receiver.next < to && q.receiver.whole() {
	}
	if q.receiver.next < q.least {
		t.Fatalf("the receiver got %d trades: what is gone was not queued", q.receiver.next)
	}
}

// checkCut does all of it, and then shows that it would have noticed: with a send path by reference the receiver sees what is stored into the old file.
func checkCut(t *testing.T, data, path string, c queuedCase) {
	t.Helper()
	q := queue(t, data, path, c)
	name := q.segment(q.ordinal, "tape")
	if sealed := q.segment(q.ordinal, "dbn"); exists(sealed) {
		name = sealed
	}
	old, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer old.Close()
	q.cut(t)
	q.reads(t, q.least)
	overwrite(t, old)
	byReference := path != "copy" && path != "write"
	if changed := q.receiver.changed(); changed != byReference {
		t.Fatalf("sent by %s: that the receiver sees what is stored into the old file is %v; then the check above shows nothing", path, changed)
	}
}

var sendPaths = []string{"copy", "write", "sendfile", "splice", "auto"}

func TestQueuedRecordsStayWhatTheyWereWhenRecoveryCutsTheirSegment(t *testing.T) {
	for _, path := range sendPaths {
		t.Run(path, func(t *testing.T) { checkCut(t, t.TempDir(), path, cutInUse) })
	}
}

func TestQueuedRecordsStayWhatTheyWereWhenRecoveryGoesBackBehindASeal(t *testing.T) {
	for _, path := range sendPaths {
		t.Run(path, func(t *testing.T) { checkCut(t, t.TempDir(), path, cutSealed) })
	}
}

func TestQueuedRecordsStayWhatTheyWereWhenTheirSegmentExpires(t *testing.T) {
	for _, path := range sendPaths {
		t.Run(path, func(t *testing.T) {
			q := queue(t, t.TempDir(), path, cutSealed)
			s := startServed(t, nil, q.data, "--retain", "1s", "--sync", "20ms", "--any-filesystem")
			eventually(t, "the first segment is gone", func() bool { return !exists(q.segment(1, "dbn")) })
			s.publish(100_000, feed.AckSynced, otherTrade)
			q.reads(t, q.total)
		})
	}
}

func TestQueuedRecordsStayWhatTheyWereWhenTheirDatasetIsRemoved(t *testing.T) {
	for _, path := range sendPaths {
		t.Run(path, func(t *testing.T) {
			q := queue(t, t.TempDir(), path, cutSealed)
			if code, out, errors := tapewire(t.Context(), "dataset", "rm", servedDataset, "--data", q.data, "--yes"); code != exitDone {
				t.Fatalf("exit code %d\n%s%s", code, out, errors)
			}
			s := startServed(t, nil, q.data, "--sync", "20ms", "--any-filesystem")
			s.publish(q.total, feed.AckSynced, otherTrade)
			q.reads(t, q.total)
		})
	}
}
