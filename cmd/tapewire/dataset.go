package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tapewire/tapewire/journal"
)

type datasetCmd struct {
	Rm datasetRmCmd `cmd:"" help:"Remove a dataset and everything in it, for good."`
}

type datasetRmCmd struct {
	dataFlag
	Name  string `arg:"" help:"The dataset." placeholder:"NAME"`
	Yes   bool   `help:"Do not ask."`
	Admin string `help:"Where the gateway that runs on the data directory serves its admin side (serve --admin): it removes the dataset. The key comes from TAPEWIRE_KEY or DATABENTO_API_KEY." placeholder:"ADDR"`
}

// Help teaches by example.
func (datasetRmCmd) Help() string {
	return `Examples:

  tapewire dataset rm XNAS.ITCH
  tapewire dataset rm XNAS.ITCH --data /var/lib/tapewire --yes
  tapewire dataset rm XNAS.ITCH --admin localhost:9090

While the gateway runs it has to remove the dataset itself: say where its admin side is. Who is connected to the
dataset is told, and ended. What goes is said first, and asked for. The name is free afterwards: whoever publishes to it
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
		return noDataset(d.Name, d.Data)
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
	case errors.Is(err, journal.ErrLocked) && d.Admin != "":
		if err := askToRemove(d.Admin, d.Name); err != nil {
			return err
		}
	case errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w; stop the gateway first, or have it done by the gateway: --admin ADDR", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(c.out, "removed %s\n", d.Name)
	return nil
}

// askToRemove has the gateway remove a dataset of its own.
func askToRemove(addr, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminPatience)
	defer cancel()
	if strings.HasPrefix(addr, ":") {
		addr = "localhost" + addr
	}
	target := url.URL{Scheme: "http", Host: addr, Path: "/datasets/" + name + "/remove"}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return usage("--admin %q is no address: %v; write HOST:PORT or :PORT", addr, err)
	}
	req.Header.Set("Authorization", "Bearer "+clientKey())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("nothing is known of the removal: %w", err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10)); resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("the gateway at %s did not remove it: %s: %s", addr, resp.Status, strings.TrimSpace(string(text))), err)
	}
	return nil
}

// adminPatience is how long a gateway may take to answer.
const adminPatience = 30 * time.Second
