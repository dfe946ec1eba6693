package gateway

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tapewire/tapewire/feed"
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
	slowWarnings *metrics.Counter
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
		slowWarnings: set.NewCounter("tapewire_slow_reader_warnings_total"),
	}
	set.NewGauge("tapewire_sockets", func() float64 { return float64(srv.sockets.Load()) })
	set.NewGauge("tapewire_sockets_limit", func() float64 { return float64(srv.limits.Connections) })
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

// write prints everything, with what is computed only when somebody looks.
func (m *serverMetrics) write(w io.Writer) {
	m.set.WritePrometheus(w)
	now := time.Now()
	for _, d := range m.srv.journal.Datasets() {
		for schema := range feed.Schema(feed.NumSchemas) {
			tape := d.Tape(schema)
			if tape == nil {
				continue
			}
			labels := fmt.Sprintf("{dataset=%q,schema=%q}", d.Name(), schema)
			fmt.Fprintf(w, "tapewire_tape_records%s %d\n", labels, tape.Tail())
			if at, ok := m.srv.lastCommit(d.Name(), schema); ok {
				fmt.Fprintf(w, "tapewire_seconds_since_last_record%s %.3f\n", labels, now.Sub(at).Seconds())
			}
		}
		writable := 1
		if d.Err() != nil {
			writable = 0
		}
		fmt.Fprintf(w, "tapewire_dataset_writable{dataset=%q} %d\n", d.Name(), writable)
	}
	for _, p := range m.srv.producers.list() {
		fmt.Fprintf(w, "tapewire_producer_accepted_records{dataset=%q,producer=%q} %d\n", p.req.Dataset, p.req.Producer, p.writer.Accepted())
	}
	for _, v := range m.srv.Sessions() {
		for _, c := range v.Cursors {
			labels := fmt.Sprintf("{session=\"%d\",dataset=%q,schema=%q}", v.ID, v.Dataset, c.Schema)
			fmt.Fprintf(w, "tapewire_session_lag_records%s %d\n", labels, c.LagRecords)
		}
	}
}
