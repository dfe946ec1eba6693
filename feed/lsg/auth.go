package lsg

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// Values of the authentication line.
const (
	EncodingDBN     = "dbn"
	CompressionNone = "none"
	CompressionZstd = "zstd"
	SlowWarn        = "warn"
	SlowSkip        = "skip"
	RoleProducer    = "producer"
	AckWritten      = "written" // committed: survives the death of the server's process
	TsRecvKeep      = "keep"    // of ts_recv: an undefined one stays so; else the server stamps it with the time of receipt
	AckSynced       = "synced"  // on disk: survives a power cut
)

// AuthRequest is the one line that a client sends after the challenge. The fields from Role on are tapewire's own; official clients never send them.
type AuthRequest struct {
	Auth        string // the response to the challenge: secret enough never to be logged
	Dataset     string // may be empty only for a producer, whose metadata names it
	Encoding    string // EncodingDBN when the line has none
	Compression string // CompressionNone when the line has none
	Client      string // the client's name for itself
	SlowReader  string // SlowWarn, SlowSkip, or "": the schema's own default, which is not the same as SlowWarn
	TsOut       bool
	Heartbeat   time.Duration // whole seconds; 0 when absent
	Position    bool          // the client wants position messages

	Role      string // RoleProducer, or "" for a subscriber
	Producer  string // the producer's name; a newer session of the same name takes over
	Stream    string // the ID of the run of numbering
	Ack       string // AckWritten, AckSynced or "": the server's default
	Existing  bool   // the stream must be there already: one that is new is refused with CodeNoStream
	Strict    bool   // a price off its instrument's declared increment ends the session
	Resume    uint64 // with HasResume: the number of the oldest record that the producer still holds
	HasResume bool
	Future    bool   // its times may lie in the future: no record counts as one of a broken clock
	TsRecv    string // TsRecvKeep, or "" to have undefined ones stamped
	Head      Head   // how the stream begins; the zero value when the line has none
}

// IsAuthRequest tells whether a line is meant as an authentication.
func IsAuthRequest(line string) bool {
	return strings.HasPrefix(line, "auth=") || strings.Contains(line, "|auth=")
}

// ParseAuthRequest reads an authentication line, its fields in any order. It checks that each value has a meaning, not that a server serves it.
func ParseAuthRequest(line string) (AuthRequest, error) {
	f, err := Parse(line)
	if err != nil {
		return AuthRequest{}, err
	}
	a := AuthRequest{
		Auth: f.Get("auth"), Dataset: f.Get("dataset"), Encoding: f.Get("encoding"), Compression: f.Get("compression"), Client: f.Get("client"),
	}
	if a.Encoding == "" {
		a.Encoding = EncodingDBN
	}
	if a.Compression == "" {
		a.Compression = CompressionNone
	}
	if a.TsOut, err = f.flag("ts_out", false); err != nil {
		return AuthRequest{}, err
	}
	if a.Position, err = f.flag("position", false); err != nil {
		return AuthRequest{}, err
	}
	if a.SlowReader, err = f.oneOf("slow_reader_behavior", SlowWarn, SlowSkip); err != nil {
		return AuthRequest{}, err
	}
	if a.Heartbeat, err = f.heartbeat(); err != nil {
		return AuthRequest{}, err
	}
	if a.Role, err = f.oneOf("role", RoleProducer); err != nil {
		return AuthRequest{}, err
	}
	if a.Role == RoleProducer {
		if err := a.parseProducer(f); err != nil {
			return AuthRequest{}, err
		}
	}
	return a, a.check()
}

func (a *AuthRequest) parseProducer(f Fields) (err error) {
	a.Producer, a.Stream = f.Get("producer"), f.Get("stream")
	if a.Ack, err = f.oneOf("ack", AckWritten, AckSynced); err != nil {
		return err
	}
	if a.Future, err = f.flag("future", false); err != nil {
		return err
	}
	if a.TsRecv, err = f.oneOf("ts_recv", TsRecvKeep); err != nil {
		return err
	}
	if a.Existing, err = f.flag("existing", false); err != nil {
		return err
	}
	if a.Strict, err = f.flag("strict", false); err != nil {
		return err
	}
	if a.Resume, a.HasResume, err = f.numberTo("resume", MaxRecords); err != nil {
		return err
	}
	a.Head, err = f.head()
	return err
}

// check holds the rules that both sides keep.
func (a AuthRequest) check() error {
	if a.Auth == "" {
		return fmt.Errorf("%w: auth; answer the challenge", ErrMissing)
	}
	if a.Dataset == "" && a.Role != RoleProducer {
		return fmt.Errorf("%w: dataset", ErrMissing)
	}
	if len(a.Dataset) > MaxDataset {
		return fmt.Errorf("%w: dataset=%s has %d bytes, the limit is %d", ErrTooLong, quote(a.Dataset), len(a.Dataset), MaxDataset)
	}
	if a.Role != RoleProducer {
		return nil
	}
	if err := checkName("producer", a.Producer); err != nil {
		return err
	}
	return checkName("stream", a.Stream)
}

// checkName admits printable ASCII without space, so that a name reads the same in a file, a log line and a metric.
func checkName(key, name string) error {
	if name == "" {
		return fmt.Errorf("%w: %s; role=producer needs a producer name and a stream ID", ErrMissing, key)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%w: %s=%s has %d bytes, the limit is %d", ErrTooLong, key, quote(name), len(name), MaxName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || name[i] == '|' {
			return fmt.Errorf("%w: %s=%s; write printable ASCII without spaces and '|'", ErrValue, key, quote(name))
		}
	}
	return nil
}

func (f Fields) heartbeat() (time.Duration, error) {
	seconds, ok, err := f.number("heartbeat_interval_s")
	if err != nil || !ok {
		return 0, err
	}
	if seconds == 0 || seconds > uint64(math.MaxInt64/time.Second) {
		return 0, fmt.Errorf("%w: heartbeat_interval_s=%d; write a number of seconds such as 30, or leave it out", ErrValue, seconds)
	}
	return time.Duration(seconds) * time.Second, nil
}

// Append writes the line with its newline. Empty fields and false ones are left out, encoding apart. A Heartbeat below a second is refused.
func (a AuthRequest) Append(dst []byte) ([]byte, error) {
	if err := a.check(); err != nil {
		return dst, err
	}
	if a.Heartbeat%time.Second != 0 || a.Heartbeat < 0 {
		return dst, fmt.Errorf("%w: heartbeat of %v; the line carries whole seconds", ErrValue, a.Heartbeat)
	}
	w := lineWriter{buf: dst, start: len(dst)}
	w.text("auth", a.Auth)
	w.optional("dataset", a.Dataset)
	w.text("encoding", cmp.Or(a.Encoding, EncodingDBN))
	w.optional("role", a.Role)
	w.optional("producer", a.Producer)
	w.optional("stream", a.Stream)
	w.optional("ack", a.Ack)
	w.optional("ts_recv", a.TsRecv)
	if a.Future {
		w.flag("future", true)
	}
	if a.Existing {
		w.flag("existing", true)
	}
	if a.Strict {
		w.flag("strict", true)
	}
	w.optional("compression", a.Compression)
	if a.TsOut {
		w.flag("ts_out", true)
	}
	w.optional("client", a.Client)
	if a.Heartbeat > 0 {
		w.number("heartbeat_interval_s", uint64(a.Heartbeat/time.Second))
	}
	w.optional("slow_reader_behavior", a.SlowReader)
	if a.Position {
		w.flag("position", true)
	}
	if a.HasResume {
		w.number("resume", a.Resume)
	}
	w.optional("head", a.Head.String())
	return w.line()
}
