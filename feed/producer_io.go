package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// listen hears the gateway's lines until the session is over. It never takes out: a write that blocks must not keep the gateway's error from
// being heard.
func (p *Producer) listen(in *inbox) {
	defer close(p.done)
	defer p.conn.Close() // a blocked write returns
	for {
		line, err := in.line()
		if err != nil {
			p.mu.Lock()
			if p.writeErr != nil {
				err = p.writeErr // the cause; what reading met is only its echo
			}
			p.mu.Unlock()
			if errors.Is(err, io.EOF) {
				err = errors.New("the gateway closed it")
			}
			p.fail(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
		if err := p.hear(line); err != nil {
			p.fail(err)
			return
		}
	}
}

// hear acts on one line. Lines of an unknown kind are left alone: a newer gateway may have more of them.
func (p *Producer) hear(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	switch {
	case lsg.IsAck(line):
		ack, err := lsg.ParseAck(line)
		if err == nil && ack.Level == string(p.cfg.Ack) {
			p.acked = max(p.acked, ack.N)
		}
		return err
	case lsg.IsInstrument(line):
		reply, err := lsg.ParseInstrumentReply(line)
		if err == nil {
			p.instruments[reply.Symbol] = declared{id: reply.ID}
		}
		return err
	case lsg.IsPause(line):
		pause, err := lsg.ParsePause(line)
		p.paused = pause.Reason
		return err
	case lsg.IsResume(line):
		p.paused = ""
		p.wake()
	case lsg.IsError(line):
		e, err := lsg.ParseProducerError(line)
		if err != nil {
			return err
		}
		if e.Instrument != "" {
			p.instruments[e.Instrument] = declared{err: &InstrumentError{Symbol: e.Instrument, Code: e.Code, Text: e.Text}}
			return nil
		}
		if e.Alone() {
			if p.cfg.LineRefused != nil {
				p.cfg.LineRefused(&LineError{Line: e.Line, Code: e.Code, Text: e.Text})
			}
			return nil
		}
		return (*ProducerError)(&e)
	}
	return nil
}

// wake lets the delay begin, after which tend flushes.
func (p *Producer) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// tend flushes what has waited for PublishDelay, and sends a heartbeat when nothing else was sent.
func (p *Producer) tend() {
	defer close(p.ended)
	delay := time.NewTimer(PublishDelay)
	defer delay.Stop()
	beat := time.NewTicker(p.cfg.Heartbeat / 2) // two ticks without a write are one interval of silence
	defer beat.Stop()
	for {
		select {
		case <-p.kick:
			delay.Reset(PublishDelay)
		case <-delay.C:
			p.sendLate(false)
		case <-beat.C:
			p.sendLate(true)
		case <-p.done:
			return
		}
	}
}

// sendLate flushes, with a heartbeat when one is due. It leaves a paused session alone, so that Publish can go on filling the buffer; the end of
// the pause brings it back. An error is not lost: it is the session's.
func (p *Producer) sendLate(beat bool) {
	if p.Paused() != "" {
		return
	}
	p.out.Lock()
	defer p.out.Unlock()
	if beat && p.started && !p.wrote && len(p.buf) == 0 {
		p.buf = AppendSystem(p.buf, now(), SystemHeartbeat, "Heartbeat")
	}
	if beat {
		p.wrote = false
	}
	if len(p.buf) > 0 {
		_ = p.flush()
	}
}

// sendInstrument declares as the phase of the session demands: on a line of text, or in band.
func (p *Producer) sendInstrument(in Instrument) error {
	p.out.Lock()
	defer p.out.Unlock()
	if p.started {
		text, err := in.Text()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		p.putText(text)
		return p.flush()
	}
	line, err := in.Append(p.buf)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.buf = line
	return p.flush()
}

// putText buffers an in-band line. The caller holds out.
func (p *Producer) putText(text string) {
	p.buf = AppendSystem(p.buf, now(), SystemUnset, text)
}

// flush sends the buffer. The caller holds out.
func (p *Producer) flush() error {
	if err := p.send(p.buf); err != nil {
		return err
	}
	p.buf = p.buf[:0]
	return nil
}

// send writes b once the gateway takes records. The caller holds out.
func (p *Producer) send(b []byte) error {
	p.mu.Lock()
	for p.paused != "" && p.err == nil {
		p.changed.Wait()
	}
	err := p.err
	p.mu.Unlock()
	if err != nil || len(b) == 0 {
		return err
	}
	p.wrote = true
	if _, err := p.conn.Write(b); err != nil {
		return p.broken(err)
	}
	return nil
}

// broken gives the gateway a moment to say why it stopped reading: its error line may be on its way, and says more than the failed write.
func (p *Producer) broken(err error) error {
	p.mu.Lock()
	if p.writeErr == nil {
		p.writeErr = err
	}
	p.mu.Unlock()
	p.conn.SetReadDeadline(time.Now().Add(lastWords))
	<-p.done
	return p.Err()
}

// abort ends the session at once, whatever blocks.
func (p *Producer) abort(cause error) {
	p.fail(cause)
	p.conn.Close()
}

// fail records why the session is over. Only the first reason counts.
func (p *Producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		p.over.Store(true)
	}
	p.changed.Broadcast()
}

// await blocks until ok, which is called with mu held, says true. It fails with the session's error or with that of ctx.
func (p *Producer) await(ctx context.Context, ok func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok() {
		if p.err != nil {
			return p.err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.changed.Wait()
	}
	return nil
}

// now is the time of a control record.
func now() uint64 { return uint64(time.Now().UnixNano()) }
