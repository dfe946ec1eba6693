package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/tapewire/tapewire/journal"
)

type datasetCmd struct {
	Rm datasetRmCmd `cmd:"" help:"Remove a dataset and everything in it, for good."`
}

type datasetRmCmd struct {
	dataFlag
	Name string `arg:"" help:"The dataset." placeholder:"NAME"`
	Yes  bool   `help:"Do not ask."`
}

// Help teaches by example.
func (datasetRmCmd) Help() string {
	return `Examples:

  tapewire dataset rm XNAS.ITCH
  tapewire dataset rm XNAS.ITCH --data /var/lib/tapewire --yes

The gateway must be stopped. What goes is said first, and asked for. The name is free afterwards: whoever publishes to it
begins at 0, and a bot that resumes at a position of the old dataset is told that it is of another history.`
}

// Run says what goes, asks, and removes it.
func (d *datasetRmCmd) Run(c console) error {
	if err := d.check(); err != nil {
		return err
	}
	datasets, err := journal.Inspect(d.Data)
	if err != nil {
		return err
	}
	var info *journal.DatasetInfo
	for i := range datasets {
		if datasets[i].Name == d.Name {
			info = &datasets[i]
		}
	}
	if info == nil {
		return usage("there is no dataset %s in %s; see: tapewire journal ls --data %s", d.Name, d.Data, d.Data)
	}
	var records uint64
	var bytes int64
	for _, t := range info.Tapes {
		records, bytes = records+t.Tail-t.First, bytes+t.Bytes
	}
	fmt.Fprintf(c.out, "%s: %s in %s, %s, %s, %s\n", d.Name, counted(records, "record"), counted(uint64(len(info.Tapes)), "tape"), byteSize(bytes),
		counted(uint64(info.Symbols), "symbol"), counted(uint64(len(info.Streams)), "stream"))
	if info.Problem != "" {
		fmt.Fprintln(c.out, "problem:", info.Problem)
	}
	if !d.Yes {
		fmt.Fprintf(c.out, "This cannot be undone. Write the dataset's name to remove it: ")
		line, _ := bufio.NewReader(c.in).ReadString('\n') // its end is no name either
		if strings.TrimSpace(line) != d.Name {
			return errors.New("nothing was removed; without a question: --yes")
		}
	}
	switch err := journal.RemoveDataset(d.Data, d.Name); {
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w; stop the gateway first", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(c.out, "removed %s\n", d.Name)
	return nil
}
