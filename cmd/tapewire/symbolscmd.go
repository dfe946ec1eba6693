package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

type symbolsCmd struct {
	Ls      symbolsLsCmd      `cmd:"" help:"List who an instrument id was, by position and by day, who said so and when."`
	Correct symbolsCorrectCmd `cmd:"" help:"Correct a wrong name that is on the tapes already."`
}

type symbolsLsCmd struct {
	dataFlag
	Dataset string  `help:"The dataset." placeholder:"D" required:""`
	ID      *uint32 `name:"id" help:"Only this instrument id." placeholder:"N"`
	Symbol  string  `help:"Only this symbol, and corrections of its ids." placeholder:"S"`
}

// Help teaches by example.
func (symbolsLsCmd) Help() string {
	return `Examples:

  tapewire symbols ls --dataset XNAS.ITCH --id 7
  tapewire symbols ls --dataset XNAS.ITCH --symbol AAPL

It takes no lock: the gateway may be running. Columns: id, symbol, kind, the UTC days it holds for (the end is
exclusive), the records of each schema from which on it holds, who said it, when. A kind is open (everything from its
position on), dated, definition (its day, and on until the id's next or its deletion), deletion, alias (a name that
is no raw symbol), or correction.`
}

// Run prints a line for each entry.
func (l *symbolsLsCmd) Run(c console) error {
	if err := errors.Join(l.check(), checkDataset(l.Dataset)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.Data, l.Dataset)); errors.Is(err, fs.ErrNotExist) {
		return noDataset(l.Dataset, l.Data)
	}
	list, err := journal.ListMappings(l.Data, l.Dataset)
	if err != nil {
		return err
	}
	listed := 0
	ids := map[uint32]bool{}
	for i := range list {
		ids[list[i].ID] = ids[list[i].ID] || list[i].Symbol == l.Symbol
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for i := range list {
		m := &list[i]
		if l.ID != nil && m.ID != *l.ID || l.Symbol != "" && m.Symbol != l.Symbol && !(ids[m.ID] && m.Kind == journal.KindCorrection) {
			continue
		}
		listed++
		symbol, kind := m.Symbol, m.Kind.String()
		if symbol == "" {
			symbol = "(none)"
		}
		if m.Allocated {
			kind += ", allocated"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, symbol, kind, daysOf(m), positionsOf(m.At), m.Producer, feed.FormatTime(m.Time))
	}
	if listed == 0 {
		fmt.Fprintln(c.err, "nothing in", l.Dataset, "has such a name")
	}
	return w.Flush()
}

// noDataset is an error in what the user asked for.
func noDataset(name, data string) error {
	return usage("there is no dataset %s in %s; see: %s journal ls --data %s", name, data, programName(), data)
}

func daysOf(m *journal.Mapping) string {
	if m.From == 0 && m.To == 0 {
		return "any day"
	}
	return m.From.String() + " to " + m.To.String()
}

func positionsOf(at []journal.Position) string {
	if len(at) == 0 {
		return "from the first record"
	}
	var list []string
	for _, p := range at {
		list = append(list, p.Schema.String()+" "+strconv.FormatUint(p.Seq, 10))
	}
	return "from " + strings.Join(list, ", ")
}

type symbolsCorrectCmd struct {
	dataFlag
	Dataset string `help:"The dataset." placeholder:"D" required:""`
	ID      uint32 `name:"id" help:"The instrument id." placeholder:"N" required:""`
	Symbol  string `help:"Who it was." placeholder:"S" xor:"who" required:""`
	None    bool   `help:"It was nobody that is known: its records have no name." xor:"who" required:""`
	From    string `help:"The first UTC day, YYYY-MM-DD; without days, everything that is on the tapes." placeholder:"DAY"`
	To      string `help:"The day after the last one." placeholder:"DAY"`
	By      string `help:"Who corrects it; your user name when not given." placeholder:"NAME"`
}

// Help teaches by example.
func (symbolsCorrectCmd) Help() string {
	return `Examples:

  tapewire symbols correct --dataset XNAS.ITCH --id 7 --symbol AAPL --from 2026-01-05 --to 2026-01-06
  tapewire symbols correct --dataset XNAS.ITCH --id 7 --none

The gateway must not be running: sessions would go on with the name that they were told. Nothing is overwritten: the
correction is one more entry of the symbol table that goes before all others, with who made it and when, and it is
noted in the ledger. So records get a name, too, that were published without any. Finished files that were made before keep the name in their headers.`
}

// Run enters the correction.
func (s *symbolsCorrectCmd) Run(c console) error {
	if err := errors.Join(s.check(), checkDataset(s.Dataset)); err != nil {
		return err
	}
	from, to, err := s.days()
	if err != nil {
		return err
	}
	who := s.By
	if who == "" {
		who = userName()
	}
	j, err := journal.Open(s.Data, journal.Options{Logger: newLogger(c.err, zap.WarnLevel), AnyFilesystem: true})
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("%w: a correction needs the gateway to be stopped, or its sessions would go on with the name that they were told", err)
	}
	if err != nil {
		return err
	}
	d := j.Lookup(s.Dataset)
	if d == nil {
		err = errors.Join(noDataset(s.Dataset, s.Data), j.Damaged(s.Dataset))
	} else {
		err = d.Correct(who, s.ID, s.Symbol, from, to)
	}
	if errors.Is(err, journal.ErrNoInstrument) {
		err = usage("%w: there is no name of it to correct, and nothing was changed; see who is there: %s symbols ls --data %s --dataset %s", err, programName(), s.Data, s.Dataset)
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	name := s.Symbol
	if s.None {
		name = "nobody"
	}
	fmt.Fprintf(c.out, "%s: %d was %s, %s; by %s\n", s.Dataset, s.ID, name, daysOf(&journal.Mapping{From: from, To: to}), who)
	return nil
}

func (s *symbolsCorrectCmd) days() (from, to journal.Day, err error) {
	if (s.From == "") != (s.To == "") {
		return 0, 0, usage("--from and --to belong together")
	}
	if s.From == "" {
		return 0, 0, nil
	}
	var days [2]journal.Day
	for i, text := range []string{s.From, s.To} {
		t, err := time.Parse(time.DateOnly, text)
		if err != nil || t.Unix() < 0 {
			return 0, 0, usage("%s is no day; want YYYY-MM-DD", text)
		}
		days[i] = journal.DayOf(uint64(t.UnixNano()))
	}
	if days[0] >= days[1] {
		return 0, 0, usage("from %s to %s no day lies between: --to is the day after the last one", s.From, s.To)
	}
	return days[0], days[1], nil
}

// userName is who is at work, in characters that a name may have.
func userName() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	clean := slices.DeleteFunc([]rune(name), func(r rune) bool { return r <= ' ' || r > '~' || r == '|' })
	if len(clean) == 0 {
		return "unknown"
	}
	return string(clean)
}
