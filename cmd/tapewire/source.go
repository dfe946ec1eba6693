package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"
	"unicode"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/journal"
)

// source is something to publish: a file, which can be read again, or standard input, which cannot.
type source struct {
	name       string // as messages call it
	dataset    string // as its metadata says, "" for a fragment
	stream     string
	records    uint64 // data records; 0: not known
	rereadable bool
	open       func() (*feed.Decoder, error)
}

// producer is the name to publish it under: one of its own, or who publishes two files at a time would fence the first with the second.
func (s *source) producer() string {
	name := "publish-" + s.stream
	return name[:min(len(name), journal.MaxName)]
}

// digestChars is how much of a digest names a stream: 128 bits, in hex.
const digestChars = 32

// sources reads through what is to be published.
func (p *publishCmd) sources(ctx context.Context, c console) ([]*source, error) {
	if p.Stream != "" && len(p.Files) > 1 {
		return nil, usage("--stream %s names one stream, but %d files are given; publish them one by one", p.Stream, len(p.Files))
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
	src := &source{name: path, stream: p.Stream, rereadable: true, open: func() (*feed.Decoder, error) { return feed.OpenFile(path, options...) }}
	dec, err := src.open()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	src.dataset = dec.Metadata().Dataset
	// The digest is that of the records as version 3: the same data compressed, or upgraded before, is the same stream.
	digest := sha256.New()
	fmt.Fprintln(digest, dec.Metadata().Schema)
	for rec, err := range dec.Records() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: nothing of it was published: %w", path, err)
		}
		digest.Write(rec)
		if !rec.RType().IsControl() {
			src.records++
		}
	}
	if src.stream == "" {
		src.stream = hex.EncodeToString(digest.Sum(nil))[:digestChars]
	}
	return src, nil
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
	src := &source{name: "standard input", dataset: dec.Metadata().Dataset, stream: p.Stream, open: func() (*feed.Decoder, error) { return dec, nil }}
	if src.stream == "" {
		src.stream = time.Now().UTC().Format("stdin-20060102T150405.000000000")
		fmt.Fprintf(c.err, "standard input is published as the new stream %s; --stream %s goes on with it\n", src.stream, src.stream)
	}
	return src, nil
}
