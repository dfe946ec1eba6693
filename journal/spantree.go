package journal

import (
	"slices"
	"sort"
)

// spanTree is a list of daySpans in order of from, then of at: a tree, so that one more, wherever it belongs, copies what lies on the way to it and not the list.
// A tree that was published is never changed: with is another one that shares what is the same.
type spanTree struct {
	root *spanNode // nil: empty
}

// spanNode is a leaf, which has spans, or has kids, all of one height.
type spanNode struct {
	spans []daySpan
	kids  []spanKid
}

// spanKid is a part of the list.
type spanKid struct {
	node  *spanNode
	first Day // the from of its first daySpan
	reach Day // the greatest to of all
}

// daySpan is the days of an entry.
type daySpan struct {
	at       uint32
	from, to Day
}

// spanFan is how many spans a leaf has at most, and kids another node.
const spanFan = 32

// with is the tree with one more, which is newer than all it has. alone says that nobody else has the tree: then it is changed in its place.
func (t spanTree) with(sp daySpan, alone bool) spanTree {
	if t.root == nil {
		return spanTree{&spanNode{spans: []daySpan{sp}}}
	}
	root, more := t.root.with(sp, alone)
	if more != nil {
		root = &spanNode{kids: []spanKid{root.kid(), more.kid()}}
	}
	return spanTree{root}
}

// with is the node with one more, and what did not fit into it.
func (n *spanNode) with(sp daySpan, alone bool) (node, more *spanNode) {
	if n.kids == nil {
		i := sort.Search(len(n.spans), func(i int) bool { return n.spans[i].from > sp.from })
		a, b := inserted(n.spans, i, sp, alone)
		return n.become(spanNode{spans: a}, alone), nodeOf(spanNode{spans: b})
	}
	i := max(sort.Search(len(n.kids), func(i int) bool { return n.kids[i].first > sp.from })-1, 0)
	kid, next := n.kids[i].node.with(sp, alone)
	kids := n.kids
	if !alone {
		kids = slices.Clone(kids)
	}
	kids[i] = spanKid{kid, min(kids[i].first, sp.from), max(kids[i].reach, sp.to)}
	if next == nil {
		return n.become(spanNode{kids: kids}, alone), nil
	}
	kids[i] = kid.kid()
	a, b := inserted(kids, i+1, next.kid(), true)
	return n.become(spanNode{kids: a}, alone), nodeOf(spanNode{kids: b})
}

// inserted is a list with one more at i, in two where it is too long. What comes in order fills the first.
func inserted[T any](list []T, i int, v T, alone bool) (a, b []T) {
	if len(list) == spanFan && i == spanFan {
		return list, []T{v}
	}
	if !alone {
		list = append(make([]T, 0, len(list)+1), list...)
	}
	if list = slices.Insert(list, i, v); len(list) <= spanFan {
		return list, nil
	}
	return slices.Clip(list[:spanFan/2]), slices.Clone(list[spanFan/2:])
}

func (n *spanNode) become(now spanNode, alone bool) *spanNode {
	if !alone {
		return &now
	}
	*n = now
	return n
}

// nodeOf is a node, unless there is nothing in it.
func nodeOf(n spanNode) *spanNode {
	if n.spans == nil && n.kids == nil {
		return nil
	}
	return &n
}

func (n *spanNode) kid() spanKid {
	if n.kids == nil {
		k := spanKid{node: n, first: n.spans[0].from}
		for i := range n.spans {
			k.reach = max(k.reach, n.spans[i].to)
		}
		return k
	}
	k := spanKid{node: n, first: n.kids[0].first}
	for i := range n.kids {
		k.reach = max(k.reach, n.kids[i].reach)
	}
	return k
}

// over goes over those that hold for any of the days from first to last, the last first.
func (t spanTree) over(first, last Day, take func(daySpan)) {
	t.root.down(first, last, func(sp daySpan) bool {
		take(sp)
		return true
	})
}

// upTo goes over all that begin on day last or before it, the last first, until more returns false.
func (t spanTree) upTo(last Day, more func(daySpan) bool) { t.root.down(0, last, more) }

// down goes over those with from at most last and to beyond first. It reports whether all of them were wanted.
func (n *spanNode) down(first, last Day, more func(daySpan) bool) bool {
	if n == nil {
		return true
	}
	for i := after(n.spans, last) - 1; i >= 0; i-- {
		if n.spans[i].to > first && !more(n.spans[i]) {
			return false
		}
	}
	for i := sort.Search(len(n.kids), func(i int) bool { return n.kids[i].first > last }) - 1; i >= 0; i-- {
		if n.kids[i].reach > first && !n.kids[i].node.down(first, last, more) {
			return false
		}
	}
	return true
}

// after is the place of the first daySpan that begins after day.
func after(list []daySpan, day Day) int {
	return sort.Search(len(list), func(i int) bool { return list[i].from > day })
}

// without is the tree without some, and whether it had any of them.
func (t spanTree) without(gone func(at uint32) bool) (kept spanTree, some bool) {
	t.root.each(func(sp daySpan) {
		if gone(sp.at) {
			some = true
		} else {
			kept = kept.with(sp, true)
		}
	})
	return kept, some
}

// each goes over all in their order.
func (n *spanNode) each(take func(daySpan)) {
	if n == nil {
		return
	}
	for _, sp := range n.spans {
		take(sp)
	}
	for _, k := range n.kids {
		k.node.each(take)
	}
}
