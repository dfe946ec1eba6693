package lsg

import (
	"fmt"
	"strconv"
	"strings"
)

// AllSymbols is the symbol that stands for the whole dataset.
const AllSymbols = "ALL_SYMBOLS"

// ChunkSymbols is how many symbols the official clients put on one line; the chunks of one subscription share its ID.
const ChunkSymbols = 500

// StartSession is the line that ends the text phase.
const StartSession = "start_session"

// Subscription is one subscription line, which may be one chunk of a longer list of symbols.
type Subscription struct {
	Schema   string
	StypeIn  string   // "raw_symbol" when the line has none
	Symbols  []string // nil means ALL_SYMBOLS; never empty otherwise
	Start    uint64   // ns since 1970, with HasStart; 0 asks for everything that is kept
	HasStart bool
	End      uint64 // ns since 1970, with HasEnd: the first moment that is not wanted any more, by the clock of Start
	HasEnd   bool
	Snapshot bool
	IsLast   bool   // true when the line does not say, as dbn-go never does
	ID       uint64 // 0 when the line does not say; repeated IDs are normal

	Resume    Position // with HasResume: go on exactly there; Resume.Schema is not used
	HasResume bool
}

// IsStartSession tells whether a line starts the session: `start_session`, `start_session=` and `start_session=0` all do.
func IsStartSession(line string) bool { return strings.HasPrefix(line, StartSession) }

// IsSubscription tells whether a line is meant as a subscription: its first key is one that only subscriptions begin with.
func IsSubscription(line string) bool {
	key, _, ok := strings.Cut(line, "=")
	if !ok {
		return false
	}
	switch key {
	case "schema", "stype_in", "symbols", "start", "end", "resume", "snapshot", "is_last", "id":
		return true
	}
	return false
}

// unsubscribe begins the line that takes a subscription back, whole or in part. The rest of it is a subscription's, without an ID.
const unsubscribe = "unsubscribe|"

// IsUnsubscribe tells whether a line takes a subscription back. The Rust client sends such lines since version 0.64.
func IsUnsubscribe(line string) bool { return strings.HasPrefix(line, unsubscribe) }

// ParseUnsubscribe reads what is no longer wanted.
func ParseUnsubscribe(line string) (Subscription, error) {
	return ParseSubscription(strings.TrimPrefix(line, unsubscribe))
}

// ParseSubscription reads a subscription line, its fields in any order.
func ParseSubscription(line string) (Subscription, error) {
	f, err := Parse(line)
	if err != nil {
		return Subscription{}, err
	}
	s := Subscription{StypeIn: f.Get("stype_in")}
	if s.StypeIn == "" {
		s.StypeIn = "raw_symbol"
	}
	if s.Schema, err = f.need("schema"); err != nil {
		return Subscription{}, err
	}
	symbols, err := f.need("symbols")
	if err != nil {
		return Subscription{}, fmt.Errorf("%w; write %s for the whole dataset", err, AllSymbols)
	}
	if s.Symbols, err = splitSymbols(strings.Clone(symbols)); err != nil { // a symbol that is kept must not keep the line
		return Subscription{}, err
	}
	if s.IsLast, err = f.flag("is_last", true); err != nil {
		return Subscription{}, err
	}
	if s.Snapshot, err = f.flag("snapshot", false); err != nil {
		return Subscription{}, err
	}
	if s.ID, _, err = f.number("id"); err != nil {
		return Subscription{}, err
	}
	if err := s.parseSpan(f); err != nil {
		return Subscription{}, err
	}
	return s, s.check()
}

// parseSpan reads where the subscription begins and where it ends.
func (s *Subscription) parseSpan(f Fields) (err error) {
	if s.Start, s.HasStart, err = f.time("start"); err != nil {
		return err
	}
	if s.End, s.HasEnd, err = f.time("end"); err != nil {
		return err
	}
	resume, ok := f.Lookup("resume")
	if !ok {
		return nil
	}
	s.HasResume = true
	epoch, seq, _ := strings.Cut(resume, ":")
	var errEpoch, errSeq error
	s.Resume.Epoch, errEpoch = strconv.ParseUint(epoch, 10, 64)
	s.Resume.Seq, errSeq = strconv.ParseUint(seq, 10, 64)
	if errEpoch != nil || errSeq != nil {
		return fmt.Errorf("%w: resume=%s; write EPOCH:SEQ as a position message gave them", ErrValue, quote(resume))
	}
	return nil
}

// check holds the rules that both sides keep.
func (s Subscription) check() error {
	given := 0
	for _, on := range []bool{s.HasStart, s.Snapshot, s.HasResume} {
		if on {
			given++
		}
	}
	if given > 1 {
		return fmt.Errorf("%w: start, snapshot and resume exclude each other; send one of them", ErrValue)
	}
	if s.HasEnd && s.End <= s.Start { // without a start it is 0
		return fmt.Errorf("%w: end=%d does not lie after start=%d; the end is the first moment that is not wanted any more", ErrValue, s.End, s.Start)
	}
	return nil
}

// splitSymbols splits the comma-separated list. The result is nil for ALL_SYMBOLS.
func splitSymbols(list string) ([]string, error) {
	if list == AllSymbols {
		return nil, nil
	}
	count := strings.Count(list, ",") + 1
	if count > MaxSymbolsPerLine {
		return nil, fmt.Errorf("%w: %d symbols on one line, the limit is %d; split them or subscribe to %s", ErrTooLong, count, MaxSymbolsPerLine, AllSymbols)
	}
	symbols := make([]string, 0, count)
	for symbol := range strings.SplitSeq(list, ",") {
		if symbol == AllSymbols {
			return nil, fmt.Errorf("%w: %s among other symbols; send it alone", ErrValue, AllSymbols)
		}
		if err := checkSymbol("symbols", symbol); err != nil {
			return nil, err
		}
		symbols = append(symbols, symbol)
	}
	return symbols, nil
}

func checkSymbol(key, symbol string) error {
	if symbol == "" {
		return fmt.Errorf("%w: %s holds an empty symbol", ErrValue, key)
	}
	if len(symbol) > MaxSymbol {
		return fmt.Errorf("%w: symbol %s has %d bytes, the limit is %d", ErrTooLong, quote(symbol), len(symbol), MaxSymbol)
	}
	return nil
}

// Append writes the line with its newline, the fields in the order of the Rust client. It fails with ErrForbidden for a symbol that holds a
// comma, a '|' or a control character, and with ErrTooLong beyond a named limit.
func (s Subscription) Append(dst []byte) ([]byte, error) {
	if s.Schema == "" {
		return dst, fmt.Errorf("%w: schema", ErrMissing)
	}
	if err := s.check(); err != nil {
		return dst, err
	}
	if len(s.Symbols) > MaxSymbolsPerLine {
		return dst, fmt.Errorf("%w: %d symbols on one line, the limit is %d", ErrTooLong, len(s.Symbols), MaxSymbolsPerLine)
	}
	symbols := AllSymbols
	if len(s.Symbols) > 0 {
		for _, symbol := range s.Symbols {
			if strings.IndexByte(symbol, ',') >= 0 {
				return dst, fmt.Errorf("%w: symbol %s holds a comma, which separates symbols", ErrForbidden, quote(symbol))
			}
			if err := checkSymbol("symbols", symbol); err != nil {
				return dst, err
			}
		}
		symbols = strings.Join(s.Symbols, ",")
	}
	w := lineWriter{buf: dst, start: len(dst)}
	w.text("schema", s.Schema)
	w.optional("stype_in", s.StypeIn)
	w.text("symbols", symbols)
	w.flag("snapshot", s.Snapshot)
	w.flag("is_last", s.IsLast)
	if s.HasStart {
		w.time("start", s.Start)
	}
	if s.HasEnd {
		w.time("end", s.End)
	}
	w.number("id", s.ID)
	if s.HasResume {
		w.text("resume", strconv.FormatUint(s.Resume.Epoch, 10)+":"+strconv.FormatUint(s.Resume.Seq, 10))
	}
	return w.line()
}
