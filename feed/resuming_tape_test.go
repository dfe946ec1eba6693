package feed

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tapewire/tapewire/feed/lsg"
)

// fakeTape is what a gateway keeps of one stream while its connections come and go.
type fakeTape struct {
	mu    sync.Mutex
	bytes []byte
	count uint64
	run   uint64   // records directly before count that resume=M passed over
	gaps  []string // from resume=M and in band
	auths []lsg.AuthRequest
}

// awayOnce serves a session of ten records, then ends all until up is closed: down is closed when the first of those comes. The next one goes by first.
func (tape *fakeTape) awayOnce(t *testing.T, first func(*peer) error) (addr string, down, up chan struct{}) {
	down, up = make(chan struct{}), make(chan struct{})
	addr = servePeers(t, func(p *peer) error {
		switch p.nth {
		case 0:
			return tape.session(p, 10)
		case 1:
			close(down)
			<-up
			return errStop
		case 2:
			return first(p)
		}
		return tape.session(p, 0)
	})
	return addr, down, up
}

// whole is a session that goes on to its end.
func (tape *fakeTape) whole(p *peer) error { return tape.session(p, 0) }

// admit answers a producer's authentication, and makes the gap that it asks for.
func (tape *fakeTape) admit(p *peer) (lsg.AuthReply, error) {
	if err := p.greet(); err != nil {
		return lsg.AuthReply{}, err
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	tape.auths = append(tape.auths, p.auth)
	reply := lsg.AuthReply{Success: true, SessionID: 1, HasAccepted: true}
	if p.auth.HasResume && p.auth.Resume > tape.count {
		tape.gaps = append(tape.gaps, fmt.Sprintf("%d..%d", tape.count, p.auth.Resume))
		tape.run += p.auth.Resume - tape.count
		tape.count = p.auth.Resume
	}
	reply.Accepted = tape.count
	if p.auth.HasResume && p.auth.Resume == tape.count {
		reply.Missing = tape.run
	}
	return reply, nil
}

// breakOff is a session that ends before its first record: with its reply on the way, or over a declaration. Without again later ones do not tell of its gap.
func (tape *fakeTape) breakOff(p *peer, lost, again bool) error {
	reply, err := tape.admit(p)
	if err != nil {
		return err
	}
	if lost {
		return errStop
	}
	if !again {
		tape.run = 0
	}
	if err := p.send(string(reply.Append(nil))); err != nil {
		return err
	}
	if _, err := p.in.line(); err != nil {
		return err
	}
	return errStop
}

// session serves one producer's session. It ends the connection without a word after limit records, if limit is positive.
func (tape *fakeTape) session(p *peer, limit int) error {
	reply, err := tape.admit(p)
	if err != nil {
		return err
	}
	if err := p.send(string(reply.Append(nil))); err != nil {
		return err
	}
	for {
		line, err := p.in.line()
		if err != nil {
			return errStop
		}
		if lsg.IsStartSession(line) {
			break
		}
		in, err := lsg.ParseInstrument(line)
		if err != nil {
			return err
		}
		if err := p.send("instrument=" + in.Symbol + "|instrument_id=17\n"); err != nil {
			return err
		}
	}
	if _, err := p.metadata(); err != nil {
		return errStop
	}
	return tape.take(p, limit)
}

// take puts records on the tape until the end of the session, and acks now and then.
func (tape *fakeTape) take(p *peer, limit int) error {
	for n := 1; ; n++ {
		rec, err := p.record()
		if err != nil {
			return errStop
		}
		tape.mu.Lock()
		ended := false
		if msg, ok := View[SystemMsg](rec); ok {
			ended = msg.Text() == lsg.EndSession
			if lsg.IsGap(msg.Text()) {
				tape.gaps = append(tape.gaps, msg.Text())
			}
		} else {
			tape.bytes = append(tape.bytes, rec...)
			tape.count++
			tape.run = 0
		}
		count := tape.count
		tape.mu.Unlock()
		if n == limit {
			return errStop
		}
		if ended || n%64 == 0 {
			if err := p.ack(count); err != nil || ended {
				return errStop
			}
		}
	}
}
