package gateway

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The descriptors that the process may have are one budget, and each kind of
// use has a share of it that it is held to where it opens something: gnet ends
// on EMFILE, so nothing may ever come to that.
//
//	connections   Limits.Connections, and beside each what TLS takes
//	handshakes    Limits.Handshakes
//	admin         Limits.AdminConnections
//	tapes         all the rest: see journal.LimitFiles
//	the process   filesReserve
type filesPlan struct {
	total       int // the process's file limit
	connections int // what Limits.Connections may take at most
	handshakes  int
	admin       int
	tapes       int // what is left for the journal
}

const (
	// filesReserve is what the process needs for itself: logs, epolls, pipes,
	// listeners, and sockets on their way from one loop to another.
	filesReserve = 160
	// filesPerDataset is what one dataset keeps open: nine files of its own, and
	// for each of two tapes four. One with more tapes has them as long as others
	// have less.
	filesPerDataset = 17
	// filesPerTunnel is what a connection by TLS takes beside: the peer's socket
	// and our end of the pair. All connections may come by TLS.
	filesPerTunnel = 2
	// filesPerHandshake: the socket, and the pair on its way to the event loop.
	filesPerHandshake = 2
	// tapesPerConnection is the part of a file that the tapes have for each
	// connection: now and then a sealed segment that only this session reads.
	tapesPerConnection = 0.5
	// filesMargin is how near the limit a descriptor's number may come before its
	// connection is refused, whatever the plan says: the kernel gives the lowest
	// number that is free, so all below are in use.
	filesMargin = 16

	minFiles              = 1024
	minConnections        = 16
	minDatasets           = 8
	minHandshakes         = 16
	maxDefaultHandshakes  = 256
	maxDefaultConnections = 10_000 // what the loops are tested with
	maxDefaultDatasets    = 512
)

func fileLimit() (int, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("gateway: read the file limit: %w", err)
	}
	return int(min(r.Cur, 1<<30)), nil
}

// perConnection is the files of one connection.
func perConnection(handshakes int) int {
	if handshakes > 0 {
		return 1 + filesPerTunnel
	}
	return 1
}

// connectionsWithin is how many connections a file limit allows beside the tapes
// and, when there is a TLS listener, handshakes.
func connectionsWithin(files, tapes, handshakes, admin int) int {
	left := files - filesReserve - tapes - handshakes*filesPerHandshake - admin
	return int(float64(left) / (float64(perConnection(handshakes)) + tapesPerConnection))
}

// planFiles shares the file limit out. It refuses caps that the process could
// not hold; open is what the journal has open already.
func (l Limits) planFiles(open int) (filesPlan, error) {
	total, err := fileLimit()
	if err != nil {
		return filesPlan{}, err
	}
	p := filesPlan{
		total: total, admin: l.AdminConnections, handshakes: l.Handshakes * filesPerHandshake,
		connections: l.Connections * perConnection(l.Handshakes),
	}
	p.tapes = total - filesReserve - p.connections - p.handshakes - p.admin
	most := max(minConnections, connectionsWithin(total, max(l.Datasets*filesPerDataset, open), l.Handshakes, l.AdminConnections))
	if l.Connections > most {
		return p, fmt.Errorf("gateway: %d connections and %d datasets need more than the %d files this process may open, which allow %d connections: raise the limit (ulimit -n, or LimitNOFILE= of the service) or lower --max-connections",
			l.Connections, l.Datasets, total, most)
	}
	if least := max(open, filesPerDataset); p.tapes < least {
		return p, fmt.Errorf("gateway: this process may open %d files, which leaves %d for tapes, and they need %d: raise the limit (ulimit -n, or LimitNOFILE= of the service)", total, max(0, p.tapes), least)
	}
	return p, nil
}

// crowded reports whether a connection's descriptor is so near the file limit
// that the next ones might find none: something uses more than its share.
func (p *filesPlan) crowded(fd int) bool { return fd >= p.total-filesMargin }

// errCrowded is what who connects is told then.
var errCrowded = errors.New("the gateway has as many files open as its process may; its operator raises the limit (LimitNOFILE=) or closes sessions")

// filesShort reports whether readers should let go of files they do not read.
func (s *Server) filesShort() bool {
	used, limit := s.journal.Files()
	return limit > 0 && used >= limit-limit/4
}

// awaitFiles has the session try again later: the file that comes next may not
// be opened now. It gives back what it holds meanwhile, or those who wait could
// wait for one another.
func (s *session) awaitFiles() {
	s.lacksFile = true
	s.letFilesGo()
}

func (s *session) letFilesGo() {
	for _, c := range s.cursors {
		if c.off == 0 { // the rest of a record that is sent in part is owed
			c.release()
		}
	}
}

// shareFiles is the session's part, each tick, in having files suffice for all.
// It reports whether the session is to be served.
func (s *session) shareFiles() bool {
	if s.lacksFile {
		s.lacksFile = false
		return true
	}
	if s.writable {
		return false
	}
	// Its socket is full: it reads nothing, and finds them again, or is told that they are gone.
	if s.loop.srv.filesShort() {
		s.letFilesGo()
	}
	if s.loop.srv.journal.OverPinned() {
		s.letExpiredGo()
	}
	return false
}

// letExpiredGo gives up files that are gone but for this session. Of a record that is
// sent in part it keeps the rest, which it owes.
func (s *session) letExpiredGo() {
	for _, c := range s.cursors {
		if c.seg == nil || c.seg.Base() >= c.tape.First() {
			continue
		}
		if c.off > 0 {
			rest := make([]byte, c.size-c.off)
			if _, err := c.seg.ReadAt(rest, c.seg.Offset(c.seq)+int64(c.off)); err != nil {
				continue // sending it comes to the same
			}
			s.out = append(s.out, rest...)
			s.sentRecords++
			c.advance(len(rest))
			s.partial = nil
		}
		c.release()
	}
}
