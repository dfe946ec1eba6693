package gateway

import (
	"fmt"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"
)

// A limit on each session still lets many sessions hold much. So what sessions
// hold in memory has a bound on the sum too, and one key has at most half of it:
// the others find room whatever it does. In open mode there is nobody to tell apart.

// budgets is what all sessions together may hold.
type budgets struct {
	symbols, instruments, lines, metadata, parked, replies, sockets budget
}

// budget is one of these bounds.
type budget struct {
	name    string // of the field of Limits
	what    string // is held
	most    int64
	each    int64 // what every session may have beside, so that those go on who need little
	refused *metrics.Counter

	mu    sync.Mutex
	used  int64
	byKey map[*keyUse]int64
}

// keyPart is the part of a budget that one key may have.
const keyPart = 2

func newBudgets(l *Limits, m *serverMetrics) *budgets {
	b := &budgets{}
	for _, of := range []struct {
		budget           *budget
		name, code, what string
		most, each       int64
	}{
		{&b.symbols, "SymbolsInAll", "symbols_in_all", "symbols of subscriptions", int64(l.SymbolsInAll), 100},
		{&b.instruments, "InstrumentsInAll", "instruments_in_all", "declared instruments", int64(l.InstrumentsInAll), 100},
		{&b.lines, "LinesInAll", "lines_in_all", "bytes of lines that are not complete", l.LinesInAll, 4 << 10},
		{&b.metadata, "MetadataInAll", "metadata_in_all", "bytes of metadata on its way", l.MetadataInAll, inlineMetadata},
		{&b.parked, "ParkedInAll", "parked_in_all", "bytes of producers that wait", l.ParkedInAll, leastReadBuffer},
		{&b.replies, "RepliesInAll", "replies_in_all", "bytes of replies that are not read", l.RepliesInAll, 4 << 10},
		{&b.sockets, "SocketMemory", "socket_memory", "bytes of send queues", l.SocketMemory, leastSendQueue},
	} {
		of.budget.name, of.budget.what, of.budget.most, of.budget.each, of.budget.byKey = of.name, of.what, of.most, of.each, map[*keyUse]int64{}
		of.budget.refused = m.rejects(of.code)
		m.watchBudget(of.code, of.budget)
	}
	return b
}

// free is how much more a key may have. The caller holds mu.
func (b *budget) free(of *keyUse) int64 {
	free := b.most - b.used
	if of != nil {
		free = min(free, b.most/keyPart-b.byKey[of])
	}
	return free
}

// change adds to what a key has, and to the sum.
func (b *budget) change(of *keyUse, by int64) {
	b.used += by
	if of == nil {
		return
	}
	if b.byKey[of] += by; b.byKey[of] == 0 {
		delete(b.byKey, of)
	}
}

// inUse is the sum now.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// overBudget is something for which the sum has no room; that passes.
type overBudget struct {
	budget *budget
	byKey  bool
}

func (e *overBudget) Error() string {
	if e.byKey {
		return fmt.Sprintf("this key's sessions have half of the %d %s that the gateway holds for all (%s): end some, or try again later", e.budget.most, e.budget.what, e.budget.name)
	}
	return fmt.Sprintf("the gateway holds %d %s for all its clients, and no more (%s): ask for less, or try again later", e.budget.most, e.budget.what, e.budget.name)
}

// claim is what one session holds of a budget. It is for one goroutine at a time.
type claim struct {
	budget *budget
	of     *keyUse
	n      int64
}

// set makes the claim n. It fails, and changes nothing, where that is more than
// there is room for. What each may have beside does not count.
func (c *claim) set(n int64) error {
	b := c.budget
	if n = max(0, n-b.each); n == c.n {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if more := n - c.n; more > 0 && more > b.free(c.of) {
		b.refused.Inc()
		return &overBudget{b, more <= b.most-b.used}
	}
	b.change(c.of, n-c.n)
	c.n = n
	return nil
}

// drop gives everything back. A claim that was never made has nothing to give.
func (c *claim) drop() {
	if c.n != 0 {
		_ = c.set(0) // less is always granted
	}
}

// claims is what a subscriber's session holds.
type claims struct{ symbols, lines, sockets claim }

func (b *budgets) claims(of *keyUse) claims {
	return claims{claim{budget: &b.symbols, of: of}, claim{budget: &b.lines, of: of}, claim{budget: &b.sockets, of: of}}
}

func (c *claims) drop() {
	c.symbols.drop()
	c.lines.drop()
	c.sockets.drop()
}

// producerClaims is what a producer holds.
type producerClaims struct{ instruments, metadata, parked claim }

func (b *budgets) producerClaims(of *keyUse) producerClaims {
	return producerClaims{claim{budget: &b.instruments, of: of}, claim{budget: &b.metadata, of: of}, claim{budget: &b.parked, of: of}}
}

func (c *producerClaims) drop() {
	c.instruments.drop()
	c.metadata.drop()
	c.parked.drop()
}

// The send queue of a subscriber's socket, in bytes. Nobody who reads needs
// more than the most; everybody has the least.
const (
	leastSendQueue = 64 << 10
	mostSendQueue  = 4 << 20
	// queueShare is the part of what is free that one more socket may have: those
	// that come late have less, and none is turned away.
	queueShare = 64
)

// boundQueue bounds what the kernel keeps for a peer that does not read. What is
// on its way to one that does is not counted, so that speed does not suffer.
func (c *claim) boundQueue(fd int) {
	b := c.budget
	b.mu.Lock()
	n := max(0, min(mostSendQueue-leastSendQueue, b.free(c.of)/queueShare))
	b.change(c.of, n)
	c.n += n
	b.mu.Unlock()
	boundUnsent(fd, leastSendQueue+int(n))
}

// boundUnsent has a socket take no more once so many bytes wait to be sent. Of one
// that is no TCP socket, a tunnel's, the size is fixed.
func boundUnsent(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
}
