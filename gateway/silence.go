package gateway

import (
	"fmt"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// How long a producer may leave something owing: a heartbeat that it promised,
// the rest of what it began. While it waits because we told it to, it owes
// nothing.

// producerGrace is how late a promised heartbeat may come.
const producerGrace = 10 * time.Second

// watchIdle closes a session that promised heartbeats and fell silent.
func (p *producer) watchIdle(most time.Duration) {
	p.heard.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = time.AfterFunc(most, func() {
		if silent, _ := p.heard.ago(); silent < most || p.paused.Load() {
			p.lookAgain(&p.idle, max(most-silent, time.Second))
			return
		}
		p.dismiss(lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryNow, Text: fmt.Sprintf("nothing came for %v; send a heartbeat every heartbeat_interval_s", most)})
	})
}

// watchText closes a session that begins a line, or its metadata, and does not
// end it in time.
func (p *producer) watchText() {
	most := p.srv.limits.LineTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text != nil {
		p.text.Reset(most)
		return
	}
	p.text = time.AfterFunc(most, func() {
		switch {
		case !p.ingest.watched.Load():
			return // it ended just now
		case p.paused.Load(): // what it sends lies with us
			p.lookAgain(&p.text, most)
			return
		}
		p.dismiss(lsg.ProducerError{Code: lsg.CodeLimit, Retry: lsg.RetryNow, Text: fmt.Sprintf("a line or the metadata was begun and not ended within %v", most)})
	})
}

// lookAgain resets a timer unless the producer has left.
func (p *producer) lookAgain(timer **time.Timer, in time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished.Load() {
		(*timer).Reset(in)
	}
}
