package gateway

import (
	"fmt"
	"io"
	"strconv"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// serverMetrics is what a desk alerts on, in Prometheus' text format. Each
// server has a set of its own, so that several can run in one process.
type serverMetrics struct {
	srv *Server
	set *metrics.Set

	connections  *metrics.Counter // accepted so far
	panics       *metrics.Counter // contained
	records      *metrics.Counter // committed so far
	batches      *metrics.Counter // commits so far
	skipped      *metrics.Counter // records, by slow readers
	damaged      *metrics.Counter // records that sessions were told to be damaged, instead of being sent them
	badSymbols   *metrics.Counter // names that were passed over, because nobody could ask for them
	slowWarnings *metrics.Counter
	laneChanges  *metrics.Counter // sessions that went from one lane to the other
	paced        *metrics.Counter // times that a producer had to rest for its key's rate
	auditLost    *metrics.Counter // entries that the audit log could not keep
}

func newServerMetrics(srv *Server) *serverMetrics {
	metrics.ExposeMetadata(true)
	set := metrics.NewSet()
	m := &serverMetrics{
		srv: srv, set: set,
		connections:  set.NewCounter("tapewire_connections_total"),
		panics:       set.NewCounter("tapewire_panics_total"),
		records:      set.NewCounter("tapewire_published_records_total"),
		batches:      set.NewCounter("tapewire_published_batches_total"),
		skipped:      set.NewCounter("tapewire_skipped_records_total"),
		damaged:      set.NewCounter("tapewire_damaged_records_total"),
		badSymbols:   set.NewCounter("tapewire_bad_symbols_total"),
		slowWarnings: set.NewCounter("tapewire_slow_reader_warnings_total"),
		laneChanges:  set.NewCounter("tapewire_lane_changes_total"),
		paced:        set.NewCounter("tapewire_paced_total"),
		auditLost:    set.NewCounter("tapewire_audit_lost_total"),
	}
	set.NewGauge("tapewire_sockets", func() float64 { return float64(srv.sockets.Load()) })
	set.NewGauge("tapewire_sockets_limit", func() float64 { return float64(srv.limits.Connections) })
	for use, limit := range map[string]int{"tapes": srv.files.tapes, "connections": srv.files.connections, "handshakes": srv.files.handshakes, "admin": srv.files.admin} {
		set.NewGauge(fmt.Sprintf("tapewire_files_limit{use=%q}", use), func() float64 { return float64(limit) })
	}
	set.NewGauge(`tapewire_files{use="tapes"}`, func() float64 { used, _ := srv.journal.Files(); return float64(used) })
	set.NewGauge(`tapewire_files{use="connections"}`, func() float64 {
		return float64(srv.sockets.Load()) + filesPerTunnel*float64(srv.tls.tunnelsOpen())
	})
	set.NewGauge(`tapewire_files{use="handshakes"}`, func() float64 { return filesPerHandshake * float64(srv.tls.handshaking()) })
	set.NewGauge(`tapewire_files{use="admin"}`, func() float64 { return float64(srv.adminOpen.Load()) })
	return m
}

// rejects counts what was refused, by code.
func (m *serverMetrics) rejects(code string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("tapewire_rejects_total{code=%q}", code))
}

// offTick counts records with a price off the increment that their producer declared.
func (m *serverMetrics) offTick(dataset string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("tapewire_off_tick_total{dataset=%q}", dataset))
}

func (m *serverMetrics) sendCalls(path string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("tapewire_send_calls_total{path=%q}", path))
}

func (m *serverMetrics) sendBytes(path string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("tapewire_send_bytes_total{path=%q}", path))
}

// handshakes counts TLS handshakes by what they came to.
func (m *serverMetrics) handshakes(result string) *metrics.Counter {
	return m.set.GetOrCreateCounter(fmt.Sprintf("tapewire_tls_handshakes_total{result=%q}", result))
}

// watchTLS adds what there is to see of a TLS listener.
func (m *serverMetrics) watchTLS(l *tlsListener) {
	m.handshakes(handshakeOK) // there from the start, at 0
	m.set.NewGauge("tapewire_tls_connections", func() float64 { return float64(l.open.Load()) })
	m.set.NewGauge("tapewire_tls_certificate_expires_timestamp_seconds", func() float64 { return float64(l.certs.expires.Load()) })
}

// watchBudget shows a budget, by the code that its refusals have.
func (m *serverMetrics) watchBudget(code string, b *budget) {
	m.set.NewGauge(fmt.Sprintf("tapewire_budget{of=%q}", code), func() float64 { return float64(b.inUse()) })
	m.set.NewGauge(fmt.Sprintf("tapewire_budget_limit{of=%q}", code), func() float64 { return float64(b.most) })
}

// write prints everything, with what is computed only when somebody looks.
func (m *serverMetrics) write(w io.Writer) {
	m.set.WritePrometheus(w)
	g := gauges{w: w}
	datasets := m.srv.journal.Datasets()
	g.begin("tapewire_tape_records", "Records committed to a tape, ever.")
	eachTape(datasets, func(d *journal.Dataset, t *journal.Tape) {
		g.add(float64(t.Tail()), "dataset", d.Name(), "schema", t.Schema().String())
	})
	writeOutliers(w, datasets)
	g.begin("tapewire_seconds_since_last_record", "Age of a tape's newest record, as far as this process saw one.")
	eachTape(datasets, func(d *journal.Dataset, t *journal.Tape) {
		if age, ok := m.srv.producers.sinceCommit(d.Name(), t.Schema()); ok {
			g.add(age.Seconds(), "dataset", d.Name(), "schema", t.Schema().String())
		}
	})
	g.begin("tapewire_dataset_writable", "1 while a dataset takes records, 0 when its disk is full or failed, or it is not served.")
	for _, d := range datasets {
		writable := 1.0
		if d.Err() != nil {
			writable = 0
		}
		g.add(writable, "dataset", d.Name())
	}
	for name := range m.srv.journal.AllDamaged() {
		g.add(0, "dataset", name)
	}
	m.writeNotServed(g)
	g.begin("tapewire_unsynced_bytes", "Bytes of a dataset's records that are committed and not on disk yet.")
	for _, d := range datasets {
		g.add(float64(d.Unsynced()), "dataset", d.Name())
	}
	m.writeTables(g, datasets)
	g.begin("tapewire_producer_accepted_records", "Records accepted of a connected producer's stream. No line: the producer is gone.")
	for _, p := range m.srv.producers.list() {
		g.add(float64(p.writer.Accepted()), "dataset", p.req.Dataset, "producer", p.req.Producer)
	}
	g.begin("tapewire_session_lag_records", "How far a subscriber is behind the end of a tape.")
	for _, v := range m.srv.Sessions() {
		for _, c := range v.Cursors {
			g.add(float64(c.LagRecords), "session", strconv.FormatUint(v.ID, 10), "dataset", v.Dataset, "schema", c.Schema)
		}
	}
	metrics.WriteProcessMetrics(w) // goroutines, memory, descriptors: what grows when something leaks
}

// writeTables tells how full the tables are that have a bound, so that a desk hears
// of it before a producer does.
func (m *serverMetrics) writeTables(g gauges, datasets []*journal.Dataset) {
	tables := map[*journal.Dataset][]journal.Table{}
	for _, d := range datasets {
		tables[d] = d.Tables()
	}
	g.begin("tapewire_table_entries", "Entries of a dataset's table that kept records need.")
	for _, d := range datasets {
		for _, t := range tables[d] {
			g.add(float64(t.Used), "dataset", d.Name(), "table", t.Name)
		}
	}
	g.begin("tapewire_table_limit", "The most entries of a dataset's table.")
	for _, d := range datasets {
		for _, t := range tables[d] {
			g.add(float64(t.Limit), "dataset", d.Name(), "table", t.Name)
		}
	}
	g.beginCounter("tapewire_gaps_not_entered_total", "Gaps that producers reported and the ledger had no room for, since the start.")
	for _, d := range datasets {
		g.add(float64(d.GapsNotEntered()), "dataset", d.Name())
	}
}

// writeOutliers prints how many records were further beyond the clock than it may be wrong.
func writeOutliers(w io.Writer, datasets []*journal.Dataset) {
	const name = "tapewire_outlier_records_total"
	fmt.Fprintf(w, "# HELP %s Records whose time was beyond the clock by more than --max-clock-skew when they came: kept, but no start goes by them.\n# TYPE %s counter\n", name, name)
	eachTape(datasets, func(d *journal.Dataset, t *journal.Tape) {
		fmt.Fprintf(w, "%s{dataset=%q,schema=%q} %d\n", name, d.Name(), t.Schema(), t.Outliers())
	})
}

// eachTape visits what the datasets hold.
func eachTape(datasets []*journal.Dataset, visit func(*journal.Dataset, *journal.Tape)) {
	for _, d := range datasets {
		for schema := range feed.Schema(feed.NumSchemas) {
			if t := d.Tape(schema); t != nil {
				visit(d, t)
			}
		}
	}
}

// gauges writes gauges that exist only while somebody looks.
type gauges struct {
	w    io.Writer
	name string
}

func (g *gauges) begin(name, help string) {
	g.name = name
	fmt.Fprintf(g.w, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// beginCounter is begin for what only grows.
func (g *gauges) beginCounter(name, help string) {
	g.name = name
	fmt.Fprintf(g.w, "# HELP %s %s\n# TYPE %s counter\n", name, help, name)
}

// add writes one value; labels are names and values in turn.
func (g *gauges) add(value float64, labels ...string) {
	fmt.Fprintf(g.w, "%s{", g.name)
	for i := 0; i < len(labels); i += 2 {
		if i > 0 {
			fmt.Fprint(g.w, ",")
		}
		fmt.Fprintf(g.w, "%s=%q", labels[i], labels[i+1])
	}
	fmt.Fprintf(g.w, "} %s\n", strconv.FormatFloat(value, 'f', -1, 64))
}
