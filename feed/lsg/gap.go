package lsg

import (
	"fmt"
	"strings"
)

// Causes of a gap: the one list of them.
const (
	CauseUpstream    = "upstream"    // the venue or the adapter lost records before they came here
	CauseSkipped     = "skipped"     // a slow reader was moved forward
	CauseCut         = "cut"         // a recovery cut records that were not on disk
	CauseExpired     = "expired"     // retention removed them
	CauseQuarantined = "quarantined" // they were damaged before the first one that can be served, and set aside
	CauseDamaged     = "damaged"     // they are damaged or gone between others that can be served
	CauseCorrected   = "corrected"   // no gap: somebody corrected what an instrument id stands for
)

// ProducerCause is what a producer's gap is entered as. A producer may report a loss upstream, in that word or one of its own; the other causes above are
// the server's, which acts on them, and from a producer they count as upstream.
func ProducerCause(cause string) string {
	for _, ours := range []string{CauseSkipped, CauseCut, CauseExpired, CauseQuarantined, CauseDamaged, CauseCorrected} {
		if strings.EqualFold(cause, ours) {
			return CauseUpstream
		}
	}
	return cause
}

// Gap says that records are missing: from a producer to the journal, or from the server to a subscriber. It travels only in band.
type Gap struct {
	Schema string // "" means every schema of the dataset
	FromTs uint64 // ns, the first missing moment; 0 when not known
	ToTs   uint64 // ns, the moment from which nothing is missing; 0 when not known
	Cause  string
	// What only a server knows.
	Records uint64   // how many are missing; 0 when not known
	At      Position // with HasAt: the first record after the gap; At.Schema is not used
	HasAt   bool
}

// Position names a record of a tape for ever: the epoch changes whenever a recovery cut records, the seq counts within the tape.
// A subscriber that asked for positions gets them in band, and sends one back as `resume=EPOCH:SEQ`.
type Position struct {
	Schema     string
	Epoch, Seq uint64
}

// IsGap, IsPosition and IsEndSession tell in-band texts apart; IsInstrument tells the fourth kind.
func IsGap(text string) bool        { return strings.HasPrefix(text, "gap|") }
func IsPosition(text string) bool   { return strings.HasPrefix(text, "position|") }
func IsEndSession(text string) bool { return text == EndSession }

// Text returns the in-band form.
func (g Gap) Text() (string, error) {
	var w lineWriter
	if g.Cause == "" {
		return "", fmt.Errorf("%w: cause of a gap", ErrMissing)
	}
	w.word("gap")
	w.optional("schema", g.Schema)
	if g.FromTs != 0 {
		w.time("from_ts", g.FromTs)
	}
	if g.ToTs != 0 {
		w.time("to_ts", g.ToTs)
	}
	w.text("cause", g.Cause)
	if g.Records != 0 {
		w.number("records", g.Records)
	}
	if g.HasAt {
		w.number("epoch", g.At.Epoch)
		w.number("seq", g.At.Seq)
	}
	return w.inBand()
}

// ParseGap reads the in-band form. Times may be in any form of ParseTime.
func ParseGap(text string) (Gap, error) {
	f, err := parseInBand("gap", text)
	if err != nil {
		return Gap{}, err
	}
	g := Gap{Schema: f.Get("schema")}
	if g.Cause, err = f.need("cause"); err != nil {
		return Gap{}, fmt.Errorf("%w; write %s or a word of your own", err, CauseUpstream)
	}
	if len(g.Cause) > MaxCause || !printable(g.Cause) {
		return Gap{}, fmt.Errorf("%w: cause=%s; write one word of at most %d printable ASCII characters", ErrValue, quote(g.Cause), MaxCause)
	}
	if g.FromTs, _, err = f.time("from_ts"); err != nil {
		return Gap{}, err
	}
	if g.ToTs, _, err = f.time("to_ts"); err != nil {
		return Gap{}, err
	}
	if g.FromTs != 0 && g.ToTs != 0 && g.ToTs < g.FromTs {
		return Gap{}, fmt.Errorf("%w: to_ts=%d lies before from_ts=%d; from_ts is the first missing moment, to_ts the one from which nothing is missing", ErrValue, g.ToTs, g.FromTs)
	}
	if g.Records, _, err = f.numberTo("records", MaxRecords); err != nil {
		return Gap{}, err
	}
	g.At, g.HasAt, err = f.position()
	return g, err
}

// Text returns the in-band form.
func (p Position) Text() (string, error) {
	var w lineWriter
	if p.Schema == "" {
		return "", fmt.Errorf("%w: schema of a position", ErrMissing)
	}
	w.word("position")
	w.text("schema", p.Schema)
	w.number("epoch", p.Epoch)
	w.number("seq", p.Seq)
	return w.inBand()
}

// ParsePosition reads the in-band form.
func ParsePosition(text string) (Position, error) {
	f, err := parseInBand("position", text)
	if err != nil {
		return Position{}, err
	}
	p, ok, err := f.position()
	if err != nil {
		return Position{}, err
	}
	if !ok {
		return Position{}, fmt.Errorf("%w: epoch and seq", ErrMissing)
	}
	p.Schema, err = f.need("schema")
	return p, err
}

// position reads epoch and seq, which come together or not at all.
func (f Fields) position() (p Position, ok bool, err error) {
	epoch, hasEpoch, err := f.number("epoch")
	if err != nil {
		return Position{}, false, err
	}
	seq, hasSeq, err := f.number("seq")
	if err != nil {
		return Position{}, false, err
	}
	if hasEpoch != hasSeq {
		return Position{}, false, fmt.Errorf("%w: epoch and seq come together", ErrMissing)
	}
	return Position{Epoch: epoch, Seq: seq}, hasEpoch, nil
}
