package gateway

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// Shutdown ends the sessions in order: producers are told to come back later,
// subscribers get an error record at the next record boundary, which makes
// official clients reconnect. Who does not read is cut off when ctx ends or
// Limits.Drain is over. Nothing is lost: both go on where they were.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.leaving.Swap(true) {
		<-s.down
		return s.Wait()
	}
	defer close(s.down)
	s.leaveQueues(ctx)
	s.stopping.Store(true)
	s.unwatch()
	s.producers.stopAll()
	ctx, cancel := context.WithTimeout(ctx, s.limits.Drain)
	defer cancel()
	s.eachSession(func(session *session) { session.stop(shutdownText) })
	s.drained(ctx)
	s.tls.stop()
	s.inherited.finish()
	s.stopLoops()
	s.producers.stopAll() // those that came while the sessions drained
	s.producers.unwatch()
	s.cancel() // before the engine goes: what waits for the journal wakes it
	err := s.stopEngine()
	s.tls.finish(ctx)
	s.wg.Wait()
	s.audit.close()
	s.end(nil)
	return err
}

// stopEngine tells gnet to end. Its own wait for that looks twice a second: this one is
// over as soon as its event loop has returned.
func (s *Server) stopEngine() error {
	ctx, ended := context.WithCancel(context.Background())
	defer ended()
	go func() {
		<-s.ended
		ended()
	}()
	if err := s.engine.Stop(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// drained waits until no session is left.
func (s *Server) drained(ctx context.Context) {
	check := time.NewTicker(10 * time.Millisecond)
	defer check.Stop()
	for {
		left := s.open.Load()
		if left == 0 {
			return
		}
		select {
		case <-check.C:
		case <-ctx.Done():
			s.log.Warn("sessions were cut off at shutdown", zap.Int64("sessions", left))
			return
		}
	}
}

func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.post(func() { l.stopped = true })
		<-l.done
	}
}

// shutdownText is what subscribers are told at a shutdown.
const shutdownText = "Gateway is shutting down; reconnect to go on"
