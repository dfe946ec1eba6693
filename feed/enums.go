package feed

import "fmt"

// Action is what happened to an order or a book.
type Action byte

// The actions of DBN.
const (
	ActionModify Action = 'M'
	ActionTrade  Action = 'T' // an aggressing order traded
	ActionFill   Action = 'F' // a resting order was filled
	ActionCancel Action = 'C'
	ActionAdd    Action = 'A'
	ActionClear  Action = 'R' // the book was reset
	ActionNone   Action = 'N'
)

// String is the action's letter.
func (a Action) String() string { return string(rune(a)) }

// Side is a side of the book: of a resting order its own, of a trade the aggressor's.
type Side byte

// The sides of DBN.
const (
	SideAsk  Side = 'A' // sell
	SideBid  Side = 'B' // buy
	SideNone Side = 'N'
)

// String is the side's letter.
func (s Side) String() string { return string(rune(s)) }

// Flags is a set of bits about an event.
type Flags uint8

// The flags of DBN.
const (
	FlagLast              Flags = 128 // the last record of the event
	FlagTob               Flags = 64  // top of book only
	FlagSnapshot          Flags = 32  // from a replay or snapshot
	FlagMbp               Flags = 16  // aggregated price level, not an order
	FlagBadTsRecv         Flags = 8   // ts_recv is not exact
	FlagMaybeBadBook      Flags = 4   // an unrecoverable gap was found
	FlagPublisherSpecific Flags = 2
)

// InstrumentClass is the kind of an instrument, as its letter.
type InstrumentClass byte

// The instrument classes of DBN.
const (
	ClassBond          InstrumentClass = 'B'
	ClassCall          InstrumentClass = 'C'
	ClassFuture        InstrumentClass = 'F'
	ClassIndex         InstrumentClass = 'I'
	ClassStock         InstrumentClass = 'K'
	ClassMixedSpread   InstrumentClass = 'M'
	ClassPut           InstrumentClass = 'P'
	ClassFutureSpread  InstrumentClass = 'S'
	ClassOptionSpread  InstrumentClass = 'T'
	ClassFXSpot        InstrumentClass = 'X'
	ClassCommoditySpot InstrumentClass = 'Y'
)

// TriState is yes, no or unknown, as its letter.
type TriState byte

// The values of a TriState.
const (
	TriYes     TriState = 'Y'
	TriNo      TriState = 'N'
	TriUnknown TriState = '~'
)

// StatType is what a statistics record measures.
type StatType uint16

// The statistics of DBN.
const (
	StatOpeningPrice            StatType = 1
	StatIndicativeOpeningPrice  StatType = 2
	StatSettlementPrice         StatType = 3
	StatTradingSessionLowPrice  StatType = 4
	StatTradingSessionHighPrice StatType = 5
	StatClearedVolume           StatType = 6
	StatLowestOffer             StatType = 7
	StatHighestBid              StatType = 8
	StatOpenInterest            StatType = 9
	StatFixingPrice             StatType = 10
	StatClosePrice              StatType = 11
	StatNetChange               StatType = 12
	StatVwap                    StatType = 13
	StatVolatility              StatType = 14
	StatDelta                   StatType = 15
	StatUncrossingPrice         StatType = 16
	StatUpperPriceLimit         StatType = 17
	StatLowerPriceLimit         StatType = 18
	StatBlockVolume             StatType = 19
	StatVenueSpecificVolume1    StatType = 10001
	StatUpdateNew               uint8    = 1 // update_action: a new value
	StatUpdateDelete            uint8    = 2 // update_action: the value is withdrawn
)

// StatusAction is what happened to an instrument's trading.
type StatusAction uint16

// The status actions of DBN.
const (
	StatusNone StatusAction = iota
	StatusPreOpen
	StatusPreCross
	StatusQuoting
	StatusCross
	StatusRotation
	StatusNewPriceIndication
	StatusTrading
	StatusHalt
	StatusPause
	StatusSuspend
	StatusPreClose
	StatusClose
	StatusPostClose
	StatusSsrChange
	StatusNotAvailableForTrading
)

// SystemCode says what a system record is about.
type SystemCode uint8

// The system codes. SystemUnset also carries this server's own lines, which begin with a keyword such as "gap|".
const (
	SystemHeartbeat       SystemCode = 0
	SystemSubscriptionAck SystemCode = 1
	SystemSlowReader      SystemCode = 2
	SystemReplayCompleted SystemCode = 3
	SystemEndOfInterval   SystemCode = 4
	SystemUnsubscribeAck  SystemCode = 5
	SystemUnset           SystemCode = 255
)

// String is a short name for logs.
func (c SystemCode) String() string {
	switch c {
	case SystemHeartbeat:
		return "heartbeat"
	case SystemSubscriptionAck:
		return "subscription_ack"
	case SystemSlowReader:
		return "slow_reader_warning"
	case SystemReplayCompleted:
		return "replay_completed"
	case SystemEndOfInterval:
		return "end_of_interval"
	case SystemUnsubscribeAck:
		return "unsubscribe_ack"
	case SystemUnset:
		return "unset"
	}
	return fmt.Sprintf("system code %d", uint8(c))
}

// ErrorCode says what an error record is about.
type ErrorCode uint8

// The error codes.
const (
	ErrorAuthFailed             ErrorCode = 1
	ErrorKeyDeactivated         ErrorCode = 2
	ErrorConnectionLimit        ErrorCode = 3
	ErrorSymbolResolutionFailed ErrorCode = 4 // not fatal
	ErrorInvalidSubscription    ErrorCode = 5
	ErrorInternal               ErrorCode = 6
	ErrorSkippedRecords         ErrorCode = 7 // not fatal
	ErrorReplayAgedOut          ErrorCode = 8
	ErrorUnset                  ErrorCode = 255
)

// Fatal reports whether a server closes the session after an error of this code.
func (c ErrorCode) Fatal() bool { return c != ErrorSymbolResolutionFailed && c != ErrorSkippedRecords }

// String is a short name for logs.
func (c ErrorCode) String() string {
	switch c {
	case ErrorAuthFailed:
		return "auth_failed"
	case ErrorKeyDeactivated:
		return "api_key_deactivated"
	case ErrorConnectionLimit:
		return "connection_limit_exceeded"
	case ErrorSymbolResolutionFailed:
		return "symbol_resolution_failed"
	case ErrorInvalidSubscription:
		return "invalid_subscription"
	case ErrorInternal:
		return "internal_error"
	case ErrorSkippedRecords:
		return "skipped_records_after_slow_reading"
	case ErrorReplayAgedOut:
		return "replay_aged_out"
	case ErrorUnset:
		return "unset"
	}
	return fmt.Sprintf("error code %d", uint8(c))
}
