package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"
	"unicode"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// source is something to publish: a file, which can be read again, or standard input, which cannot.
type source struct {
	name    string // as messages call it
	dataset string // as its metadata says, "" for a fragment
	stream  string
	whole   string    // of a file without a stream of its own: the stream's ID by all its records, "" when it is no other
	records uint64    // data records; 0: not known
	head    feed.Head // of those; zero: not known
	open    func() (*feed.Decoder, error)
	pipe    *pipe // standard input: instead of open
}

// producerOf is the name to publish a stream under: one of its own, or who publishes two files at a time would fence the first with the second.
func producerOf(stream string) string {
	name := "publish-" + stream
	return name[:min(len(name), journal.MaxName)]
}

// digestChars is how much of a digest names a stream: 128 bits, in hex.
const digestChars = 32

// sources reads through what is to be published.
func (p *publishCmd) sources(ctx context.Context, c console) ([]*source, error) {
	if p.Stream != "" && len(p.Files) > 1 {
		return nil, usage("--stream %s names one stream, but %d files are given; publish them one by one", p.Stream, len(p.Files))
	}
	switch {
	case p.FromAccepted && !p.Resume:
		return nil, usage("--from-accepted says where the input of --resume begins; add --resume")
	case p.Resume && !slices.Equal(p.Files, []string{"-"}):
		return nil, usage("--resume is for standard input (-); a file goes on by itself where the gateway has it")
	case p.Resume && p.Stream == "":
		return nil, usage("--resume goes on with a stream; name it with --stream ID, as the publisher said that began it")
	}
	if p.FragmentVersion > feed.Version {
		return nil, usage("--fragment-version %d is no version of DBN; use 1, 2 or 3", p.FragmentVersion)
	}
	if p.FragmentVersion > 0 && p.Dataset == "" {
		return nil, usage("a fragment does not say its dataset; add --dataset")
	}
	var options []feed.DecoderOption
	if p.FragmentVersion > 0 {
		options = append(options, feed.WithFragment(p.FragmentVersion))
	}
	var sources []*source
	for _, path := range p.Files {
		read := p.fileSource
		if path == "-" {
			read = func(context.Context, string, []feed.DecoderOption) (*source, error) { return p.inputSource(c, options) }
		}
		src, err := read(ctx, path, options)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
	return sources, nil
}

// headSize is enough of an input to tell what it is, in bytes: a record's header.
const headSize = feed.HeaderSize

// fileHead gives the first bytes of a file, fewer when it has not as many; opening it will tell what is wrong.
func fileHead(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(dbnMagic) // no verdict
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, _ := io.ReadFull(f, head)
	return head[:n]
}

const dbnMagic = "DBN"

// recognise refuses what is no DBN in words that help: only what looks like a record may be a fragment.
func (p *publishCmd) recognise(name string, head []byte) error {
	text := len(head) > 0 && !bytes.ContainsFunc(head, func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && !unicode.IsPrint(r) })
	switch {
	case len(head) == 0:
		return fmt.Errorf("%s is empty", name)
	case p.FragmentVersion > 0 || bytes.HasPrefix(head, []byte(dbnMagic)):
		return nil
	case text:
		return fmt.Errorf("%s is text; publish takes DBN, plain or compressed with zstd", name)
	case len(head) == headSize && feed.RType(head[1]).Known() && feed.Record(head).Size() >= feed.HeaderSize:
		return fmt.Errorf("%s has no DBN metadata, but begins like a record\nif it is a fragment, add --fragment-version 1, 2 or 3 and --dataset", name)
	}
	return nil // compressed, or the decoder says what it is
}

// fileSource reads a file from end to end: its digest names the stream, and a file that is cut or damaged must not be published in part, because
// the whole one would be another stream later and bring the same records again.
func (p *publishCmd) fileSource(ctx context.Context, path string, options []feed.DecoderOption) (*source, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory; name the files in it", path)
	}
	if err := p.recognise(path, fileHead(path)); err != nil {
		return nil, err
	}
	src := &source{name: path, stream: p.Stream, open: func() (*feed.Decoder, error) { return feed.OpenFile(path, options...) }}
	dec, err := src.open()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	src.dataset = dec.Metadata().Dataset
	// The stream that every file had before files could grow: by all its records.
	digest := sha256.New()
	fmt.Fprintln(digest, dec.Metadata().Schema)
	sum, first := newRecordSum(), []byte(nil)
	for rec, err := range dec.Records() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: nothing of it was published: %w", path, err)
		}
		digest.Write(rec)
		if sum.add(rec); sum.records == 1 && first == nil {
			first = bytes.Clone(rec)
		}
	}
	src.records, src.head = sum.records, sum.head()
	whole := hex.EncodeToString(digest.Sum(nil))[:digestChars]
	switch {
	case src.stream != "":
	case src.records == 0:
		src.stream = whole
	default:
		src.stream, src.whole = firstSum(dec.Metadata().Schema, first), whole
	}
	return src, nil
}

// recordSum digests records as version 3: the same data compressed, or upgraded before, is the same.
type recordSum struct {
	hash    hash.Hash
	records uint64
}

func newRecordSum() *recordSum { return &recordSum{hash: sha256.New()} }

// add takes data records; a file that grows may have others elsewhere.
func (s *recordSum) add(rec feed.Record) {
	if !rec.RType().IsControl() {
		s.hash.Write(rec)
		s.records++
	}
}

// head is that of the records so far.
func (s *recordSum) head() (h feed.Head) {
	if s.records > 0 {
		h.Records = s.records
		s.hash.Sum(h.Sum[:0])
	}
	return h
}

// firstSum is the stream of a file by its first data record: that stays when the file grows. Whether the rest is the same is seen by the head.
func firstSum(schema feed.Schema, first []byte) string {
	sum := sha256.New()
	fmt.Fprintln(sum, "first", schema)
	sum.Write(first)
	return hex.EncodeToString(sum.Sum(nil))[:digestChars]
}

// sameHead compares a file's first records with what was claimed of a stream.
func (s *source) sameHead(ctx context.Context, claimed feed.Head) (bool, error) {
	if claimed.Records == s.head.Records {
		return claimed == s.head, nil
	}
	dec, err := s.open()
	if err != nil {
		return false, err
	}
	defer dec.Close()
	sum := newRecordSum()
	for sum.records < claimed.Records {
		rec, err := dec.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, err
		}
		sum.add(rec)
	}
	return sum.head() == claimed, nil
}

// inputSource is standard input. Its stream is new unless it was named.
func (p *publishCmd) inputSource(c console, options []feed.DecoderOption) (*source, error) {
	in := bufio.NewReader(c.in)
	head, _ := in.Peek(headSize) // an error comes again
	if err := p.recognise("standard input", head); err != nil {
		return nil, err
	}
	dec, err := feed.NewDecoder(in, options...)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	src := &source{name: "standard input", dataset: dec.Metadata().Dataset, stream: p.Stream, pipe: &pipe{dec: dec, resume: p.Resume, rest: p.FromAccepted}}
	if src.stream == "" {
		src.stream = time.Now().UTC().Format("stdin-20060102T150405.000000000")
		fmt.Fprintf(c.err, "standard input is published as the new stream %s; --stream %s --resume goes on with it\n", src.stream, src.stream)
	}
	return src, nil
}
