package row

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tapewire/tapewire/bench/floor"
	"github.com/tapewire/tapewire/bench/harness"
	"github.com/tapewire/tapewire/bench/load"
	"github.com/tapewire/tapewire/bench/result"
	"github.com/tapewire/tapewire/bench/system"
)

// prelude is what a session that replays gets before its first record: the
// metadata and the acknowledgement, in bytes.
const prelude = 128 + 320

// readBefore is the reading of a tape that this gateway has served before.
const readBefore = "auto, read before"

const replayAll = "schema=trades|symbols=ALL_SYMBOLS|start=0"

// Rows 7 and 8: subscribers read a tape that is in the page cache, from its
// beginning; the send paths beside loops that do nothing else.
func catchUp(ctx context.Context, b *Bench, row *result.Row) error {
	records := b.scaled(2_000_000, 12_000_000)
	row.Setup = fmt.Sprintf("Subscribers read a tape of %d MB in the page cache, most of it sealed, with start=0. They are the first to read it since the gateway started, except where a line says \"read before\". The floors send a file of that size, %d KiB at a time. The number behind a name is how many subscribers there are.", records*system.RecordSize/1_000_000, floor.SplicePipe>>10)
	dir, remove, err := b.dir()
	if err != nil {
		return err
	}
	defer remove()
	tapes, file := filepath.Join(dir, "tapes"), filepath.Join(dir, "floor")
	if err := b.fillTape(tapes, records); err != nil {
		return err
	}
	if err := writeFloorFile(file, records*system.RecordSize); err != nil {
		return err
	}
	for _, subs := range []int{1, 16} {
		times := 1
		if subs == 1 {
			times = 4 // or it is over before it can be measured
		}
		name := func(s string) string { return fmt.Sprintf("%s, %d", s, subs) }
		variants := []variant{
			{name("sendfile floor"), func() (map[string]float64, error) {
				return b.repeat(times, func() (*sent, error) { return b.floorSend(file, floor.Sendfile, subs, floor.SplicePipe, records) })
			}},
			{name("splice floor"), func() (map[string]float64, error) {
				return b.repeat(times, func() (*sent, error) { return b.floorSend(file, floor.Splice, subs, floor.SplicePipe, records) })
			}},
		}
		for _, path := range []string{"auto", "copy", "write", "sendfile", "splice"} {
			variants = append(variants, variant{name(path), func() (map[string]float64, error) {
				return b.repeat(times, func() (*sent, error) { return b.replay(tapes, path, subs, records, false) })
			}})
		}
		variants = append(variants, variant{name(readBefore), func() (map[string]float64, error) {
			return b.repeat(times, func() (*sent, error) { return b.replay(tapes, "auto", subs, records, true) })
		}})
		if err := b.measure(ctx, row, variants...); err != nil {
			return err
		}
		row.Claims = append(row.Claims,
			result.Claim{Metric: result.Throughput, Of: name("auto"), Against: name("splice floor"), Goal: 0.9, Higher: true},
			result.Claim{Metric: result.CPUPerGB, Of: name("splice floor"), Against: name("auto"), Goal: 0.9, Higher: true},
			result.Claim{Metric: result.CPUPerGB, Of: name("auto"), Against: name("copy"), Goal: 0.5, Extra: 0.4},
			result.Claim{Metric: result.Throughput, Of: name(readBefore), Against: name("splice floor"), Higher: true},
			result.Claim{Metric: result.CPUPerGB, Of: name("splice floor"), Against: name(readBefore), Higher: true})
	}
	return nil
}

// fillTape publishes records and stops the server in order, so that most is sealed.
func (b *Bench) fillTape(dir string, records int) error {
	server, err := b.programs.StartTapewire(dir)
	if err != nil {
		return err
	}
	defer server.Stop()
	_, err = b.ingest(server, system.Tapewire, records)
	return err
}

func writeFloorFile(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i)
	}
	for left := size; left > 0; left -= len(b) {
		if _, err := f.Write(b[:min(left, len(b))]); err != nil {
			return err
		}
	}
	return f.Close()
}

// sent is one delivery of a whole file or tape.
type sent struct {
	cost  harness.Account
	wall  time.Duration
	bytes float64
}

// repeat adds deliveries up.
func (b *Bench) repeat(times int, deliver func() (*sent, error)) (map[string]float64, error) {
	var all sent
	for range times {
		one, err := deliver()
		if err != nil {
			return nil, err
		}
		all.cost.CPU += one.cost.CPU
		all.cost.Switches += one.cost.Switches
		all.wall += one.wall
		all.bytes += one.bytes
	}
	return map[string]float64{
		result.CPUPerGB:   all.cost.CPU.Seconds() / (all.bytes / 1e9),
		result.Throughput: all.bytes / all.wall.Seconds(),
		result.Switches:   float64(all.cost.Switches) / all.wall.Seconds(),
	}, nil
}

// replay has subscribers read a tape from its beginning. The first reading after a start checks the tape's checksums on the way; with again, a reading
// before this one has done that.
func (b *Bench) replay(dir, path string, subs, records int, again bool) (*sent, error) {
	server, err := b.programs.StartTapewire(dir, "--send-path="+path)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	f := fanOut{system: system.Tapewire, subs: subs, records: records, sub: []string{replayAll}, pass: prelude}
	if again {
		if _, err := drainAll(&f, server); err != nil {
			return nil, err
		}
	}
	return drainAll(&f, server)
}

// floorSend has a floor send a file.
func (b *Bench) floorSend(path, mode string, subs, chunk, records int) (*sent, error) {
	server, err := system.StartChild("file", "--path="+path, "--mode="+mode, fmt.Sprint("--subs=", subs), fmt.Sprint("--chunk=", chunk), fmt.Sprint("--most=", records*system.RecordSize))
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	return drainAll(&fanOut{system: system.RelayName, subs: subs, records: records}, server)
}

// drainAll reads what a server sends unasked. Connecting is part of the cost.
func drainAll(f *fanOut, server *system.Server) (*sent, error) {
	before, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	drain, err := harness.Child(f.drainArgs(server.Addr)...)
	if err != nil {
		return nil, err
	}
	defer drain.Stop()
	var word string
	if err := drain.Read(&word); err != nil {
		return nil, err
	}
	var got load.Drained
	if err := drain.Read(&got); err != nil {
		return nil, err
	}
	after, err := harness.Snapshot(server.PIDs()...)
	if err != nil {
		return nil, err
	}
	s := &sent{cost: after.Since(before), wall: time.Duration(got.EndNs - got.StartNs)}
	for _, n := range got.Bytes {
		s.bytes += float64(n)
	}
	return s, nil
}
