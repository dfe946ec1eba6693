package journal

// Table is how full a table of a dataset is that has a bound.
type Table struct {
	Name        string // streams, gaps or symbols
	Used, Limit int    // entries that kept records need
}

// Tables is how full the dataset's tables are. Entries that no kept record needs make room, and are not counted where that is known.
func (d *Dataset) Tables() []Table {
	d.ledger.mu.Lock()
	gaps := d.ledger.reported()
	d.ledger.mu.Unlock()
	return []Table{{"streams", d.neededStreams(), MaxStreams}, {"gaps", gaps, MaxReportedGaps}, {"symbols", int(d.symbols.needed.Load()), int(d.mostMappings())}}
}

// GapsNotEntered is how many gaps that producers reported could not be entered into the ledger since the journal was opened.
func (d *Dataset) GapsNotEntered() uint64 { return d.ledger.lost.Load() }
