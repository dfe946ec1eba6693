package gateway

import (
	"errors"
	"syscall"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// end finishes the session and tells the producer why.
func (p *producer) end(err error) gnet.Action {
	if !p.opened {
		e := p.explain(err)
		if e.Code == lsg.CodeShutdown {
			p.dismiss(e)
			return gnet.None
		}
		reason := withoutSecrets(err.Error())
		if !errors.Is(err, journal.ErrNoStream) { // that answers a question, and nothing is wrong
			p.srv.metrics.rejects("producer").Inc()
			p.srv.log.Info("producer refused", zap.String("remote", p.client.remote), zap.String("reason", reason))
			p.srv.audit.add(p.entry(auditRefused).why(reason))
		}
		told := p.srv.withoutPaths(reason)
		line := lsg.AuthReply{Error: told}.Append(nil)
		if hasCode(err) {
			e.Text = told
			line = e.Append(nil)
		}
		p.lastLine(line)
		return gnet.None
	}
	p.dismiss(p.explain(err))
	return gnet.None
}

// hasCode reports whether a refusal needs its code: success=0 has none, and an SDK
// gives up for good on that. What the disk or the machine lacks, or another gateway
// holds, is for an operator to end, and the producer comes again.
func hasCode(err error) bool {
	if errno, ok := errors.AsType[syscall.Errno](err); ok && !isDamage(errno) {
		return true
	}
	for _, coded := range []error{journal.ErrFiles, journal.ErrLocked, journal.ErrDiskFull, journal.ErrSyncFailed, journal.ErrFault, journal.ErrTableFull, journal.ErrOwned, journal.ErrNoStream, journal.ErrStreamHead} {
		if errors.Is(err, coded) {
			return true
		}
	}
	return false
}

// isDamage reports whether a file is missing, or something else stands in its
// place: that does not pass by itself.
func isDamage(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOENT, syscall.EISDIR, syscall.ENXIO, syscall.ELOOP:
		return true
	}
	return false
}

// refuseInstrument answers an instrument line that cannot be followed. The session
// goes on.
func (p *producer) refuseInstrument(symbol string, why error) {
	if symbol == "" {
		p.refuseLine(lsg.CodeBadInstrument, lsg.LineInstrument, why)
		return
	}
	e := lsg.ProducerError{Code: lsg.CodeBadInstrument, Instrument: lsg.Escaped(withoutSecrets(symbol)), Retry: lsg.RetryNever, Text: withoutSecrets(why.Error())}
	if errors.Is(why, lsg.ErrSymbol) {
		e.Code = lsg.CodeBadSymbol
	}
	p.srv.metrics.rejects(e.Code).Inc()
	p.srv.log.Info("instrument refused", zap.Uint64("session", p.session), zap.String("dataset", p.req.Dataset),
		zap.String("producer", p.req.Producer), zap.String("code", e.Code), zap.String("text", e.Text))
	p.line(e.Append(nil))
}

// refuseLine answers a line of a kind that has no other answer, and is wrong. The
// session goes on. The first of a session is logged, the others only counted.
func (p *producer) refuseLine(code, line string, why error) {
	e := lsg.ProducerError{Code: code, Line: line, Retry: lsg.RetryNever, Text: withoutSecrets(why.Error())}
	p.srv.metrics.rejects(code).Inc()
	if p.refusedLines++; p.refusedLines == 1 {
		p.srv.log.Info("a producer's line is refused, and its feed goes on; others of this session are counted only", zap.Uint64("session", p.session),
			zap.String("dataset", p.req.Dataset), zap.String("producer", p.req.Producer), zap.String("code", code), zap.String("text", e.Text))
	}
	p.line(e.Append(nil))
}

// dismiss sends an error line and closes. It may be called from anywhere.
func (p *producer) dismiss(e lsg.ProducerError) {
	if p.dismissed.Load() {
		return // one reason is enough
	}
	e.Want, e.Got, e.Text = withoutSecrets(e.Want), withoutSecrets(e.Got), withoutSecrets(e.Text)
	p.say(e.Code + ": " + e.Text)
	p.srv.metrics.rejects(e.Code).Inc()
	p.srv.log.Info("producer dismissed", zap.Uint64("session", p.session), zap.String("dataset", p.req.Dataset),
		zap.String("producer", p.req.Producer), zap.String("code", e.Code), zap.String("text", e.Text))
	e.Text = p.srv.withoutPaths(e.Text)
	p.lastLine(e.Append(nil))
}

// lastLine tells the producer why it ends, and ends it, once.
func (p *producer) lastLine(b []byte) {
	if !p.dismissed.Swap(true) {
		p.giveBack() // its socket may linger
		p.tellLast(b)
	}
}

// tellLast is for who has set dismissed.
func (p *producer) tellLast(b []byte) {
	p.lines().lastLine(b)
	close(p.told)
}
