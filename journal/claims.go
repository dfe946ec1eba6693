package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Head is what a producer said about the records that a stream begins with: the digest of the first so many. The journal keeps it and does not look at it.
type Head = lsg.Head

// claims is what is said of a stream besides its name: the fields at the end of an entry of streams.log.
type claims struct {
	owner string // the key whose session made the entry; empty: in open mode
	head  Head
}

func (c *claims) append(dst []byte) []byte {
	if *c == (claims{}) {
		return dst
	}
	dst = appendText(dst, c.owner)
	dst = binary.LittleEndian.AppendUint64(dst, c.head.Records)
	return appendText(dst, c.head.Digest)
}

// parseClaims reads them; an entry of an earlier release has none, nor has one of which nothing is claimed.
func parseClaims(f *fields) (c claims) {
	if f.done() {
		return c
	}
	return claims{owner: f.text(), head: Head{Records: f.u64(), Digest: f.text()}}
}

// checkOwner holds a producer's name to the key that it belongs to, and says whether that changes now. The caller holds openMu.
func (d *Dataset) checkOwner(o *WriterOptions) (changes bool, err error) {
	if len(o.Owner) > maxOwner {
		return false, fmt.Errorf("%w: owner %.*q...: want at most %d bytes", ErrName, maxOwner, o.Owner, maxOwner)
	}
	owner := d.owners[o.Producer]
	switch {
	case o.Owner == "" || o.Owner == owner:
		return false, nil
	case owner != "" && !o.Takeover:
		return false, fmt.Errorf("%w: producer %s of %s belongs to key %q, and this is key %q; give this one a name of its own, or its key the right takeover",
			ErrOwned, o.Producer, d.name, owner, o.Owner)
	}
	return true, nil
}

// claim enters what is claimed of a stream that there is. The caller holds openMu.
func (d *Dataset) claim(w *Writer, s *stream, c claims) error {
	if s.claims == c {
		return nil
	}
	entry := stream{number: s.number, producer: s.producer, name: s.name, claims: c}
	if err := d.appendSide(w, d.streamsLog, entry.append(nil, d.now())); err != nil {
		return err
	}
	s.claims = c
	if c.owner != "" {
		d.owners[s.producer] = c.owner
	}
	return nil
}

// Head is what was claimed about the records that the stream begins with before this writer opened it; zero: nothing.
func (w *Writer) Head() Head { return w.head }

// Claim notes what the stream's records begin with, for whoever goes on with the stream later. Errors: ErrName, ErrDiskFull (try again after Wait), ErrFenced,
// ErrClosed.
func (w *Writer) Claim(h Head) error {
	if len(h.Digest) > lsg.MaxDigest {
		return fmt.Errorf("%w: digest of %d bytes, want at most %d", ErrName, len(h.Digest), lsg.MaxDigest)
	}
	d := w.d
	d.openMu.Lock()
	defer d.openMu.Unlock()
	d.mu.Lock()
	err := w.usable()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.claim(w, w.stream, claims{owner: w.stream.claims.owner, head: h})
}
