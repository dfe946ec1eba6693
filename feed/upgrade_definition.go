package feed

import "encoding/binary"

// move is a stretch of bytes that an older definition and a v3 definition have in common.
type move struct{ to, from, n int }

// definitionMoves lists the stretches by version: what they hold, in order, stands in definition.go. v3 dropped
// trading_reference_price, trading_reference_date, md_security_trading_status and settl_price_type; they have no move.
var definitionMoves = [...][]move{
	1: {
		{16, 16, 64},   // ts_recv .. max_price_variation
		{80, 88, 24},   // unit_of_measure_qty, min_price_increment_amount, price_ratio
		{104, 328, 8},  // strike_price
		{112, 120, 4},  // raw_instrument_id, the lower half
		{136, 112, 8},  // inst_attrib_value, underlying_id
		{144, 124, 32}, // market_depth_implied .. min_trade_vol
		{176, 160, 12}, // contract_multiplier, decay_quantity, original_contract_size
		{212, 178, 8},  // appl_id .. channel_id
		{224, 186, 14}, // currency, settl_currency, secsubtype
		{238, 200, symbolFieldSizeV1},
		{309, 222, 26}, // group, exchange
		{335, 248, 7},  // asset
		{346, 255, 70}, // cfi .. strike_price_currency
		{487, 325, 1},  // instrument_class
		{488, 342, 1},  // match_algorithm
		{489, 344, 2},  // main_fraction, price_display_format
		{491, 347, 10}, // sub_fraction .. tick_rule
	},
	2: {
		{16, 16, 64},
		{80, 88, 32}, // as v1, and strike_price
		{112, 128, 4},
		{136, 120, 8},
		{144, 132, 32},
		{176, 164, 12},
		{212, 178, 8},
		{224, 186, 14},
		{238, 200, symbolFieldSize},
		{309, 271, 26},
		{335, 297, 7},
		{346, 304, 70},
		{487, 374, 2}, // instrument_class, match_algorithm
		{489, 377, 2},
		{491, 380, 10},
	},
}

// upgradeDefinition fills to, a v3 definition whose header is done and whose other bytes are zero. What no move fills is a
// leg field: prices undefined, the side none, all else 0.
func upgradeDefinition(to, from []byte, version uint8) {
	for _, m := range definitionMoves[version] {
		copy(to[m.to:m.to+m.n], from[m.from:])
	}
	binary.LittleEndian.PutUint64(to[120:], uint64(UndefPrice)) // leg_price
	binary.LittleEndian.PutUint64(to[128:], uint64(UndefPrice)) // leg_delta
	to[502] = byte(SideNone)                                    // leg_side
}
