package gateway

import (
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// ReloadKeys reads a key file and replaces the keys by it. It returns how many
// there are and how many connections that ended. A file that is wrong, or holds no
// key at all, changes nothing: a gateway must not lock everybody out over a typing
// mistake, nor over a file that is just being written.
func (s *Server) ReloadKeys(path string) (keys, ended int, err error) {
	ring, err := LoadKeys(path)
	if err == nil && len(ring.keys) == 0 {
		err = fmt.Errorf("%w: %s holds no key; to let nobody in, stop the gateway", ErrKeyFile, path)
	}
	if err != nil {
		s.audit.add(auditEntry{Event: auditReloadRefused, Why: err.Error()})
		return 0, 0, err
	}
	ended = s.SetKeys(ring)
	return len(ring.keys), ended, nil
}

// SetKeys replaces the keys and ends the connections that these no longer allow:
// subscribers by an error record at the next record boundary, producers by an error
// line, with what was acknowledged kept. All others do not notice. It returns how
// many it ended. An open server stays open, and one with keys never becomes open.
func (s *Server) SetKeys(keys *Keyring) (ended int) {
	if s.cfg.Keys == nil || keys == nil {
		return 0
	}
	s.uses.follow(keys) // first, so that who is let in finds the use of its key
	s.keys.Store(keys)
	s.audit.add(auditEntry{Event: auditReload, Keys: len(keys.keys)})
	// Who is on its way meanwhile looks for itself: a session when a loop adopts it,
	// a producer when it has its place.
	s.eachSession(func(sess *session) {
		if sess.recheck() {
			ended++
		}
	})
	var wg sync.WaitGroup
	for _, p := range s.producers.list() {
		if err := keys.entitled(p.key, RightPublish, p.req.Dataset); err != nil {
			ended++
			wg.Go(func() { p.revoke(err.Error()) }) // one that does not read must not keep the others from hearing it
		}
	}
	wg.Wait()
	return ended
}

// recheck ends the session if the keys changed and its own no longer allows it. It
// reports whether it did.
func (s *session) recheck() bool {
	keys := s.loop.srv.keys.Load()
	if keys == s.checked || s.closed {
		return false
	}
	s.checked = keys
	err := keys.entitled(s.key, RightSubscribe, s.auth.Dataset)
	if err == nil || s.ending || s.farewell != "" {
		return false
	}
	s.revoke(err.Error())
	return true
}

// revoke tells the client that its key is no longer good. One that has not started
// reads no records yet: it gets the reason if it starts soon, and is closed anyway.
func (s *session) revoke(reason string) {
	srv := s.loop.srv
	srv.metrics.rejects("revoked").Inc()
	srv.log.Info("subscriber's key was revoked", zap.Uint64("session", s.id), zap.String("remote", s.remote), zap.String("key", keyName(s.key)), zap.String("reason", reason))
	srv.audit.add(s.entry(auditRevoked).why(reason))
	if s.started {
		s.sayFarewell(feed.ErrorKeyDeactivated, reason)
	} else {
		s.failure, s.failCode, s.said = reason, feed.ErrorKeyDeactivated, reason
		s.closeBy = s.loop.now.Add(srv.limits.Linger)
	}
	s.loop.enqueue(s)
}

// revoke ends a producer whose key is no longer good: nothing of it is committed
// from here on. It may be called from anywhere.
func (p *producer) revoke(reason string) {
	if p.dismissed.Swap(true) {
		return
	}
	p.giveBack()
	p.writer.Close()
	p.say(reason)
	p.srv.metrics.rejects("revoked").Inc()
	p.srv.log.Info("producer's key was revoked", zap.Uint64("session", p.session), zap.String("dataset", p.req.Dataset),
		zap.String("producer", p.req.Producer), zap.String("key", keyName(p.key)), zap.String("reason", reason))
	p.srv.audit.add(p.entry(auditRevoked).why(reason))
	p.tellLast(lsg.ProducerError{Code: lsg.CodeAuth, Retry: lsg.RetryNever, Text: reason}.Append(nil))
}
