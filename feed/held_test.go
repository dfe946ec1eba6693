package feed

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"math/rand/v2"
)

// What is resent after a lost connection must begin at the very record that the gateway lacks, whatever was dropped before and whichever control
// records lie between.
func TestHeldRecordsGiveBackWhatFollowsAnyNumber(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; to repeat: put it into this test", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	type entry struct {
		seq uint64 // of the data record, or of the one that follows a control record
		b   []byte
	}
	var h heldRecords
	h.first, h.next = 1000, 1000
	var model []entry
	for range 5000 {
		switch rnd.IntN(5) {
		case 0:
			b := AppendSystem(nil, 1, SystemUnset, "gap|cause=upstream")
			h.add(b, 0)
			model = append(model, entry{h.next, b})
		case 1:
			n := h.first + uint64(rnd.IntN(int(h.next-h.first)+2)) // sometimes beyond the end
			h.drop(n)
		case 2:
			if rnd.IntN(20) == 0 {
				before := h.next - h.first
				if dropped := h.dropOldest(); dropped != (before+3)/4 {
					t.Fatalf("dropped %d of %d records, want a quarter", dropped, before)
				}
			}
		default:
			b := testTrades(int(h.next), 1)
			model = append(model, entry{h.next, b})
			h.add(b, 1)
		}
		from := h.first + uint64(rnd.IntN(int(h.next-h.first)+1))
		var want []byte
		for _, e := range model {
			if e.seq >= from {
				want = append(want, e.b...)
			}
		}
		got := h.since(from)
		if n, err := countRecords(got); err != nil || n != h.next-from {
			t.Fatalf("since(%d) holds %d data records of [%d, %d), %v", from, n, h.first, h.next, err)
		}
		if h.first < h.next && !bytes.Equal(got, want) && !bytes.HasSuffix(want, got) {
			t.Fatalf("since(%d) is not what was published from there", from)
		}
		model = slices.DeleteFunc(model, func(e entry) bool { return e.seq < h.first })
	}
}

func TestHeldControlRecordsAloneCanBeLetGo(t *testing.T) {
	var h heldRecords
	h.add(AppendSystem(nil, 1, SystemUnset, "gap|cause=upstream"), 0)
	if n := h.dropOldest(); n != 0 || h.size() != 0 {
		t.Errorf("dropped %d, %d bytes are left: a producer without data would wait for ever", n, h.size())
	}
}
