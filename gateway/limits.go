package gateway

import "time"

// Limits bounds everything a client can make the server spend. The zero value
// of a field means its default.
type Limits struct {
	// Connections is the number of sockets served at once. A further client is
	// told so and closed. It stays well below the process's file limit, because
	// running out of descriptors on accept would end the event loop.
	Connections int
	// Datasets is how many datasets producers may create. Each holds open files,
	// which count against the same limit.
	Datasets int
	// AdminConnections is how many HTTP connections the admin side has at once. One
	// more takes the place of the one that has been idle longest.
	AdminConnections int
	// AdminTimeout is how long a client of the admin side may take to send its
	// request, and may be idle; for the answer it has three times as long.
	AdminTimeout time.Duration
	// AdminHeader is the largest header of a request to the admin side, in bytes.
	AdminHeader int
	// AuthTimeout is how long a client may take from connect to a complete
	// authentication line.
	AuthTimeout time.Duration
	// LineTimeout is how long a client may take from the first byte of a line to
	// its last once it is authenticated, and a producer for its metadata. How
	// long it is silent between lines is not bounded: a client may authenticate
	// in the morning and start its session at the open.
	LineTimeout time.Duration
	// PeerTimeout is how long a peer may leave unanswered what the kernel sends
	// it before it is taken for gone. An idle one is asked after half of it.
	PeerTimeout time.Duration
	// Handshakes is how many TLS handshakes go on at once; more wait to be
	// accepted. Each ends within AuthTimeout. 0 without a TLS listener.
	Handshakes int
	// Hello is how long a client may be silent on the TLS listener before it is
	// taken for one that speaks no TLS, and told so.
	Hello time.Duration
	// AuthLine is the longest authentication line, in bytes.
	AuthLine int
	// Pipelined is how many bytes a producer may send ahead of the reply to its
	// authentication.
	Pipelined int
	// Parked is how many bytes are held for a producer that waits for the
	// journal before it is moved to a goroutine of its own, where TCP holds it
	// back instead.
	Parked int
	// Metadata is the largest DBN metadata header a producer may send, in bytes.
	Metadata int
	// InstrumentsPerProducer is how many instruments one session may declare.
	InstrumentsPerProducer int
	// SubscriptionsPerSession is how many subscription lines one session may
	// send, and half of how many lines of any kind.
	SubscriptionsPerSession int
	// SymbolsPerSession is how many symbols one session may ask for by name.
	SymbolsPerSession int
	// SymbolsInAll is how many symbols all sessions together may ask for by name. Of
	// this and the next ones one key may have half; see budget.go.
	SymbolsInAll int
	// InstrumentsInAll is how many instruments all sessions of producers together
	// may declare.
	InstrumentsInAll int
	// LinesInAll is how many bytes of lines all subscribers together may have begun
	// and not ended.
	LinesInAll int64
	// MetadataInAll is how many bytes of DBN metadata are held for all producers
	// until they are entered.
	MetadataInAll int64
	// ParkedInAll is how many bytes are held for all producers that wait for the
	// journal. Beyond it a producer is moved to a goroutine of its own at once.
	ParkedInAll int64
	// RepliesInAll is how many bytes are held for all producers that do not read
	// what they are told.
	RepliesInAll int64
	// SocketMemory is how many bytes the kernel may keep for all subscribers that do
	// not read, beside 64 KiB for each connection.
	SocketMemory int64
	// SlowBytes and SlowTime say when a session is slow: its socket is full and
	// it is behind by more than this many bytes, or has been full for this long.
	SlowBytes int64
	SlowTime  time.Duration
	// Staging is the most bytes gathered for one session before they are sent:
	// filtered, merged and ts_out streams, and control records.
	Staging int
	// Turn is the most bytes one session sends, and the most it scans by itself,
	// before the loop serves the next session.
	Turn int
	// Linger is how long a closed session's last bytes may take to leave.
	Linger time.Duration
	// Arrival is how long a shutdown waits for those to begin their sessions who
	// came by a listener that others keep open.
	Arrival time.Duration
	// Drain is how long a shutdown waits for the sessions to take their last record.
	Drain time.Duration
	// AuditQueue is how many entries of the audit log may wait for the disk. One
	// beyond it is counted instead of kept.
	AuditQueue int
	// AuditSymbols is how many symbols of a subscription the audit log lists; of
	// more it has the number and a digest.
	AuditSymbols int
}

// DefaultLimits returns the limits of a server on this machine. Connections and
// Datasets follow from the file limit of the process, which Go has raised to
// the hard one.
func DefaultLimits() Limits { return defaultLimits(false, 0) }

// defaultLimits is DefaultLimits for a server with or without a TLS listener,
// whose journal has so many files open already.
func defaultLimits(tls bool, open int) Limits {
	files, err := fileLimit()
	if err != nil {
		files = minFiles
	}
	handshakes := 0
	if tls {
		handshakes = max(minHandshakes, min(maxDefaultHandshakes, files/16))
	}
	const admin = 32
	datasets := max(minDatasets, min(maxDefaultDatasets, (files-filesReserve)/4/filesPerDataset))
	connections := connectionsWithin(files, max(datasets*filesPerDataset, open), handshakes, admin)
	return Limits{
		Connections:             max(minConnections, min(maxDefaultConnections, connections)),
		Datasets:                datasets,
		AdminConnections:        admin,
		AdminTimeout:            10 * time.Second,
		AdminHeader:             16 << 10,
		AuthTimeout:             10 * time.Second,
		LineTimeout:             30 * time.Second,
		PeerTimeout:             60 * time.Second,
		Handshakes:              handshakes,
		Hello:                   2 * time.Second,
		AuthLine:                4 << 10,
		Pipelined:               64 << 10,
		Parked:                  1 << 20,
		Metadata:                64 << 20,
		InstrumentsPerProducer:  100_000,
		SubscriptionsPerSession: 1_000,
		SymbolsPerSession:       100_000,
		SymbolsInAll:            4_000_000,
		InstrumentsInAll:        4_000_000,
		LinesInAll:              64 << 20,
		MetadataInAll:           256 << 20,
		ParkedInAll:             256 << 20,
		RepliesInAll:            64 << 20,
		SocketMemory:            1 << 30,
		SlowBytes:               16 << 20,
		SlowTime:                5 * time.Second,
		Staging:                 64 << 10,
		Turn:                    256 << 10,
		Linger:                  2 * time.Second,
		Arrival:                 time.Second,
		Drain:                   3 * time.Second,
		AuditQueue:              8192,
		AuditSymbols:            100,
	}
}

// withDefaults fills the fields that are zero.
func (l Limits) withDefaults(tls bool, open int) Limits {
	d := defaultLimits(tls, open)
	setDefault(&l.Connections, d.Connections)
	setDefault(&l.Datasets, d.Datasets)
	setDefault(&l.AdminConnections, d.AdminConnections)
	setDefault(&l.AdminTimeout, d.AdminTimeout)
	setDefault(&l.AdminHeader, d.AdminHeader)
	setDefault(&l.AuthTimeout, d.AuthTimeout)
	setDefault(&l.LineTimeout, d.LineTimeout)
	setDefault(&l.PeerTimeout, d.PeerTimeout)
	setDefault(&l.Handshakes, d.Handshakes)
	setDefault(&l.Hello, d.Hello)
	setDefault(&l.AuthLine, d.AuthLine)
	setDefault(&l.Pipelined, d.Pipelined)
	setDefault(&l.Parked, d.Parked)
	setDefault(&l.Metadata, d.Metadata)
	setDefault(&l.InstrumentsPerProducer, d.InstrumentsPerProducer)
	setDefault(&l.SubscriptionsPerSession, d.SubscriptionsPerSession)
	setDefault(&l.SymbolsPerSession, d.SymbolsPerSession)
	setDefault(&l.SymbolsInAll, d.SymbolsInAll)
	setDefault(&l.InstrumentsInAll, d.InstrumentsInAll)
	setDefault(&l.LinesInAll, d.LinesInAll)
	setDefault(&l.MetadataInAll, d.MetadataInAll)
	setDefault(&l.ParkedInAll, d.ParkedInAll)
	setDefault(&l.RepliesInAll, d.RepliesInAll)
	setDefault(&l.SocketMemory, d.SocketMemory)
	setDefault(&l.SlowBytes, d.SlowBytes)
	setDefault(&l.SlowTime, d.SlowTime)
	setDefault(&l.Staging, d.Staging)
	setDefault(&l.Turn, d.Turn)
	setDefault(&l.Linger, d.Linger)
	setDefault(&l.Arrival, d.Arrival)
	setDefault(&l.Drain, d.Drain)
	setDefault(&l.AuditQueue, d.AuditQueue)
	setDefault(&l.AuditSymbols, d.AuditSymbols)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
