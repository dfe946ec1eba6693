package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

type journalCmd struct {
	Ls     journalLsCmd     `cmd:"" help:"List datasets, tapes, and the streams that they were published in."`
	Verify journalVerifyCmd `cmd:"" help:"Read everything and hold it against its checksums."`

	Backup  journalBackupCmd  `cmd:"" help:"Copy the data directory, also while the gateway runs, and verify the copy."`
	Restore journalRestoreCmd `cmd:"" help:"Make a data directory of a backup, and verify it."`
}

type dataFlag struct {
	Data string `help:"The data directory (default ${default})." placeholder:"DIR" default:"./tapewire-data"`
}

// check makes a wrong path a clear error, where an empty listing would look like lost data.
func (d dataFlag) check() error {
	info, err := os.Stat(d.Data)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if _, in := os.Stat(filepath.Join(d.Data, "sync.log")); err == nil && in == nil {
		return usage("%s is one dataset: name the directory that it is in with --data", d.Data)
	}
	if err != nil {
		return withExit(exitUsage, fmt.Errorf("no data directory %s: %w; name the one of tapewire serve with --data", d.Data, err))
	}
	return nil
}

type journalLsCmd struct {
	dataFlag
}

// Help teaches by example.
func (journalLsCmd) Help() string {
	return `Examples:

  tapewire journal ls
  tapewire journal ls --data /var/lib/tapewire

It takes no lock: the gateway may be running. Each tape is a directory of DBN files below the data directory.`
}

// Run prints a block of lines for each dataset.
func (l *journalLsCmd) Run(c console) error {
	if err := l.check(); err != nil {
		return err
	}
	datasets, err := journal.Inspect(l.Data)
	if err != nil {
		return err
	}
	if len(datasets) == 0 {
		fmt.Fprintf(c.out, "no datasets in %s yet\n", l.Data)
	}
	problems, err := printDatasets(lsg.PrintableWriter{To: c.out}, l.Data, datasets)
	if err != nil {
		return err
	}
	if problems > 0 {
		return fmt.Errorf("%d of %d datasets cannot be read whole; see: tapewire journal verify --data %s", problems, len(datasets), l.Data)
	}
	return nil
}

// printDatasets aligns the columns of all datasets with each other: their heads go between the lines of one table.
func printDatasets(out io.Writer, dir string, datasets []journal.DatasetInfo) (problems int, err error) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, d := range datasets {
		for _, t := range d.Tapes {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\tfirst record of %s, last of %s\n", t.Schema, counted(t.Tail-t.First, "record"), byteSize(t.Bytes),
				counted(uint64(t.Segments), "segment"), feed.FormatTime(t.FirstTime), feed.FormatTime(t.LastTime))
		}
		for _, s := range d.Streams {
			fmt.Fprintf(w, "  stream\t%s\t\t%s\t%s\n", counted(s.Records, "record"), s.Producer, s.Stream)
		}
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	lines := bytes.SplitAfter(table.Bytes(), []byte("\n"))
	for _, d := range datasets {
		what := "cannot be read"
		if d.Epoch > 0 {
			what = fmt.Sprintf("epoch %d, %s, %s", d.Epoch, counted(uint64(d.Symbols), "symbol"), counted(uint64(d.Gaps), "gap"))
		}
		fmt.Fprintf(out, "%s  %s  %s\n", d.Name, what, filepath.Join(dir, d.Name))
		n := len(d.Tapes) + len(d.Streams)
		if _, err := out.Write(bytes.Join(lines[:n], nil)); err != nil {
			return 0, err
		}
		lines = lines[n:]
		if !d.Exact {
			fmt.Fprintln(out, "  note: this is a copy, or the machine was started since: shown is what is known to be on disk")
		}
		if d.Problem != "" {
			problems++
			fmt.Fprintf(out, "  problem: %s\n", d.Problem)
		}
	}
	return problems, nil
}

type journalVerifyCmd struct {
	dataFlag
}

// Help teaches by example.
func (journalVerifyCmd) Help() string {
	return `Examples:

  tapewire journal verify
  tapewire journal verify --data /backup/tapewire

It takes no lock and changes nothing: the gateway may be running, and the directory may be a copy. Problems come
first: what is not as it was written, what should be there and is not, what a gateway would not serve, and what it
would cut at its next start. Notes are no damage: what there was no checksum for, what is not looked at.

Exit codes: 0 everything is as it was written, 1 there are problems, or it cannot be read, 2 there is nothing to verify.`
}

// Run prints a line for each tape and one for each problem.
func (v *journalVerifyCmd) Run(c console) error {
	if err := v.check(); err != nil {
		return err
	}
	terminal := isTerminal(c.err)
	c.out = lsg.PrintableWriter{To: c.out}
	report, err := journal.Verify(v.Data, func(p journal.Progress) {
		if terminal {
			fmt.Fprintf(c.err, "\r%s %s: segment %d, %s records checked\x1b[K", p.Dataset, p.Schema, p.Segment, grouped(p.Records))
		}
	})
	if terminal {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(v.Data, "LOCK")); err != nil && len(report.Tapes)+len(report.Problems) == 0 {
		return usage("nothing was verified: %s holds no dataset, and no gateway ever ran on it; name the directory of tapewire serve with --data", v.Data)
	}
	for _, p := range report.Problems {
		fmt.Fprintln(c.out, "problem:", p)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	total, unsure := uint64(0), uint64(0)
	for _, t := range report.Tapes {
		total += t.Records
		if t.Blocks == 0 && t.Ranges == 0 {
			unsure += t.Records
		}
		fmt.Fprintf(w, "%s\t%s\t%s of %s well formed\t%s\t%s and %s match their CRC\n",
			t.Dataset, t.Schema, grouped(t.Records), counted(t.Tail-t.First, "record"), counted(uint64(t.Segments), "segment"),
			counted(uint64(t.Blocks), "block"), counted(uint64(t.Ranges), "synced range"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range report.Notes {
		fmt.Fprintln(c.out, "note:", n)
	}
	if n := len(report.Problems); n > 0 {
		return fmt.Errorf("%s in %s, listed above; everything else is whole", counted(uint64(n), "problem"), v.Data)
	}
	fmt.Fprintf(c.out, "%s well formed in %s", counted(total, "record"), counted(uint64(len(report.Tapes)), "tape"))
	if unsure > 0 {
		fmt.Fprintf(c.out, ", %s of them not yet covered by a checksum (the newest)", grouped(unsure))
	}
	fmt.Fprintln(c.out)
	return nil
}

// byteSize writes a size in binary units.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for ; value >= unit && prefix < len(binaryPrefixes)-1; prefix++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, binaryPrefixes[prefix])
}

const binaryPrefixes = "KMGTP"
