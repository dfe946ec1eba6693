package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

type publishCmd struct {
	gatewayFlag
	Dataset         string   `help:"Publish as this dataset instead of the one that the file names." placeholder:"D"`
	Producer        string   `help:"The producer's name: a newer session of a name in a dataset ends the older one. Unless given, publish- and the stream's ID, so that files can be published side by side." placeholder:"NAME"`
	Stream          string   `help:"The stream's ID, within which records are numbered; a digest of a file's records unless given; standard input is a new stream each time without it." placeholder:"ID"`
	Ack             string   `help:"What an acknowledged record survives: written (kill -9) or synced (a power cut); default ${default}." placeholder:"LEVEL" enum:"written,synced" default:"written"`
	Future          bool     `help:"The records' times lie in the future and are meant, as a simulation's are: else those beyond the gateway's clock count as a broken clock's, and no start goes by them."`
	FragmentVersion uint8    `help:"The files are fragments, records without metadata, of this DBN version (1 to 3); needs --dataset." placeholder:"V"`
	Resume          bool     `help:"Go on with --stream from standard input, which comes again from its beginning: what the gateway has is passed over."`
	FromAccepted    bool     `help:"With --resume: standard input begins with the record that the gateway lacks, as a feed does that went on meanwhile; nothing is passed over."`
	Files           []string `arg:"" name:"file" help:"DBN files, plain or .zst; - is standard input."`
}

// Help teaches by example.
func (publishCmd) Help() string {
	return `Examples:

  tapewire publish trades.dbn.zst
  tapewire publish --dataset REPLAY.TEST --ack synced monday.dbn tuesday.dbn
  zcat capture.gz | tapewire publish --stream monday -
  zcat capture.gz | tapewire publish --stream monday --resume -

Every record goes into the tapes once: a lost connection is dialled again and the file goes on where the
gateway has it, and a file that was published before is recognised by its records: one that has grown
since then goes on behind them, and one that begins alike but is another is published as another.

Standard input goes on by itself, too, while it flows: what is not acknowledged is kept and sent again, and the input waits
for a gateway that is away, until it is back or the command is stopped. It is a new stream each time, and comes again when it
is sent again, unless --stream names it. A pipe that is started again with --stream ID --resume goes on by count, exactly:
its input is the same from its beginning, and what the gateway has is passed over, once it was held against how the stream
began. An input that begins with the very record that the gateway lacks says so with --from-accepted: nothing is passed over
then, and nothing shows a record that is missing or there twice. Without --resume a stream that is there goes on only if its
beginning is recognised in the input.

Exit code 5: published, but something is missing on the tapes, which standard error names: records that the gateway lost and
that a pipe cannot send again, or a gap line that it refused.

The key comes from TAPEWIRE_KEY or DATABENTO_API_KEY; an open gateway needs none.`
}

// redialPatience is how long a lost session is dialled again without one more record acked.
const redialPatience = 10 * time.Minute

// Run publishes the files one after the other. All of them are read through first, so that a bad one is found before anything was published.
func (p *publishCmd) Run(ctx context.Context, c console) error {
	secure, err := p.tlsConfig()
	if err != nil {
		return err
	}
	sources, err := p.sources(ctx, c)
	if err != nil {
		return err
	}
	var kept time.Duration
	var missing error // of a source that was published but for something
	for _, src := range sources {
		dataset := cmp.Or(p.Dataset, src.dataset)
		if err := checkDataset(dataset); err != nil {
			return fmt.Errorf("%s: %w", src.name, err)
		}
		job := publication{src: src, screen: c, cfg: feed.ProducerConfig{
			Addr: p.address(), Key: clientKey(), Dataset: dataset, Stream: src.stream, Head: src.head, Ack: feed.AckLevel(p.Ack), Client: "tapewire publish", TLS: secure,
			Future: p.Future, KeepTsRecv: src.pipe == nil,
		}}
		refused := atomic.Uint64{} // lines
		job.cfg.LineRefused = func(e *feed.LineError) {
			refused.Add(1)
			fmt.Fprintf(c.err, "%s; the rest is published\n", lsg.Printable(plain(e)))
		}
		publish := job.start
		if src.pipe != nil {
			publish = job.startPipe
		}
		err := publish(ctx, p.Producer)
		if n := refused.Load(); err == nil && n > 0 {
			err = withExit(exitMissing, fmt.Errorf("the gateway refused %s, as told above: subscribers are told of no such gap", counted(n, "line")))
		}
		if exit := (exitError{}); errors.As(err, &exit) && exit.code == exitMissing {
			missing, err = errors.Join(missing, fmt.Errorf("%s: %w", src.name, err)), nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%s: stopped with at least %s kept; %s", src.name, counted(job.acked, "record"), p.goOn(src))
			}
			if src.pipe != nil && errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("%s: %w\n%s before that are kept; %s", src.name, err, counted(job.acked, "record"), p.goOn(src))
			}
			return fmt.Errorf("%s: %w", src.name, clientError(p.address(), err))
		}
		kept = job.kept
	}
	if kept > 0 {
		fmt.Fprintf(c.out, "the gateway keeps records for %s after they were published, whatever their own times (serve --retain)\n", ageText(kept))
	}
	return missing
}

// goOn says how to publish the rest of a source.
func (p *publishCmd) goOn(src *source) string {
	if src.pipe != nil && p.FromAccepted {
		return "go on with the record that follows those, as the gateway counts them"
	}
	if src.pipe != nil {
		return "send it again from its beginning with --stream " + src.stream + " --resume to go on from there"
	}
	return "the same command goes on from there"
}

// publication is one file on its way into one stream, over as many sessions as that takes.
type publication struct {
	src     *source
	cfg     feed.ProducerConfig
	screen  console
	had     uint64 // records of the stream that the gateway had before
	acked   uint64
	missing uint64 // what the gateway lost and cannot be sent again
	session int

	kept     time.Duration // how long the gateway keeps records; 0: for ever, or it does not say
	mappings int           // symbol mappings that the source has
}

// start finds the stream that a file belongs to, and publishes. A file that was published by an earlier release, or that began like another one, has its stream
// by all its records; any other by its first one, so that it goes on where it was when it has grown.
func (p *publication) start(ctx context.Context, name string) error {
	into := func(stream string) {
		p.had, p.acked, p.session, p.mappings = 0, 0, 0, 0
		p.cfg.Stream, p.cfg.Name = stream, cmp.Or(name, producerOf(stream))
	}
	if p.src.whole != "" {
		into(p.src.whole)
		there, err := p.exists(ctx)
		if err != nil {
			return err
		}
		if there {
			return p.run(ctx)
		}
	}
	into(p.src.stream)
	err := p.run(ctx)
	if !errors.Is(err, errOtherData) || p.src.whole == "" {
		return err
	}
	fmt.Fprintf(p.screen.err, "%s begins like a file that was published as stream %s and goes on otherwise: it is published as a stream of its own, %s\n", p.src.name, p.src.stream, p.src.whole)
	into(p.src.whole)
	return p.run(ctx)
}

// exists reports whether the gateway knows the stream.
func (p *publication) exists(ctx context.Context) (bool, error) {
	cfg := p.cfg
	cfg.Existing = true
	producer, err := feed.DialProducer(ctx, cfg)
	var refused *feed.RefusedError
	if errors.As(err, &refused) && refused.Code == lsg.CodeNoStream {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, producer.Close(ctx)
}

// errOtherData: the stream was made of other records than those that are to be published into it.
var errOtherData = errors.New("the stream holds other records")

// recognise holds how the stream began against the source.
func (p *publication) recognise(ctx context.Context, producer *feed.Producer) error {
	before := producer.Head()
	if p.src.head == (feed.Head{}) || before == p.src.head {
		return nil
	}
	if before.Records > p.src.head.Records {
		return tooFew(before.Records, p.cfg.Stream, p.src.head.Records)
	}
	if before != (feed.Head{}) {
		same, err := p.src.sameHead(ctx, before)
		if err != nil {
			return err
		}
		if !same {
			return usage("%w: the first %s of stream %s are others than these; publish these with a --stream ID of their own", errOtherData, counted(before.Records, "record"), p.cfg.Stream)
		}
	}
	return nil
}

// run publishes, tries again while that makes sense, and prints what came of it. Only a session that was lost is tried again: when the first one
// cannot be had, the address is most often wrong.
func (p *publication) run(ctx context.Context) error {
	start, progress, pause := time.Now(), time.Now(), feed.RedialFirst
	for {
		before := p.acked
		err := p.once(ctx)
		if err == nil {
			p.summary(time.Since(start))
			return nil
		}
		if p.acked > before {
			progress, pause = time.Now(), feed.RedialFirst
		}
		if ctx.Err() != nil || p.session == 0 || feed.IsFinal(err) || time.Since(progress) > redialPatience {
			return err
		}
		fmt.Fprintf(p.screen.err, "%s; trying again in %v\n", lsg.Printable(plain(err)), pause.Round(time.Millisecond))
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): // spread, so that many publishers do not come at once
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, feed.RedialLongest)
	}
}

// once is one session: it sends what the gateway does not have and waits until all of it is acked.
func (p *publication) once(ctx context.Context) (err error) {
	dec, err := p.src.open()
	if err != nil {
		return err
	}
	defer dec.Close()
	producer, err := feed.DialProducer(ctx, p.cfg)
	if refused := (*feed.RefusedError)(nil); errors.As(err, &refused) && refused.Code == lsg.CodeStreamHead {
		return usage("%w: stream %s of the gateway begins with others than these; publish these with a --stream ID of their own", errOtherData, p.cfg.Stream)
	}
	if err != nil {
		return err
	}
	if p.session++; p.session == 1 {
		p.had, p.kept = producer.Accepted(), producer.Retain()
	}
	stop := context.AfterFunc(ctx, func() { producer.Close(ctx) }) // ends whatever blocks
	show := showProgress(p.screen.err, p.src, producer)
	defer func() {
		show.stop()
		stop()
		if closeErr := producer.Close(ctx); err == nil {
			err = closeErr
		}
		p.acked = max(p.acked, producer.Acked())
	}()
	if err := p.recognise(ctx, producer); err != nil {
		return err
	}
	resume, err := skipAccepted(dec.Next, producer.Accepted(), p.cfg.Stream)
	if err != nil {
		return err
	}
	meta := *dec.Metadata()
	meta.Dataset = p.cfg.Dataset
	p.mappings = len(meta.Mappings) + len(resume)
	if err := producer.Start(meta); err != nil {
		return err
	}
	if err := producer.Publish(resume...); err != nil {
		return err
	}
	for rec, err := range dec.Records() {
		if err != nil {
			return err
		}
		if rec.RType() == feed.RTypeSymbolMapping {
			p.mappings++
		}
		if err := producer.Publish(rec); err != nil {
			return err
		}
	}
	return finish(ctx, producer)
}

// partingPatience is how long a gateway may take to close a session that has ended.
const partingPatience = time.Second

// finish ends a session and lets the gateway close it, or under one --producer the next file's session would find this one there and push it out.
func finish(ctx context.Context, producer *feed.Producer) error {
	end := feed.AppendSystem(nil, uint64(time.Now().UnixNano()), feed.SystemUnset, lsg.EndSession)
	if err := producer.Publish(end); err != nil {
		return err
	}
	if err := producer.WaitAcked(ctx, producer.Sent()); err != nil {
		return err
	}
	select {
	case <-producer.Done():
	case <-time.After(partingPatience):
	case <-ctx.Done():
	}
	return nil
}

// rateWorthSaying is from how many records on a rate is more than chance.
const rateWorthSaying = 1000

// summary says in one line what is in the tapes now.
func (p *publication) summary(took time.Duration) {
	sent := p.acked - min(p.had+p.missing, p.acked)
	level, survives := "all written: they survive", "kill -9"
	if p.cfg.Ack == feed.AckSynced {
		level, survives = "all synced: they survive", "a power cut"
	}
	if sent == 1 {
		level = string(p.cfg.Ack) + ": it survives"
	}
	if sent == 0 && p.missing == 0 {
		fmt.Fprintf(p.screen.out, "%s: nothing to do, %s has %s of stream %s already\n", p.src.name, p.cfg.Dataset, counted(p.acked, "record"), p.cfg.Stream)
		return
	}
	resumed := ""
	if p.had > 0 {
		resumed = fmt.Sprintf(" after the %s that were there", grouped(p.had))
	}
	mappings, rate := "", ""
	if p.mappings > 0 {
		mappings = fmt.Sprintf(" with %s", counted(uint64(p.mappings), "symbol mapping"))
	}
	if sent >= rateWorthSaying {
		rate = fmt.Sprintf(" (%s/s)", grouped(uint64(float64(sent)/max(took.Seconds(), 1e-6))))
	}
	fmt.Fprintf(p.screen.out, "%s: %s published to %s%s%s in %.2f s%s, %s %s\n",
		p.src.name, counted(sent, "record"), p.cfg.Dataset, mappings, resumed, took.Seconds(), rate, level, survives)
}
