package gateway

import (
	"context"
	"strconv"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// mappings is what records say of the names of ids.
type mappings struct {
	dated []journal.DatedMapping
	open  []idSymbol
}

// idSymbol is an instrument id and what it stands for from now on; without a symbol
// nobody knows.
type idSymbol struct {
	id     uint32
	symbol string
}

// mappingsOf gives what metadata says of ids: each interval is one. passed is
// how many are none, because no day lies between their dates.
func mappingsOf(m *feed.Metadata) (all mappings, passed int) {
	kind := journal.KindDated
	switch m.StypeIn {
	case feed.STypeRawSymbol, feed.STypeInstrumentID, feed.STypeNone:
	default:
		kind = journal.KindAlias // continuous, parent and the like: what is asked for, and not what the instrument is
	}
	for _, mapping := range m.Mappings {
		for _, interval := range mapping.Intervals {
			number, symbol := interval.Symbol, mapping.RawSymbol
			if m.StypeIn == feed.STypeInstrumentID {
				number, symbol = symbol, number
			}
			id, err := strconv.ParseUint(number, 10, 32)
			if err != nil || symbol == "" || symbol == number {
				continue // a mapping between two kinds of names: nothing about ids
			}
			from, to, ok := interval.StartDate, interval.EndDate, true
			dated := journal.DatedMapping{ID: uint32(id), Symbol: symbol, Kind: kind}
			if from != 0 || to != 0 {
				var okFrom, okTo bool
				dated.From, okFrom = journal.DayOfDate(from)
				dated.To, okTo = journal.DayOfDate(to)
				ok = okFrom && okTo && dated.From < dated.To
			}
			switch {
			case !ok:
				passed++
			case dated.From > 0 || kind == journal.KindAlias && dated.To > 0:
				all.dated = append(all.dated, dated)
			case kind != journal.KindAlias: // from the beginning of time on: not a date, but all there is
				all.open = append(all.open, idSymbol{uint32(id), symbol})
			}
		}
	}
	return all, passed
}

// mappingOf gives what a symbol mapping record says: its times, if it has both,
// are the days for which it holds. Without a symbol and times it says, as in a
// captured live stream, that nobody knows the id from here on.
func mappingOf(m *feed.SymbolMappingMsg) (all mappings) {
	id, symbol, kind := m.InstrumentID, m.OutSymbol(), journal.KindDated
	if m.StypeOut == feed.STypeInstrumentID && symbol == strconv.FormatUint(uint64(id), 10) {
		symbol = m.InSymbol()
		if m.StypeIn != feed.STypeRawSymbol && m.StypeIn != feed.STypeNone {
			kind = journal.KindAlias
		}
	}
	dated := journal.DatedMapping{ID: id, Symbol: symbol, Kind: kind, To: journal.NoDay - 1}
	bounded := m.StartTs != feed.UndefTimestamp && m.EndTs != feed.UndefTimestamp && m.StartTs < m.EndTs && m.StartTs > 0
	if bounded {
		dated.From, dated.To = journal.DayOf(m.StartTs), journal.DayOf(m.EndTs-1)+1
	}
	if bounded || kind == journal.KindAlias {
		all.dated = []journal.DatedMapping{dated}
	} else {
		all.open = []idSymbol{{id, symbol}}
	}
	return all
}

// definitionOf gives what a definition says of its id; false: nothing.
func definitionOf(r feed.Record) (m journal.DatedMapping, ok bool) {
	def, ok := feed.View[feed.InstrumentDefMsg](r)
	if !ok {
		return m, false
	}
	m = journal.DatedMapping{ID: r.InstrumentID(), Symbol: feed.CString(def.RawSymbol[:]), From: journal.DayOf(r.IndexTime()), Kind: journal.KindDefinition}
	if def.SecurityUpdateAction == 'D' {
		m.Kind, m.Symbol = journal.KindDeletion, ""
	}
	return m, m.From != journal.NoDay // one without a symbol is passed over, and counted
}

// askable takes out what cannot be a symbol: the records of those ids have no
// name, and the rest of the feed goes on.
func (in *ingest) askable(all *mappings) {
	dated, open := all.dated[:0], all.open[:0]
	for _, m := range all.dated {
		if m.Kind == journal.KindDeletion || in.isAskable(m.ID, m.Symbol) {
			dated = append(dated, m)
		}
	}
	for _, m := range all.open {
		if m.symbol == "" || in.isAskable(m.id, m.symbol) {
			open = append(open, m)
		}
	}
	all.dated, all.open = dated, open
}

func (in *ingest) isAskable(id uint32, symbol string) bool {
	err := journal.CheckSymbol(symbol)
	if err == nil {
		return true
	}
	in.p.srv.metrics.badSymbols.Inc()
	if in.badSymbols++; in.badSymbols == 1 {
		in.p.srv.log.Warn("a name is passed over, and its instrument's records have none; others of this session are counted only",
			zap.Uint64("session", in.p.session), zap.String("dataset", in.p.req.Dataset), zap.String("producer", in.p.req.Producer), zap.Uint32("instrument_id", id), zap.Error(err))
	}
	return false
}

// enter adds mappings to the symbol table. Those it has cost next to nothing.
func (in *ingest) enter(all mappings) error {
	in.askable(&all)
	n, err := in.p.writer.MapDated(all.dated)
	in.entries += n
	if err != nil {
		return err
	}
	for _, m := range all.dated {
		in.tell(m.ID)
	}
	for _, m := range all.open {
		var err error
		if m.symbol == "" {
			err = in.p.writer.Unname(m.id)
		} else {
			err = in.p.writer.Map(m.id, m.symbol)
		}
		if err != nil {
			return err
		}
		in.tell(m.id)
	}
	return nil
}

// enterAll is enter where it may wait for the disk.
func (in *ingest) enterAll(ctx context.Context, all mappings) error {
	for {
		err := in.enter(all)
		if !waits(err) {
			return err
		}
		if err := in.p.await(ctx); err != nil {
			return err
		}
	}
}

// define enters the symbols that definition records bring. It returns how many
// bytes can be taken: what a definition changes does not hold for records before
// it, so those are committed first.
func (in *ingest) define(run []byte, size int) (int, error) {
	var all mappings
	end := 0
	seen := map[uint32]struct{}{}
	for ; end < len(run); end += size {
		m, ok := definitionOf(feed.Record(run[end : end+size]))
		if !ok {
			continue
		}
		if _, again := seen[m.ID]; again {
			break
		}
		seen[m.ID] = struct{}{}
		all.dated = append(all.dated, m)
	}
	if len(all.dated) == 0 {
		return end, nil
	}
	if err := in.commit(nil); err != nil {
		return 0, err
	}
	in.entries++
	err := in.enter(all)
	if err == nil || waits(err) {
		if err != nil {
			end = 0
		}
		return end, err
	}
	// One is refused: those before it stay.
	for at := 0; at < end; at += size {
		m, ok := definitionOf(feed.Record(run[at : at+size]))
		if !ok {
			continue
		}
		if err := in.enter(mappings{dated: []journal.DatedMapping{m}}); err != nil {
			return at, err
		}
	}
	return end, nil
}

// toldIDs is how many ids a session remembers for which it may send records,
// so that the symbol table is not asked for each; a power of two.
const toldIDs = 1 << 10

// tell notes that the producer said what an id stands for, or was told it.
func (in *ingest) tell(id uint32) {
	if _, ours := in.p.feed.dataset.Symbols().Allocated(id); ours {
		if in.told == nil {
			in.told = map[uint32]struct{}{}
		}
		in.told[id] = struct{}{}
	}
}
