package journal

import "github.com/tapewire/tapewire/feed"

// NameAt is the one owner of the question who an id is: what it stands for at record seq of a schema's tape when the record's index time (ts_recv, else
// ts_event) lies on day. false: nobody knows, and the record has no name.
//
// Only entries whose Effect is at most seq count, and corrections. Of them, in this order:
//  1. a correction of that day, the newest;
//  2. what names the very day: metadata that covers it, a definition of that day; the newest. Where an id was deleted and given to another symbol on one day
//     and no record of the tape lies between, nobody knows;
//  3. what is carried on to it: the definition of the last day not after it, unless the id was deleted, an entry of a later day says another symbol, or the id
//     lost its name after it was entered; the newest open entry, unless the definition is of a later day than that on which it was entered;
//  4. the newest open entry, unless what ended a definition came after it;
//  5. an alias, unless the id lost its name after it was entered.
//
// An id loses its name by an open entry without a symbol: it ends what was entered before it, but for what names the very day, and nothing of what comes after.
//
// A record without a time (NoDay) is named by open entries alone.
func (s *Symbols) NameAt(id uint32, schema feed.Schema, seq uint64, day Day) (string, bool) {
	return s.NameUpTo(id, schema, s.InEffect(schema, seq), day)
}

// NameUpTo is NameAt where the first n entries are in effect: a reader that follows a tape knows their number.
func (s *Symbols) NameUpTo(id uint32, schema feed.Schema, n int, day Day) (string, bool) {
	q := query{s: s, schema: schema, day: day, upTo: n}
	name := q.name(id)
	return name, name != ""
}

// query is what was found for an id so far: entries by 1 + their number, 0 for none.
type query struct {
	s      *Symbols
	schema feed.Schema
	day    Day
	upTo   int // entries below it are in effect

	correction, exact, other int // other: the newest exact one of another symbol than exact
	definition, open, alias  int
	unnamed                  int // the newest open one without a symbol: what was entered before it is not carried on
	ended                    int // what ended the definition
}

func (q *query) entry(at int) *entry { return q.s.list.at(at - 1) }

// name is what the id stands for; empty: nothing.
func (q *query) name(id uint32) string {
	q.look(id)
	if q.correction == 0 && q.exact == 0 && q.definition > 0 && !q.openIsLater() {
		q.lookForEnd(id)
	}
	return *q.s.texts.at(int(q.answer()))
}

// look considers the entries of an id: all, or those that can matter.
func (q *query) look(id uint32) {
	head := q.s.ids.head(id)
	if head&busyID != 0 {
		q.s.indexOf(id).look(q)
		return
	}
	for at := head; at > 0; {
		e := q.s.list.at(int(at - 1))
		q.consider(int(at), e)
		at = e.prev
	}
}

// lookForEnd looks for what ended the definition that look found.
func (q *query) lookForEnd(id uint32) {
	if q.unnamed > q.definition {
		q.ended = q.unnamed
	}
	if q.s.ids.head(id)&busyID != 0 {
		q.s.indexOf(id).lookForEnd(q)
		return
	}
	q.s.chain(id, func(n int, e *entry, _ *batch) bool {
		q.considerEnd(n+1, e)
		return true
	})
}

// consider takes an entry of the id, whatever the order.
func (q *query) consider(at int, e *entry) {
	inEffect := at <= q.upTo
	covers := e.from <= q.day && q.day < e.to
	switch kind := q.s.batches.at(int(e.batch)).kind; {
	case kind == KindCorrection && (covers || e.to == 0 && !inEffect):
		q.correction = max(q.correction, at)
	case !inEffect:
	case kind == KindOpen, kind == KindCorrection && e.to == 0:
		q.open = max(q.open, at)
		if kind == KindOpen && e.symbol == 0 {
			q.unnamed = max(q.unnamed, at)
		}
	case kind == KindAlias && covers:
		q.alias = max(q.alias, at)
	case kind.exact() && covers:
		q.considerExact(at, e)
	}
	if q.day != NoDay && inEffect && e.from <= q.day && q.s.batches.at(int(e.batch)).kind == KindDefinition {
		if d := q.definition; d == 0 || e.from > q.entry(d).from || e.from == q.entry(d).from && at > d {
			q.definition = at
		}
	}
}

func (q *query) considerExact(at int, e *entry) {
	switch {
	case q.exact == 0:
		q.exact = at
	case e.symbol == q.entry(q.exact).symbol:
		q.exact = max(q.exact, at)
	case at > q.exact:
		q.exact, q.other = at, q.exact
	default:
		q.other = max(q.other, at)
	}
}

// considerEnd takes an entry that may have ended the definition.
func (q *query) considerEnd(at int, e *entry) {
	if at > q.upTo {
		return
	}
	d := q.entry(q.definition)
	switch q.s.batches.at(int(e.batch)).kind {
	case KindDeletion:
		if e.from < q.day && (e.from > d.from || e.from == d.from && at > q.definition) {
			q.ended = max(q.ended, at)
		}
	case KindDated:
		if e.to > d.from+1 && e.from <= q.day && e.symbol != d.symbol {
			q.ended = max(q.ended, at)
		}
	}
}

// openIsLater says whether the open entry was entered on a day not before the definition's, and that day has come. One without a symbol ends what came before it,
// whatever the day, and is no answer.
func (q *query) openIsLater() bool {
	if q.open == q.unnamed {
		return false
	}
	since, d := q.since(q.open), q.entry(q.definition).from
	return since <= q.day && (since > d || since == d && q.open > q.definition)
}

// since is the day on which an open entry was entered.
func (q *query) since(at int) Day { return DayOf(q.s.batches.at(int(q.entry(at).batch)).time) }

// answer is the number of the symbol; 0: none.
func (q *query) answer() uint32 {
	switch {
	case q.correction > 0:
		return q.entry(q.correction).symbol
	case q.exact > 0:
		if q.other > 0 && q.s.Effect(q.exact-1, q.schema) == q.s.Effect(q.other-1, q.schema) {
			return 0
		}
		return q.entry(q.exact).symbol
	case q.definition > 0 && !q.openIsLater() && q.ended == 0:
		return q.entry(q.definition).symbol
	case q.open > q.ended && q.open > q.unnamed:
		return q.entry(q.open).symbol
	case q.alias > q.unnamed:
		return q.entry(q.alias).symbol
	}
	return 0
}
