package gateway

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// What a producer says beside its records and its declarations: in band, and lines
// that make no sense.

// control acts on a record that speaks about the session. Only mappings, gaps,
// instruments and the end are for us; a captured live stream has others.
func (in *ingest) control(r feed.Record) error {
	if r.RType() == feed.RTypeError {
		return nil
	}
	up, err := feed.Upgrade(nil, r, in.version, in.tsOut)
	if err != nil {
		return in.badRecord(err)
	}
	if m, ok := feed.View[feed.SymbolMappingMsg](up); ok {
		if err := in.commit(nil); err != nil { // it does not hold for what came before
			return err
		}
		in.entries++
		return in.enter(mappingOf(m))
	}
	m, ok := feed.View[feed.SystemMsg](up)
	if !ok || m.Code != feed.SystemUnset {
		return nil
	}
	return in.command(m.Text())
}

// command is a text line inside a SystemMsg.
func (in *ingest) command(text string) error {
	switch {
	case lsg.IsEndSession(text):
		in.phase = phaseEnded
	case lsg.IsInstrument(text):
		if err := in.commit(nil); err != nil {
			return err
		}
		return in.instrument(text)
	case lsg.IsGap(text):
		if err := in.commit(nil); err != nil {
			return err
		}
		return in.gap(text)
	}
	return nil
}

// gap enters a loss upstream into the ledger, where readers are told of it. That
// it cannot be entered is no reason to end the feed: one that makes no sense is
// answered, and of one that finds no room the journal counts that.
func (in *ingest) gap(text string) error {
	in.entries++
	g, wrong := lsg.ParseGap(text)
	entry := journal.Gap{Schema: feed.SchemaNone, FromTs: orUndefined(g.FromTs), ToTs: orUndefined(g.ToTs), Records: g.Records, Cause: g.Cause}
	if wrong == nil && g.Schema != "" {
		entry.Schema, wrong = feed.ParseSchema(g.Schema)
	}
	if wrong != nil {
		in.p.refuseLine(lsg.CodeBadGap, lsg.LineGap, wrong)
		return nil
	}
	err := in.p.writer.Gap(entry)
	if errors.Is(err, journal.ErrTableFull) || errors.Is(err, journal.ErrLimit) {
		return nil
	}
	return err
}

// On a text line a time that is not known is left out and reads as 0; in the
// ledger it is undefined, as in DBN.
func orUndefined(ts uint64) uint64 {
	if ts == 0 {
		return feed.UndefTimestamp
	}
	return ts
}

func orLeftOut(ts uint64) uint64 {
	if ts == feed.UndefTimestamp {
		return 0
	}
	return ts
}

// unknown answers a line of the text phase that this protocol does not know. What is
// no text at all ends the session: records that were sent without start_session, or a
// peer of another kind, of which nothing more can be understood.
func (in *ingest) unknown(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(strings.TrimSuffix(text, "\r"), unicode.IsControl) {
		return &refusal{code: lsg.CodeBadMetadata, want: "instrument=... or start_session", got: clip(lsg.Clean(text)), text: "what came before start_session is no line of text"}
	}
	if err := in.mayDeclare(); err != nil {
		return err
	}
	in.entries++
	in.declarations++
	in.p.refuseLine(lsg.CodeBadLine, lsg.LineUnknown, fmt.Errorf("%s is not known before start_session; send instrument=... or start_session, and gap and end_session in band behind it", clip(text)))
	return nil
}
