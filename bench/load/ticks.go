package load

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tapewire/tapewire/bench/system"
	"github.com/tapewire/tapewire/feed"
)

// marketOpen is when the US stock market opens, in ns after midnight UTC in summer.
const marketOpen = (13*3600 + 30*60) * uint64(time.Second)

// Ticks reads the first trades from the opening of the day on: their bytes, and
// when each was, in ns after the first.
func Ticks(path string, most int) (records []byte, at []time.Duration, err error) {
	d, err := feed.OpenFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	var first uint64
	for len(at) < most {
		r, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		ts := r.TsEvent()
		if len(r) != system.RecordSize || ts%uint64(24*time.Hour) < marketOpen {
			continue
		}
		if len(at) == 0 {
			first = ts
		}
		records = append(records, r...)
		at = append(at, time.Duration(max(ts, first)-first))
	}
	if len(at) < most {
		return nil, nil, fmt.Errorf("%s has %d trades after the opening, want %d", path, len(at), most)
	}
	return records, at, nil
}

// SendTicks plays a file from the opening on at its own pace, times speed. Each
// record carries its number, and when it was due.
func SendTicks(conn *net.TCPConn, path string, most int, speed float64) (*Produced, error) {
	records, at, err := Ticks(path, most)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	out := &Produced{StartNs: start.UnixNano()}
	due := func(i int) time.Duration { return time.Duration(float64(at[i]) / speed) }
	for i := 0; i < len(at); {
		passed := time.Since(start)
		if wait := due(i) - passed; wait > 0 {
			if wait > spinBefore {
				sleep(wait - spinBefore)
			}
			continue
		}
		from := i
		for ; i < len(at) && due(i) <= passed; i++ {
			r := records[i*system.RecordSize:]
			binary.LittleEndian.PutUint64(r[8:], uint64(out.StartNs+int64(due(i))))
			binary.LittleEndian.PutUint32(r[44:], uint32(i))
		}
		if _, err := conn.Write(records[from*system.RecordSize : i*system.RecordSize]); err != nil {
			return nil, err
		}
	}
	out.EndNs = time.Now().UnixNano()
	return out, nil
}
