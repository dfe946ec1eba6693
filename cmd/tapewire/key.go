package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tapewire/tapewire/gateway"
)

type keyCmd struct {
	New keyNewCmd `cmd:"" help:"Make a key and add it to the file."`
	Ls  keyLsCmd  `cmd:"" help:"List who has a key and what it may do, never the keys."`
}

type keysFlag struct {
	Keys string `help:"The key file. Only its owner may read it, and of one that root owns the group of the service." placeholder:"FILE" required:""`
}

type keyNewCmd struct {
	keysFlag
	Name     string          `arg:"" help:"Who will hold the key; it appears in logs and metrics."`
	Datasets names           `help:"What the key reaches; everything when not given." placeholder:"A,B"`
	Rights   []gateway.Right `help:"What it may do: subscribe, publish, takeover, admin (default ${default}). takeover, beside publish, is for producers whose names belong to another key; admin is for operators: it opens what serve --admin shows." placeholder:"RIGHT" default:"subscribe"`

	Connections       int `help:"Connections at once; no limit when not given." placeholder:"N"`
	ConnectsPerMinute int `help:"New connections a minute; no limit when not given." placeholder:"N"`
	RecordsPerSecond  int `help:"Records published a second; more wait. No limit when not given." placeholder:"N"`
}

// Help teaches by example.
func (keyNewCmd) Help() string {
	return `The key is printed once; hand it over as the variable TAPEWIRE_KEY or DATABENTO_API_KEY.

  tapewire key new --keys keys.toml bot-1
  tapewire key new --keys keys.toml binance-adapter --rights publish --datasets BINA.SPOT
  tapewire key new --keys keys.toml bots --connections 20 --connects-per-minute 60
  tapewire key new --keys keys.toml prometheus --rights admin
  tapewire serve --keys keys.toml`
}

// Run makes a key.
func (k *keyNewCmd) Run(c console) error {
	key, err := gateway.NewKey(k.Name, k.Datasets, k.Rights)
	if err != nil {
		return withExit(exitUsage, err)
	}
	key.Connections, key.ConnectsPerMinute, key.RecordsPerSecond = k.Connections, k.ConnectsPerMinute, k.RecordsPerSecond
	if err := key.Check(); err != nil {
		return withExit(exitUsage, err)
	}
	if err := gateway.AppendKey(k.Keys, key); err != nil {
		return err
	}
	fmt.Fprintln(c.err, "added to", k.Keys+"; this is the only time that the key is shown:")
	_, err = fmt.Fprintln(c.out, key.Secret)
	fmt.Fprintln(c.err, "a gateway that was started with this --keys file reads it again by: kill -HUP PID; any other has to be started again with it. To take a key away, remove its entry and do the same")
	return err
}

type keyLsCmd struct {
	keysFlag
}

// Help teaches by example.
func (keyLsCmd) Help() string {
	return `Examples:

  tapewire key ls --keys keys.toml`
}

// Run lists the keys by their last characters, which is what clients send and logs show.
func (k *keyLsCmd) Run(c console) error {
	ring, err := gateway.LoadKeys(k.Keys)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKEY\tRIGHTS\tDATASETS\tLIMITS")
	for _, key := range ring.Keys() {
		rights := make([]string, 0, len(key.Rights))
		for _, right := range key.Rights {
			rights = append(rights, string(right))
		}
		if len(rights) == 0 {
			rights = append(rights, string(gateway.RightSubscribe))
		}
		datasets := strings.Join(key.Datasets, ",")
		if datasets == "" {
			datasets = "all"
		}
		fmt.Fprintf(w, "%s\t...%s\t%s\t%s\t%s\n", key.Name, key.Secret[max(0, len(key.Secret)-bucketChars):], strings.Join(rights, ","), datasets, limitsText(&key))
	}
	return w.Flush()
}

// limitsText names the limits that a key has as the key file does.
func limitsText(key *gateway.Key) string {
	var limits []string
	for name, value := range key.Limits() {
		if value > 0 {
			limits = append(limits, fmt.Sprintf("%s=%d", name, value))
		}
	}
	if len(limits) == 0 {
		return "none"
	}
	return strings.Join(limits, ",")
}

// bucketChars is how much of a key clients send in clear, so it is no secret.
const bucketChars = 5
