package feed

import (
	"encoding/binary"
	"reflect"
	"testing"
)

// TestStartGoesByTheClockThatEachRecordHas guards start= against the records whose ts_event is older than they are: definitions, samples of a book, and the
// snapshots of midnight.
func TestStartGoesByTheClockThatEachRecordHas(t *testing.T) {
	byRecv := map[Schema]bool{SchemaDefinition: true, SchemaBbo1s: true, SchemaBbo1m: true, SchemaCbbo1s: true, SchemaCbbo1m: true}
	flagged := map[Schema]bool{SchemaMbo: true, SchemaMbp1: true, SchemaMbp10: true, SchemaTbbo: true, SchemaTrades: true, SchemaCmbp1: true, SchemaTcbbo: true,
		SchemaBbo1s: true, SchemaBbo1m: true, SchemaCbbo1s: true, SchemaCbbo1m: true}
	const event, recv, none = 100, 200, UndefTimestamp
	for s := range Schema(NumSchemas) {
		if (s.FlagsOffset() >= 0) != flagged[s] {
			t.Errorf("%s: flags at %d", s, s.FlagsOffset())
		}
		for _, snapshot := range []bool{false, true} {
			for _, c := range []struct{ event, recv, want uint64 }{{event, recv, event}, {event, none, event}, {none, recv, recv}, {none, none, none}} {
				r := make(Record, s.RecordSize())
				r[0], r[1] = byte(len(r)/lengthUnit), byte(s.RType())
				binary.LittleEndian.PutUint64(r[offTsEvent:], c.event)
				want := c.want
				switch off := s.TsRecvOffset(); {
				case off < 0:
					want = c.event
				default:
					binary.LittleEndian.PutUint64(r[off:], c.recv)
					if c.recv != none && (byRecv[s] || snapshot && flagged[s]) {
						want = recv
					}
				}
				if snapshot && flagged[s] {
					r[s.FlagsOffset()] = byte(FlagSnapshot | FlagLast)
				}
				if got := s.ReplayTime(r); got != want {
					t.Errorf("%s, snapshot %v, ts_event %d, ts_recv %d: %d, want %d", s, snapshot, c.event, c.recv, got, want)
				}
			}
		}
	}
}

func TestFlagsLieWhereTheMessagesHaveThem(t *testing.T) {
	for s, m := range map[Schema]any{
		SchemaMbo: MboMsg{}, SchemaTrades: TradeMsg{}, SchemaMbp1: Mbp1Msg{}, SchemaTbbo: Mbp1Msg{}, SchemaMbp10: Mbp10Msg{}, SchemaBbo1s: BboMsg{},
		SchemaBbo1m: BboMsg{}, SchemaCmbp1: Cmbp1Msg{}, SchemaTcbbo: Cmbp1Msg{}, SchemaCbbo1s: CbboMsg{}, SchemaCbbo1m: CbboMsg{},
	} {
		if f, ok := reflect.TypeOf(m).FieldByName("Flags"); !ok || int(f.Offset) != s.FlagsOffset() {
			t.Errorf("%s: flags at %d, the message has them at %d", s, s.FlagsOffset(), f.Offset)
		}
	}
}
