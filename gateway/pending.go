package gateway

import (
	"slices"
	"strings"
)

// pending is what was asked for and nobody has borne yet: as asked, by lower case. A
// list is never changed where it lies, so copies of the map may share it.
type pending map[string][]string

// add takes one more symbol.
func (p pending) add(asked string) {
	folded := strings.ToLower(asked)
	if !slices.Contains(p[folded], asked) {
		p[folded] = append(slices.Clip(p[folded]), asked)
	}
}

// drop takes one out.
func (p pending) drop(asked string) {
	folded := strings.ToLower(asked)
	left := slices.DeleteFunc(slices.Clone(p[folded]), func(s string) bool { return s == asked })
	if len(left) == 0 {
		delete(p, folded)
		return
	}
	p[folded] = left
}

// take takes out what a symbol that came is meant by: the very same, or else what
// resolve says stands for it. What differs in case alone and is waited for by a
// client that knows both is left to the other one.
func (p pending) take(symbol string, resolve func(asked string) string) (asked string, ok bool) {
	list := p[strings.ToLower(symbol)]
	if slices.Contains(list, symbol) {
		p.drop(symbol)
		return symbol, true
	}
	if len(list) != 1 || resolve(list[0]) != symbol {
		return "", false
	}
	p.drop(list[0])
	return list[0], true
}

// merge takes in all of another.
func (p pending) merge(q pending) {
	for _, list := range q {
		for _, asked := range list {
			p.add(asked)
		}
	}
}

// remove takes out all of another; where one alone is waited for, in any case.
func (p pending) remove(q pending) {
	for folded, list := range q {
		if len(p[folded]) == 1 {
			delete(p, folded)
			continue
		}
		for _, asked := range list {
			p.drop(asked)
		}
	}
}

// both is what is in p and in q.
func (p pending) both(q pending) pending {
	common := pending{}
	for folded, list := range p {
		for _, asked := range list {
			if len(q[folded]) == 1 && len(list) == 1 || slices.Contains(q[folded], asked) {
				common.add(asked)
			}
		}
	}
	return common
}
