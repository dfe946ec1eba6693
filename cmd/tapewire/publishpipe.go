package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// pipe is standard input, which can be read once: what was read and is not acked is kept by the producer.
type pipe struct {
	dec    *feed.Decoder
	resume bool // it goes on with a stream that is there
	rest   bool // and begins with the record that the gateway lacks

	producer atomic.Pointer[feed.ResumingProducer] // once there was a session

	ahead []feed.Record // read already
	err   error         // what ended reading ahead
	began feed.Head     // how the stream began; it is held against the input while that is read
	sum   *recordSum    // of what was given; nil: nothing is held against it any more
}

// peek reads up to the first data record and gives it; nil when there is none.
func (in *pipe) peek() feed.Record {
	for in.err == nil {
		var rec feed.Record
		if rec, in.err = in.dec.Next(); in.err != nil {
			break
		}
		rec = bytes.Clone(rec)
		if in.ahead = append(in.ahead, rec); !rec.RType().IsControl() {
			return rec
		}
	}
	return nil
}

// next gives the next record, unless it shows that the input is another than the one that the stream began with.
func (in *pipe) next() (rec feed.Record, err error) {
	switch {
	case len(in.ahead) > 0:
		rec, in.ahead = in.ahead[0], in.ahead[1:]
	case in.err != nil:
		return nil, in.err
	default:
		if rec, err = in.dec.Next(); err != nil {
			return nil, err
		}
	}
	if in.sum == nil {
		return rec, nil
	}
	if in.sum.add(rec); in.sum.records == in.began.Records {
		if in.sum.head() != in.began {
			return nil, errOtherData
		}
		in.sum = nil
	}
	return rec, nil
}

// startPipe publishes standard input, over as many sessions as that takes. Whoever interrupts it does not wait for an input that says nothing.
func (p *publication) startPipe(ctx context.Context, name string) error {
	started, ended := time.Now(), make(chan error, 1)
	if p.cfg.Name = name; name == "" {
		p.cfg.Name = producerOf(p.cfg.Stream)
	}
	go func() { ended <- p.pipeThrough(ctx) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case err = <-ended:
		case <-time.After(partingPatience):
			err = ctx.Err()
		}
	}
	if r := p.src.pipe.producer.Load(); r != nil {
		p.acked, p.missing = r.Acked(), r.Missing()
	}
	if err != nil {
		return err
	}
	p.summary(time.Since(started))
	if p.missing > 0 {
		return withExit(exitMissing, fmt.Errorf("the gateway lost %s that it had acknowledged, as in a power cut, and a pipe cannot be read again; subscribers are told of the gap\nwith --ack synced a power cut takes nothing that was acknowledged",
			counted(p.missing, "record")))
	}
	return nil
}

// pipeThrough finds out what the gateway has and sends the rest. A wrong address or key is found before anything is read.
func (p *publication) pipeThrough(ctx context.Context) error {
	in := p.src.pipe
	accepted, err := p.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case in.rest:
	case accepted > 0 && !in.resume && in.began == (feed.Head{}):
		return usage("the gateway has %s of stream %s, and how it began is not known\nadd --resume when this input is the same from its beginning, and --from-accepted too when it begins with record %d; or give it a --stream of its own",
			counted(accepted, "record"), p.cfg.Stream, accepted)
	case in.began != (feed.Head{}):
		in.sum = newRecordSum()
	}
	if first := in.peek(); first != nil && accepted == 0 && !in.rest {
		sum := newRecordSum()
		sum.add(first)
		p.cfg.Head = sum.head() // whoever goes on with this stream is held against it
	}
	r, err := p.dialPipe(ctx)
	if err != nil {
		return err
	}
	in.producer.Store(r)
	stop := context.AfterFunc(ctx, func() { r.Close(ctx) }) // ends whatever blocks
	defer stop()
	show := showProgress(p.screen.err, p.src, r)
	defer show.stop()
	err = p.pour(r)
	if errors.Is(err, errOtherData) {
		cut, cancel := context.WithCancel(ctx)
		cancel()
		r.Close(cut)
		return p.notThese(err)
	}
	if closeErr := r.Close(ctx); err == nil { // a broken input, too, is kept up to where it broke
		err = closeErr
	}
	return err
}

// look asks the gateway what it has of the stream, which is there from then on.
func (p *publication) look(ctx context.Context) (accepted uint64, err error) {
	producer, err := feed.DialProducer(ctx, p.cfg)
	if err != nil {
		return 0, err
	}
	p.kept, p.src.pipe.began = producer.Retain(), producer.Head()
	return producer.Accepted(), producer.Close(ctx)
}

// dialPipe opens the session that keeps itself open. The gateway was there a moment ago, so it is waited for.
func (p *publication) dialPipe(ctx context.Context) (*feed.ResumingProducer, error) {
	meta := *p.src.pipe.dec.Metadata()
	meta.Dataset = p.cfg.Dataset
	p.mappings = len(meta.Mappings)
	lost := func(err error, pause time.Duration) {
		fmt.Fprintf(p.screen.err, "%s; trying again in %v\n", lsg.Printable(plain(err)), pause.Round(time.Millisecond))
	}
	cfg := feed.ResumingConfig{ProducerConfig: p.cfg, Metadata: meta, Wait: true, Lost: lost}
	for pause := feed.RedialFirst; ; pause = min(2*pause, feed.RedialLongest) {
		r, err := feed.DialResumingProducer(ctx, cfg)
		if err == nil || feed.IsFinal(err) || ctx.Err() != nil {
			return r, err
		}
		lost(err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pour sends what the gateway lacks.
func (p *publication) pour(r *feed.ResumingProducer) error {
	in := p.src.pipe
	p.had = r.Sent()
	if !in.rest {
		mappings, err := skipAccepted(in.next, p.had, p.cfg.Stream)
		if err != nil {
			return err
		}
		p.mappings += len(mappings)
		if err := r.Publish(mappings...); err != nil {
			return err
		}
	}
	for {
		rec, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.RType() == feed.RTypeSymbolMapping {
			p.mappings++
		}
		if err := r.Publish(rec); err != nil {
			return err
		}
	}
}

// notThese words that the input is not the one that the stream began with.
func (p *publication) notThese(err error) error {
	return usage("%w: the first %s of stream %s are others than these; send the same input from its beginning, add --resume --from-accepted when it begins with the record that the gateway lacks, or give it a --stream of its own",
		err, counted(p.src.pipe.began.Records, "record"), p.cfg.Stream)
}
