package gateway

import (
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// producerGrace is how late a promised heartbeat may come.
const producerGrace = 10 * time.Second

// watchIdle closes a session that promised heartbeats and fell silent.
func (p *producer) watchIdle(most time.Duration) {
	p.heard.Store(time.Now().UnixNano())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = time.AfterFunc(most, func() {
		if silent := time.Since(time.Unix(0, p.heard.Load())); silent < most || p.paused.Load() {
			p.lookAgain(max(most-silent, time.Second))
			return
		}
		p.dismiss(lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryNow, Text: fmt.Sprintf("nothing came for %v; send a heartbeat every heartbeat_interval_s", most)})
	})
}

// lookAgain resets the idle timer unless the producer has left.
func (p *producer) lookAgain(in time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished.Load() {
		p.idle.Reset(in)
	}
}
