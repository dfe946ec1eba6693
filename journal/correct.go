package journal

import (
	"errors"
	"fmt"
)

// Correct overrides what an id stands for, on the days [from, to) or, without days (0, 0), in all that is on the tapes and until somebody says otherwise.
// An empty symbol takes the name away. An id that nobody ever named gets one when records may have it: some were published without a name, whose ids are near it. What was entered stays in the log, as does who corrected it; the ledger gets an entry.
// Sessions that were told the wrong name are not told the right one: it is for a journal that nobody serves. Errors: ErrNoInstrument, and as Writer.Map's.
func (d *Dataset) Correct(who string, id uint32, symbol string, from, to Day) error {
	if err := checkName("who corrects", who, MaxName); err != nil {
		return err
	}
	if symbol != "" {
		if err := CheckSymbol(symbol); err != nil {
			return err
		}
	}
	if from != 0 || to != 0 {
		if from >= to || to == NoDay {
			return fmt.Errorf("%w: correction of %d from %s to %s: no day lies between", ErrName, id, from, to)
		}
	}
	s := d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	if unnamed := s.ids.head(id) == 0; unnamed && (symbol == "" || !s.pages.Load().has(id)) {
		return fmt.Errorf("%w: %d of %s", ErrNoInstrument, id, d.name)
	}
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	m := Mapping{ID: id, Symbol: symbol, Kind: KindCorrection, From: from, To: to, Instrument: Instrument{Symbol: symbol}}
	if err := d.enterMappings(nil, who, []Mapping{m}); err != nil {
		return err
	}
	g := Gap{Schema: anySchema, FromTs: undefTime, ToTs: undefTime, Producer: who, Stream: fmt.Sprintf("id=%d|symbol=%s", id, symbol), Cause: CauseCorrected, At: d.positions()}
	if to > 0 {
		g.FromTs, g.ToTs = uint64(from)*dayNs, uint64(to)*dayNs
	}
	if err := d.enterGap(nil, g); err != nil {
		return errors.Join(errors.New("corrected, but the ledger has no entry of it"), err)
	}
	return nil
}
