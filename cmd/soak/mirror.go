package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mirror keeps what the gateway removes for its age, so that what sessions and tapes were can be looked up until the end. It is a directory on the same
// filesystem with a link to each segment file there ever was, and to the present state by its name, which a tap reads like a journal: a link costs nothing as
// long as the gateway has the file too. A sealed segment is the file that it was before, so its link is good for ever; one that was prepared may be made again
// by a recovery.
type mirror struct{ where }

// mirrorEvery is far below the shortest --retain: no segment comes and goes in between.
const mirrorEvery = 200 * time.Millisecond

const segmentName = ".tape" // by what a tap knows a segment, sealed or not; that it is sealed is in the file

// run goes on until ctx ends.
func (m *mirror) run(ctx context.Context) error {
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	for {
		if err := m.round(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// round links what is new.
func (m *mirror) round() error {
	for _, dataset := range datasets {
		from, to := filepath.Join(m.data, dataset), filepath.Join(m.mirror, dataset)
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		for _, name := range []string{"state", "witness", "symbols.log"} {
			if err := follow(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				return err
			}
		}
		for _, schema := range schemas {
			if err := m.tape(filepath.Join(from, schema.String()), filepath.Join(to, schema.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mirror) tape(from, to string) error {
	files, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no record yet
	}
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	for _, file := range files {
		if err != nil {
			return err
		}
		name := file.Name()
		if suffix := filepath.Ext(name); suffix == segmentName || suffix == ".dbn" {
			err = link(filepath.Join(from, name), filepath.Join(to, strings.TrimSuffix(name, suffix)+segmentName))
		}
	}
	return err
}

// follow lets to be what from is at any time. A link as of a segment would change the state's ctime, which is how a copy looks that was put back.
func follow(from, to string) error {
	from, err := filepath.Abs(from)
	if err == nil {
		err = os.Symlink(from, to)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// link lets to be the file that from is now. A file that is gone or renamed by now is left to the next round.
func link(from, to string) error {
	is, err := os.Stat(from)
	if err == nil {
		if has, err := os.Stat(to); err == nil && os.SameFile(is, has) {
			return nil
		}
		// By a name that no tap looks at: one that reads there finds the old file or the new one.
		fresh := to + ".new"
		if err = os.Link(from, fresh); err == nil {
			return os.Rename(fresh, to)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
