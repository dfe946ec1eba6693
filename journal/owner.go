package journal

import "fmt"

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

// setOwner notes with a stream that there is to whom the producer's name belongs now. The caller holds openMu.
func (d *Dataset) setOwner(s *stream, owner string) error {
	old := s.owner
	s.owner = owner
	if err := d.appendStream(s); err != nil {
		s.owner = old
		return err
	}
	d.owners[s.producer] = owner
	return nil
}

// nameOwner lets the entry that is made next of the stream name the present owner: of a producer's entries the last one counts. The caller holds openMu.
func (d *Dataset) nameOwner(s *stream) {
	if owner := d.owners[s.producer]; owner != "" {
		s.owner = owner
	}
}
