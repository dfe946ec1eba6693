package feed

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// AckLevel is how safe a record is when the gateway acks it.
type AckLevel string

// The levels of an ack.
const (
	AckWritten AckLevel = lsg.AckWritten // survives the death of the gateway's process
	AckSynced  AckLevel = lsg.AckSynced  // survives a power cut
)

// Instrument, Gap and Position are the text lines of the protocol with these names; their fields are described in package lsg.
type (
	Instrument = lsg.Instrument
	Gap        = lsg.Gap
	Position   = lsg.Position
	Head       = lsg.Head
)

// Limits and times of a Producer.
const (
	PublishBuffer    = 64 << 10         // bytes that Publish gathers before it sends by itself
	PublishDelay     = time.Millisecond // the longest that a record waits in the buffer for more to come
	ProducerInterval = 10 * time.Second // heartbeat when Heartbeat is 0
	lastWords        = time.Second      // how long after a failed write the gateway's error line may still come
)

// ProducerConfig says where and as what to publish.
type ProducerConfig struct {
	Addr    string // HOST:PORT; DefaultAddr when empty
	Key     string // 32 characters; OpenModeKey when empty
	Dataset string // such as BINA.SPOT
	Name    string // the producer's name; a newer session of the same name takes over from an older one

	// Stream identifies one run of numbering: records are counted from 0 within it, and a session of the same Stream goes on where the last one
	// ended. When empty it is the present time, which is right for a live adapter and wrong for a file that is published again after a failure.
	Stream string

	Ack         AckLevel         // AckWritten when empty
	Future      bool             // the records' times may lie in the future, as a simulation's do: else those far beyond the gateway's clock count as a broken clock's
	KeepTsRecv  bool             // an undefined ts_recv stays as it is, as in a file; else the gateway stamps it with the time of receipt
	Head        Head             // how the stream begins, as far as that is known; Producer.Head is what the gateway knew before. A RefusedError with lsg.CodeStreamHead says that it began otherwise
	Existing    bool             // the stream must be there already: a RefusedError with lsg.CodeNoStream says that it is not
	Strict      bool             // end the session at a price off the increment that its instrument declared; such prices are only counted otherwise
	Resume      *uint64          // the number of the oldest record that can still be sent; what lies between the tapes and it becomes a gap
	Client      string           // what the gateway's log calls this program
	Heartbeat   time.Duration    // whole seconds; sent when nothing else was for so long
	DialTimeout time.Duration    // connecting and authenticating together; DefaultDialTimeout when 0
	LineRefused func(*LineError) // told of each line that was refused and is no instrument's, such as a gap; the session goes on. It must return at once, and not call the producer
	TLS         *tls.Config      // for a gateway's TLS listener; nil is plain TCP. Addr's host is the ServerName unless that is set
}

// withDefaults fills what was left empty.
func (c ProducerConfig) withDefaults() (ProducerConfig, error) {
	c.Ack = cmp.Or(c.Ack, AckWritten)
	if c.Ack != AckWritten && c.Ack != AckSynced {
		return c, fmt.Errorf("%w: Ack is %q; use AckWritten or AckSynced", ErrConfig, c.Ack)
	}
	c.Stream = cmp.Or(c.Stream, time.Now().UTC().Format("20060102T150405.000000000"))
	c.Client = cmp.Or(c.Client, clientName)
	c.Heartbeat = cmp.Or(c.Heartbeat, ProducerInterval)
	return c, nil
}

func (c ProducerConfig) login() login {
	request := lsg.AuthRequest{
		Dataset: c.Dataset, Client: c.Client, Heartbeat: c.Heartbeat,
		Role: lsg.RoleProducer, Producer: c.Name, Stream: c.Stream, Ack: string(c.Ack), Head: c.Head, Existing: c.Existing, Strict: c.Strict, Future: c.Future,
	}
	if c.KeepTsRecv {
		request.TsRecv = lsg.TsRecvKeep
	}
	if c.Resume != nil {
		request.Resume, request.HasResume = *c.Resume, true
	}
	return login{addr: c.Addr, key: c.Key, timeout: c.DialTimeout, tls: c.TLS, request: request}
}
