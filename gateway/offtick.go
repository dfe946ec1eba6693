package gateway

import (
	"fmt"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// A price that is no multiple of its instrument's declared increment is most often
// a mistake in an adapter: a wrong scale, a float that was rounded. It may be right
// too, a midpoint or a table of ticks, so it is counted, and refused only where the
// producer asked for that.

// offTick reports whether a price of the record is off the tick.
func offTick(r feed.Record, tick int64) bool {
	switch r.RType() {
	case feed.RTypeMbp0:
		m, ok := feed.View[feed.TradeMsg](r)
		return ok && off(m.Price, tick)
	case feed.RTypeMbo:
		m, ok := feed.View[feed.MboMsg](r)
		return ok && off(m.Price, tick)
	case feed.RTypeMbp1:
		m, ok := feed.View[feed.Mbp1Msg](r)
		return ok && (off(m.Price, tick) || off(m.Level.BidPx, tick) || off(m.Level.AskPx, tick))
	case feed.RTypeMbp10:
		m, ok := feed.View[feed.Mbp10Msg](r)
		if !ok {
			return false
		}
		for i := range m.Levels {
			if l := &m.Levels[i]; off(l.BidPx, tick) || off(l.AskPx, tick) {
				return true
			}
		}
		return off(m.Price, tick)
	case feed.RTypeBbo1s, feed.RTypeBbo1m:
		m, ok := feed.View[feed.BboMsg](r)
		return ok && (off(m.Price, tick) || off(m.Level.BidPx, tick) || off(m.Level.AskPx, tick))
	case feed.RTypeCmbp1, feed.RTypeTcbbo:
		m, ok := feed.View[feed.Cmbp1Msg](r)
		return ok && (off(m.Price, tick) || off(m.Level.BidPx, tick) || off(m.Level.AskPx, tick))
	case feed.RTypeCbbo1s, feed.RTypeCbbo1m:
		m, ok := feed.View[feed.CbboMsg](r)
		return ok && (off(m.Price, tick) || off(m.Level.BidPx, tick) || off(m.Level.AskPx, tick))
	case feed.RTypeOhlcv1s, feed.RTypeOhlcv1m, feed.RTypeOhlcv1h, feed.RTypeOhlcv1d, feed.RTypeOhlcvEod:
		m, ok := feed.View[feed.OhlcvMsg](r)
		return ok && (off(m.Open, tick) || off(m.High, tick) || off(m.Low, tick) || off(m.Close, tick))
	}
	return false
}

func off(p feed.Price, tick int64) bool { return p != feed.UndefPrice && int64(p)%tick != 0 }

// offTick counts such a record, and refuses it under strict=1.
func (in *ingest) offTick(record int, r feed.Record, tick int64) error {
	in.p.feed.offTick.Add(1)
	if !in.p.req.Strict {
		return nil
	}
	return in.reject(record, &refusal{
		code: lsg.CodeOffTick, want: "multiples of " + feed.Price(tick).String(), got: fmt.Sprintf("%v of instrument %d", r.RType(), r.InstrumentID()),
		text: "a price is off the increment that this session declared; correct it, declare the increment that holds, or leave out strict=1",
	})
}
