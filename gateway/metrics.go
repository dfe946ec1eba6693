package gateway

import (
	"bytes"
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
	var b bytes.Buffer
	m.set.WritePrometheus(&b)
	s := samples{w: &b}
	datasets := m.srv.journal.Datasets()
	s.add("tapewire_build_info", 1, "version", m.srv.cfg.Version)
	m.writeDatasets(s, datasets)
	m.writeNotServed(s)
	eachTape(datasets, func(d *journal.Dataset, t *journal.Tape) { m.writeTape(s, d, t) })
	m.writeProducers(s, datasets)
	m.writeDisk(s)
	for _, v := range m.srv.Sessions() {
		for _, c := range v.Cursors {
			s.add("tapewire_session_lag_records", float64(c.LagRecords), "session", strconv.FormatUint(v.ID, 10), "dataset", v.Dataset, "schema", c.Schema)
		}
	}
	metrics.WriteProcessMetrics(&b) // goroutines, memory: what grows when something leaks
	writeFamilies(w, b.Bytes())
}

func (m *serverMetrics) writeDatasets(s samples, datasets []*journal.Dataset) {
	for _, d := range datasets {
		writable := 1.0
		if d.Err() != nil {
			writable = 0
		}
		s.add("tapewire_dataset_writable", writable, "dataset", d.Name())
		s.add("tapewire_unsynced_bytes", float64(d.Unsynced()), "dataset", d.Name())
		s.add("tapewire_dataset_disk_bytes", float64(d.DiskBytes()), "dataset", d.Name())
		s.add("tapewire_gaps_not_entered_total", float64(d.GapsNotEntered()), "dataset", d.Name())
		s.add("tapewire_off_tick_total", float64(m.srv.producers.offTick(d.Name())), "dataset", d.Name())
		for _, t := range d.Tables() { // so that a desk hears of a full one before a producer does
			s.add("tapewire_table_entries", float64(t.Used), "dataset", d.Name(), "table", t.Name)
			s.add("tapewire_table_limit", float64(t.Limit), "dataset", d.Name(), "table", t.Name)
		}
		for _, g := range d.GapTotals() {
			s.add("tapewire_gaps_entered_total", float64(g.Entered), "dataset", d.Name(), "cause", g.Cause)
			s.add("tapewire_ledger_gaps", float64(g.Gaps), "dataset", d.Name(), "cause", g.Cause)
			s.add("tapewire_ledger_gap_records", float64(g.Records), "dataset", d.Name(), "cause", g.Cause)
		}
	}
}

func (m *serverMetrics) writeTape(s samples, d *journal.Dataset, t *journal.Tape) {
	labels := []string{"dataset", d.Name(), "schema", t.Schema().String()}
	s.add("tapewire_tape_records", float64(t.Tail()), labels...)
	s.add("tapewire_outlier_records_total", float64(t.Outliers()), labels...)
	s.add("tapewire_seconds_since_last_record", m.srv.producers.sinceCommit(d.Name(), t.Schema()).Seconds(), labels...)
	if ns, ok := t.OldestTime(); ok {
		s.add("tapewire_oldest_record_timestamp_seconds", float64(ns)/1e9, labels...)
	}
}

func (m *serverMetrics) writeProducers(s samples, datasets []*journal.Dataset) {
	views, connected := m.srv.producers.views(datasets)
	for _, d := range datasets {
		s.add("tapewire_producers", float64(connected[d.Name()]), "dataset", d.Name())
	}
	for _, v := range views {
		labels := []string{"dataset", v.dataset, "producer", v.name}
		s.add("tapewire_producer_records_total", float64(v.records), labels...)
		if v.hasSince {
			s.add("tapewire_producer_seconds_since_last_record", v.since.Seconds(), labels...)
		}
		if !v.connected {
			s.add("tapewire_producer_connected", 0, labels...)
			continue
		}
		s.add("tapewire_producer_connected", 1, labels...)
		s.add("tapewire_producer_accepted_records", float64(v.accepted), labels...)
	}
}

// writeDisk tells how full the journal's filesystem is; nothing where that cannot be known.
func (m *serverMetrics) writeDisk(s samples) {
	used, size, err := m.srv.journal.DiskUsage()
	if err != nil {
		return
	}
	s.add("tapewire_disk_size_bytes", float64(size))
	s.add("tapewire_disk_free_bytes", float64(size-used))
	if percent := m.srv.journal.Retention().Disk; percent > 0 && size > 0 {
		s.add("tapewire_retain_disk_ratio", float64(used)/(float64(size)*float64(percent)/100))
	}
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

// samples writes what is computed only while somebody looks.
type samples struct{ w io.Writer }

// add writes one value; labels are names and values in turn. Values are printable
// ASCII, which Go quotes as Prometheus does.
func (s samples) add(name string, value float64, labels ...string) {
	fmt.Fprint(s.w, name)
	for i := 0; i < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(s.w, "%s%s=%q", sep, labels[i], labels[i+1])
	}
	if len(labels) > 0 {
		fmt.Fprint(s.w, "}")
	}
	fmt.Fprintf(s.w, " %s\n", strconv.FormatFloat(value, 'f', -1, 64))
}
