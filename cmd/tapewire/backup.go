package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tapewire/tapewire/journal"
)

type journalBackupCmd struct {
	dataFlag
	To string `arg:"" help:"The directory to make; it must be empty or not there." placeholder:"TO"`
}

// Help teaches by example.
func (journalBackupCmd) Help() string {
	return `Examples:

  tapewire journal backup /backup/tapewire-2026-01-05
  tapewire journal backup --data /var/lib/tapewire /var/lib/tapewire-backup

The gateway may be running. Each dataset is copied as of one moment, and verified. On the same filesystem finished
files are linked, not copied: they cost no room, and should the disk fail they fail together.`
}

// Run copies, then verifies the copy.
func (b *journalBackupCmd) Run(c console) error {
	if err := b.check(); err != nil {
		return err
	}
	if inside(b.To, b.Data) {
		return usage("%s lies in the data directory %s, which is not its place: a gateway could take it for a dataset of its own; name a directory elsewhere", b.To, b.Data)
	}
	files, bytes, linked := 0, int64(0), int64(0)
	err := journal.Backup(b.Data, b.To, c.copying(&files, &bytes, &linked))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s in %s: %s copied, %s linked\n", counted(uint64(files), "file"), b.To, byteSize(bytes), byteSize(linked))
	return (&journalVerifyCmd{dataFlag{b.To}}).Run(c)
}

// inside reports whether a path lies in a directory, or is it.
func inside(path, dir string) bool {
	a, errA := filepath.Abs(path)
	b, errB := filepath.Abs(dir)
	rel, err := filepath.Rel(b, a)
	return errors.Join(errA, errB, err) == nil && filepath.IsLocal(rel)
}

type journalRestoreCmd struct {
	From string `arg:"" help:"A backup, or another copy of a data directory." placeholder:"FROM"`
	dataFlag
}

// Help teaches by example.
func (journalRestoreCmd) Help() string {
	return `Examples:

  tapewire journal restore /backup/tapewire-2026-01-05 --data /var/lib/tapewire

The data directory must be empty or not there. What is restored is another history from then on: a subscriber
that goes on from a position which the backup did not have is told so.`
}

// Run copies, then verifies the copy.
func (r *journalRestoreCmd) Run(c console) error {
	files, bytes, linked := 0, int64(0), int64(0)
	if err := journal.Restore(r.From, r.Data, c.copying(&files, &bytes, &linked)); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s in %s: %s copied\n", counted(uint64(files), "file"), r.Data, byteSize(bytes))
	return (&journalVerifyCmd{dataFlag{r.Data}}).Run(c)
}

// copying counts what is copied, and shows it on a terminal.
func (c console) copying(files *int, bytes, linked *int64) func(journal.BackupProgress) {
	terminal := isTerminal(c.err)
	return func(p journal.BackupProgress) {
		*files++
		if p.Linked {
			*linked += p.Bytes
		} else {
			*bytes += p.Bytes
		}
		if terminal {
			fmt.Fprintf(c.err, "\r%s/%s: %s copied, %s linked\x1b[K", p.Dataset, p.File, byteSize(*bytes), byteSize(*linked))
		}
	}
}
