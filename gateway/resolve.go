package gateway

import (
	"strconv"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// resolve finds the instruments that a request names and, with tell, tells their
// names as the client is to know them now. A symbol may have had any number of ids:
// work bounds how many one step looks at. It reports whether it came to the end.
func (s *session) resolve(in *intro, work *int, tell bool) bool {
	r, table := &in.request, s.symbolTable()
	if r.symbols == nil {
		in.filter.all = true
		return true
	}
	for ; in.next < len(r.symbols); in.next, in.nextID = in.next+1, 0 {
		if *work--; *work <= 0 || !s.room(1) {
			return false
		}
		asked := r.symbols[in.next]
		if r.stype == feed.STypeInstrumentID {
			id, _ := strconv.ParseUint(asked, 10, 32) // checked by newRequest
			in.filter.addID(uint32(id))
			if tell {
				s.tellID(table, uint32(id), asked)
			}
			continue
		}
		symbol, others := asked, []string(nil)
		if table != nil {
			symbol, others = table.Match(asked)
		}
		switch {
		case table != nil && symbol != "":
			if !s.resolveIDs(in, table, asked, symbol, work, tell) {
				return false
			}
		case len(others) > 0 && tell:
			s.stageError(feed.ErrorSymbolResolutionFailed, lsg.Ambiguous(withoutKeys(asked), others).Text(), true)
		default:
			in.filter.pending.add(asked)
			if tell {
				s.tellNobody(r.schema, asked)
			}
		}
	}
	return true
}

// resolveIDs takes in the ids that ever stood for a symbol.
func (s *session) resolveIDs(in *intro, table *journal.Symbols, asked, symbol string, work *int, tell bool) bool {
	in.filter.names[symbol] = asked
	for ids := table.IDs(symbol); in.nextID < len(ids); in.nextID++ {
		if *work--; *work <= 0 || !s.room(1) {
			return false
		}
		id := ids[in.nextID]
		in.filter.maybe[id] = struct{}{}
		if s.knows(table, id) != symbol {
			continue // at other places of the tape, or on other days
		}
		in.filter.ids[id] = struct{}{}
		if tell {
			s.stageMapping(id, feed.STypeRawSymbol, asked, symbol)
		}
	}
	return true
}

// tellID tells the name of an id. Where instruments are named at all, one that is
// not is worth a word; it passes all the same.
func (s *session) tellID(table *journal.Symbols, id uint32, asked string) {
	if table == nil {
		return
	}
	if name := s.knows(table, id); name != "" {
		s.stageMapping(id, feed.STypeInstrumentID, asked, name)
		return
	}
	if table.Len() > 0 && !hasName(table, id) {
		s.stageWaiting(lsg.Waiting{InstrumentID: asked, Words: "nobody has named this id yet; what is published of it comes all the same"})
	}
}

// tellNobody says that a symbol is not there yet. That is no error: bots may start
// before adapters, and official clients take any error for the end of a session.
func (s *session) tellNobody(schema feed.Schema, asked string) {
	s.stageWaiting(lsg.Waiting{Schema: schema.String(), Symbol: withoutKeys(asked), Words: "nobody has published it yet; its data follows once somebody does"})
}

// hasName reports whether an id ever had a name.
func hasName(table *journal.Symbols, id uint32) bool {
	_, ok := table.Symbol(id)
	return ok
}
