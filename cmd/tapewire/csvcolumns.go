package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tapewire/tapewire/feed"
)

// The columns of each layout, in the order of the dbn tool.
const (
	csvHead  = "ts_recv ts_event rtype publisher_id instrument_id "
	csvLevel = " bid_px_00 ask_px_00 bid_sz_00 ask_sz_00 bid_ct_00 ask_ct_00"
	csvVenue = " bid_px_00 ask_px_00 bid_sz_00 ask_sz_00 bid_pb_00 ask_pb_00" // who quotes instead of how many

	csvTrade = csvHead + "action side depth price size flags ts_in_delta sequence"
	csvMbo   = csvHead + "action side price size channel_id order_id flags ts_in_delta sequence"
	csvBbo   = csvHead + "side price size flags sequence" + csvLevel
	csvCmbp  = csvHead + "action side price size flags ts_in_delta" + csvVenue
	csvCbbo  = csvHead + "side price size flags" + csvVenue
	csvOhlcv = "ts_event rtype publisher_id instrument_id open high low close volume"

	csvStatus    = csvHead + "action reason trading_event is_trading is_quoting is_short_sell_restricted"
	csvStat      = csvHead + "ts_ref price quantity sequence ts_in_delta stat_type channel_id update_action stat_flags"
	csvImbalance = csvHead + "ref_price auction_time cont_book_clr_price auct_interest_clr_price ssr_filling_price ind_match_price upper_collar lower_collar " +
		"paired_qty total_imbalance_qty market_imbalance_qty unpaired_qty auction_type side auction_status freeze_status num_extensions unpaired_side " +
		"significant_imbalance"
	csvDefinition = csvHead + "raw_symbol security_update_action instrument_class min_price_increment display_factor expiration activation high_limit_price " +
		"low_limit_price max_price_variation unit_of_measure_qty min_price_increment_amount price_ratio inst_attrib_value underlying_id raw_instrument_id " +
		"market_depth_implied market_depth market_segment_id max_trade_vol min_lot_size min_lot_size_block min_lot_size_round_lot min_trade_vol " +
		"contract_multiplier decay_quantity original_contract_size appl_id maturity_year decay_start_date channel_id currency settl_currency secsubtype group " +
		"exchange asset cfi security_type unit_of_measure underlying strike_price_currency strike_price match_algorithm main_fraction price_display_format " +
		"sub_fraction underlying_product maturity_month maturity_day maturity_week user_defined_instrument contract_multiplier_unit flow_schedule_type tick_rule " +
		"leg_count leg_index leg_instrument_id leg_raw_symbol leg_instrument_class leg_side leg_price leg_delta leg_ratio_price_numerator " +
		"leg_ratio_price_denominator leg_ratio_qty_numerator leg_ratio_qty_denominator leg_underlying_id"
)

// csvChars are the columns of one byte that hold a letter; the others hold a number.
var csvChars = strings.Fields("action side auction_type unpaired_side significant_imbalance instrument_class match_algorithm security_update_action " +
	"user_defined_instrument leg_instrument_class leg_side is_trading is_quoting is_short_sell_restricted")

type csvKind uint8

const (
	csvUnsigned csvKind = iota
	csvSigned
	csvChar
	csvText
)

// csvColumn is where a column's value lies in a record, in bytes, and what it is.
type csvColumn struct {
	offset, size int
	kind         csvKind
}

// csvLayout gives a schema's columns and its message.
func csvLayout(schema feed.Schema) (columns string, message any) {
	switch schema {
	case feed.SchemaMbo:
		return csvMbo, feed.MboMsg{}
	case feed.SchemaTrades:
		return csvTrade, feed.TradeMsg{}
	case feed.SchemaMbp1, feed.SchemaTbbo:
		return csvTrade + csvLevel, feed.Mbp1Msg{}
	case feed.SchemaMbp10:
		columns = csvTrade
		for level := range 10 {
			columns += strings.ReplaceAll(csvLevel, "_00", fmt.Sprintf("_%02d", level))
		}
		return columns, feed.Mbp10Msg{}
	case feed.SchemaBbo1s, feed.SchemaBbo1m:
		return csvBbo, feed.BboMsg{}
	case feed.SchemaCmbp1, feed.SchemaTcbbo:
		return csvCmbp, feed.Cmbp1Msg{}
	case feed.SchemaCbbo1s, feed.SchemaCbbo1m:
		return csvCbbo, feed.CbboMsg{}
	case feed.SchemaDefinition:
		return csvDefinition, feed.InstrumentDefMsg{}
	case feed.SchemaStatistics:
		return csvStat, feed.StatMsg{}
	case feed.SchemaStatus:
		return csvStatus, feed.StatusMsg{}
	case feed.SchemaImbalance:
		return csvImbalance, feed.ImbalanceMsg{}
	}
	return csvOhlcv, feed.OhlcvMsg{}
}

func csvNames(schema feed.Schema) []string {
	columns, _ := csvLayout(schema)
	return strings.Fields(columns)
}

// csvColumns finds each column's field in the schema's message, whose names are the same but for case and underscores.
func csvColumns(schema feed.Schema, names []string) []csvColumn {
	_, message := csvLayout(schema)
	fields := map[string]csvColumn{}
	collectFields(fields, reflect.TypeOf(message), 0, "")
	columns := make([]csvColumn, len(names))
	for i, name := range names {
		columns[i] = fields[strings.ReplaceAll(name, "_", "")] // a test goes over all of them
		if slices.Contains(csvChars, name) && columns[i].size == 1 {
			columns[i].kind = csvChar
		}
	}
	return columns
}

// collectFields notes the fields of a message, those of its price levels with the level's number behind the name.
func collectFields(fields map[string]csvColumn, t reflect.Type, at int, suffix string) {
	for i := range t.NumField() {
		f := t.Field(i)
		offset := at + int(f.Offset)
		switch f.Type.Kind() {
		case reflect.Struct:
			if !f.Anonymous {
				suffix = "00"
			}
			collectFields(fields, f.Type, offset, suffix)
		case reflect.Array:
			if item := f.Type.Elem(); item.Kind() == reflect.Struct {
				for n := range f.Type.Len() {
					collectFields(fields, item, offset+n*int(item.Size()), fmt.Sprintf("%02d", n))
				}
				continue
			}
			fields[strings.ToLower(f.Name)+suffix] = csvColumn{offset, f.Type.Len(), csvText}
		default:
			kind := csvUnsigned
			if f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Int64 {
				kind = csvSigned
			}
			fields[strings.ToLower(f.Name)+suffix] = csvColumn{offset, int(f.Type.Size()), kind}
		}
	}
}
