package journal

import (
	"cmp"
	"fmt"
	"slices"
)

// enterAtOnce is how many mappings are looked at, and entered, in one go: others wait no longer than that takes.
const enterAtOnce = 1 << 10

// MapDated enters what ids stand for by days, from the present tails on. To be called before the first record that needs it. What is there already is not
// entered again, only what is new; entered says how many entries that made. Nothing is entered when one of them is at odds with what is there.
// It writes to a side file (no sync), and lets others in between. Errors: ErrIDConflict when an id stands for another symbol on one of the days, or was given out
// for another one; else as Map's.
func (w *Writer) MapDated(list []DatedMapping) (entered int, err error) {
	for i := range list {
		if err := list[i].check(); err != nil {
			return 0, err
		}
	}
	w.declares(list)
	// All are looked at before the first is entered.
	deleted := map[uint32]struct{}{}
	for _, enter := range []bool{false, true} {
		for rest := list; len(rest) > 0; {
			n := min(len(rest), enterAtOnce)
			k, err := w.mapSome(rest[:n], enter, deleted)
			if entered += k; err != nil {
				return entered, err
			}
			rest = rest[n:]
		}
	}
	return entered, nil
}

func (m *DatedMapping) check() error {
	switch m.Kind {
	case KindDefinition, KindDeletion:
		m.To = m.From + 1
	case KindDated, KindAlias:
	default:
		return fmt.Errorf("%w: a mapping of %d by days of kind %s", ErrName, m.ID, m.Kind)
	}
	if m.From >= m.To || m.From == NoDay {
		return fmt.Errorf("%w: mapping of %d to %s from %s to %s: no day lies between", ErrName, m.ID, m.Symbol, m.From, m.To)
	}
	if m.Kind == KindDeletion {
		m.Symbol = ""
		return nil
	}
	return CheckSymbol(m.Symbol)
}

// mapSome looks at a few mappings, and enters what is new. Those of one kind that follow each other make one entry of the log.
// deleted is the ids that the list frees: what follows of them cannot be judged before that is entered.
func (w *Writer) mapSome(list []DatedMapping, enter bool, deleted map[uint32]struct{}) (entered int, err error) {
	s := w.d.symbols
	s.mu.Lock()
	defer s.mu.Unlock()
	var news []Mapping
	flush := func() error {
		if len(news) == 0 {
			return nil
		}
		err := w.enterMappings(news)
		if err == nil {
			entered += len(news)
		}
		news = news[:0]
		return err
	}
	touched := map[uint32]struct{}{}
	for i := range list {
		m := &list[i]
		if _, freed := deleted[m.ID]; !enter && freed {
			continue
		}
		if m.Kind == KindDeletion {
			deleted[m.ID] = struct{}{}
		}
		// What is said of an id twice is held against what was said first.
		if _, again := touched[m.ID]; enter && (again || len(news) > 0 && news[0].Kind != m.Kind) {
			if err := flush(); err != nil {
				return entered, err
			}
			clear(touched)
		}
		touched[m.ID] = struct{}{}
		before := len(news)
		if news, err = w.newsOf(news, m); err != nil {
			return entered, err
		}
		if !enter {
			news = news[:before]
		}
	}
	return entered, flush()
}

// newsOf appends what of a mapping is not in the table yet. The caller holds Symbols.mu.
func (w *Writer) newsOf(news []Mapping, m *DatedMapping) ([]Mapping, error) {
	s := w.d.symbols
	before := len(news)
	add := func(from, to Day) {
		if from < to {
			news = append(news, Mapping{ID: m.ID, Symbol: m.Symbol, Kind: m.Kind, From: from, To: to, Instrument: Instrument{Symbol: m.Symbol}})
		}
	}
	var same []daySpan // days that are said already
	switch {
	case s.ids.head(m.ID) == 0:
		if m.Kind != KindDeletion { // there is nothing to end
			add(m.From, m.To)
		}
		return news, nil
	case m.Kind == KindDefinition && (s.isDefined(m) || s.newestOpen(m.ID) > 0 && s.only(m.ID, m.Symbol)),
		m.Kind == KindDeletion && !s.byDays(m.ID):
		return news, nil
	case m.Kind == KindDefinition:
	default:
		same = s.said(m)
	}
	piece := add
	if m.Kind == KindDated {
		piece = func(from, to Day) { s.notNamed(m, from, to, add) }
	}
	from := m.From
	for _, x := range same {
		piece(from, min(x.from, m.To))
		from = max(from, x.to)
	}
	piece(from, m.To)
	if m.Kind == KindDated || m.Kind == KindDefinition {
		for i := range news[before:] {
			if err := w.checkDated(&news[before+i]); err != nil {
				return news[:before], err
			}
		}
	}
	return news, nil
}

// eachDay is how many days are looked at one by one for the symbol that they have already; a longer interval is entered whole.
const eachDay = 1000

// notNamed gives the days of [from, to) on which the id does not stand for the symbol of m already, by whatever entry.
func (s *Symbols) notNamed(m *DatedMapping, from, to Day, add func(from, to Day)) {
	if from >= to {
		return
	}
	named := func(day Day) bool {
		q := query{s: s, day: day, upTo: s.list.len()}
		return q.name(m.ID) == m.Symbol
	}
	if !s.byDays(m.ID) { // one open entry is all that there is to say, or nothing
		if !named(from) {
			add(from, to)
		}
		return
	}
	if to-from > eachDay {
		add(from, to)
		return
	}
	for from < to {
		for from < to && named(from) {
			from++
		}
		end := from
		for end < to && !named(end) {
			end++
		}
		add(from, end)
		from = end
	}
}

// byDays says whether what an id stands for depends on the day.
func (s *Symbols) byDays(id uint32) (dated bool) {
	if x := s.indexOf(id); x != nil {
		return x.dated()
	}
	s.chain(id, func(_ int, _ *entry, b *batch) bool {
		dated = b.kind != KindOpen
		return !dated
	})
	return dated
}

// isDefined says whether the day of a definition is named by one of the same symbol, its own or carried on to it.
func (s *Symbols) isDefined(m *DatedMapping) bool {
	own := false
	s.overlapping(m.ID, m.From, m.To, func(_ uint32, e *entry, kind Kind) {
		own = own || kind == KindDefinition && *s.texts.at(int(e.symbol)) == m.Symbol
	})
	if own {
		return true
	}
	q := query{s: s, day: m.From, upTo: s.list.len()}
	q.look(m.ID)
	if q.definition == 0 || *s.texts.at(int(q.entry(q.definition).symbol)) != m.Symbol {
		return false
	}
	q.lookForEnd(m.ID)
	return q.ended == 0
}

// said is the days of which the table says the same as m already, in their order.
func (s *Symbols) said(m *DatedMapping) []daySpan {
	var list []daySpan
	s.overlapping(m.ID, m.From, m.To, func(at uint32, e *entry, kind Kind) {
		if *s.texts.at(int(e.symbol)) == m.Symbol && (kind == m.Kind || m.Kind == KindDated && (kind == KindDefinition || kind == KindCorrection)) {
			list = append(list, daySpan{at: at, from: e.from, to: e.to})
		}
	})
	slices.SortFunc(list, func(a, b daySpan) int { return cmp.Compare(a.from, b.from) })
	return list
}

// overlapping goes over an id's entries that hold for one of the days.
func (s *Symbols) overlapping(id uint32, from, to Day, f func(at uint32, e *entry, kind Kind)) {
	take := func(at uint32) {
		if e := s.list.at(int(at - 1)); e.from < to && from < e.to {
			f(at, e, s.batches.at(int(e.batch)).kind)
		}
	}
	x := s.indexOf(id)
	if x == nil {
		s.chain(id, func(n int, _ *entry, _ *batch) bool {
			take(uint32(n + 1))
			return true
		})
		return
	}
	for _, list := range [...]spanTree{x.corrections, x.exact, x.deletions, x.aliases} {
		list.over(from, to-1, func(sp daySpan) { take(sp.at) })
	}
}

// checkDated refuses a second symbol for a day.
func (w *Writer) checkDated(m *Mapping) error {
	if err := w.checkAllocated(m.ID, m.Symbol); err != nil {
		return err
	}
	s := w.d.symbols
	var others, frees []daySpan
	s.overlapping(m.ID, m.From, m.To, func(at uint32, e *entry, kind Kind) {
		x := daySpan{at: at, from: max(e.from, m.From), to: min(e.to, m.To)}
		switch {
		case kind == KindDeletion:
			x.from, x.to = e.from, NoDay
			frees = append(frees, x)
		case kind == KindCorrection:
			frees = append(frees, x)
			fallthrough
		case kind.exact():
			if symbol := *s.texts.at(int(e.symbol)); symbol != m.Symbol && symbol != "" {
				others = append(others, x)
			}
		}
	})
	for _, x := range others {
		freed := slices.ContainsFunc(frees, func(f daySpan) bool { return f.at > x.at && f.from <= x.from && x.to <= f.to })
		if freed {
			continue
		}
		name := *s.texts.at(int(s.list.at(int(x.at - 1)).symbol))
		return fmt.Errorf("%w: %d is %s on %s, and %s is wanted for it; if %s is wrong, correct it: tapewire symbols correct --dataset %s --id %d --symbol %s --from %s --to %s",
			ErrIDConflict, m.ID, name, x.from, m.Symbol, name, w.d.name, m.ID, m.Symbol, x.from, x.to)
	}
	// Who publishes live under a name must not be renamed by somebody else's dates.
	if open := s.newestOpen(m.ID); open > 0 {
		o := s.At(open - 1)
		if since := DayOf(o.Time); o.Symbol != m.Symbol && m.To > since && w.isOthers(o.Producer) {
			return fmt.Errorf("%w: %d is %s of producer %s, which is connected, since %s; wanted for %s until %s", ErrIDConflict, m.ID, o.Symbol, o.Producer, since, m.Symbol, m.To)
		}
	}
	return nil
}
