package feed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Limits of what a Decoder reads.
const (
	// maxZstdWindow is the largest zstd window that is read, in bytes: what the zstd command writes at its highest level.
	maxZstdWindow = 128 << 20
	// maxDecompressed does not limit memory, which the window does, but how much one frame may say it holds.
	maxDecompressed = 1 << 62

	// metadataStep is how much room is made at a time for metadata that has not arrived yet, in bytes.
	metadataStep = 1 << 20

	sniffSize = 12 // bytes that tell the formats apart: a DBZ file's signature ends here

	zstdMagic          = 0xFD2FB528
	skippableMagic     = 0x184D2A50
	skippableMagicMask = 0xFFFFFFF0
)

// begin recognises the input, puts a decompressor before it if it needs one, and reads the metadata.
func (d *Decoder) begin() error {
	if d.fragment && (d.version < minVersion || d.version > Version) {
		return fmt.Errorf("%w %d: declare a fragment as version %d to %d", ErrVersion, d.version, minVersion, Version)
	}
	head, err := d.peek(sniffSize)
	if err != nil {
		return err
	}
	if isZstd(head) {
		if isDBZ(head) {
			return fmt.Errorf("%w: DBZ came before DBN and is not read; convert it with Databento's own command: dbn FILE.dbz --output FILE.dbn", ErrLegacyDBZ)
		}
		if err := d.decompress(); err != nil {
			return err
		}
		if head, err = d.peek(sniffSize); err != nil {
			return err
		}
	}
	isDBN := bytes.HasPrefix(head, []byte("DBN"))
	switch {
	case d.fragment && isDBN:
		return fmt.Errorf("%w: a fragment was declared, but this begins with metadata; leave out the declaration", ErrNotDBN)
	case d.fragment:
		d.meta = Metadata{Version: d.version, Schema: SchemaNone, End: UndefTimestamp, StypeIn: STypeNone, StypeOut: STypeNone}
	case !isDBN && len(head) == 0:
		return fmt.Errorf("%w: it is empty: %w", ErrNotDBN, io.ErrUnexpectedEOF)
	case !isDBN:
		return fmt.Errorf("%w: it begins with %q, not with \"DBN\" or a zstd frame; records without metadata have to be declared as a fragment of a version", ErrNotDBN, head)
	default:
		if err := d.readMetadata(); err != nil {
			return err
		}
	}
	if d.upgrade {
		d.meta.Upgrade()
	}
	return nil
}

// peek gives the first n bytes of the input, or all of a shorter one, and leaves them in the buffer.
func (d *Decoder) peek(n int) ([]byte, error) {
	got, err := io.ReadAtLeast(d.src, d.buf[d.end:], n-(d.end-d.at))
	d.end += got
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("feed: reading the first bytes: %w", err)
	}
	return d.buf[d.at:min(d.at+n, d.end)], nil
}

// decompress puts a zstd decoder between the input, of which a part is in the buffer, and an empty buffer. Several frames
// are read as one stream, and skippable ones are skipped.
func (d *Decoder) decompress() error {
	input := io.MultiReader(bytes.NewReader(bytes.Clone(d.buf[d.at:d.end])), d.src)
	z, err := zstd.NewReader(input, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(maxDecompressed))
	if err != nil {
		return fmt.Errorf("feed: zstd: %w", err)
	}
	d.close = append(d.close, func() error { z.Close(); return nil })
	d.src, d.at, d.end = z, 0, 0
	return nil
}

// readMetadata reads the metadata, part of which is in the buffer. Room is made as bytes arrive, not as the length claims.
func (d *Decoder) readMetadata() error {
	if err := d.fill(PreludeSize); err != nil {
		return fmt.Errorf("feed: reading metadata: %w", err)
	}
	size, err := MetadataSize(d.buf[d.at:d.end])
	if err != nil {
		return err
	}
	whole := append([]byte(nil), d.buf[d.at:min(d.at+size, d.end)]...)
	d.at += len(whole)
	for len(whole) < size {
		at := len(whole)
		whole = appendZeros(whole, min(size-at, metadataStep))
		if got, err := io.ReadFull(d.src, whole[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("feed: reading metadata: cut after %d of %d bytes: %w", at+got, size, err)
		}
	}
	if d.meta, err = ParseMetadata(whole); err != nil {
		return err
	}
	d.version, d.tsOut = d.meta.Version, d.meta.TsOut
	return nil
}

// isZstd reports whether head begins a zstd frame or a skippable one.
func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	magic := binary.LittleEndian.Uint32(head)
	return magic == zstdMagic || magic&skippableMagicMask == skippableMagic
}

// isDBZ reports whether a zstd stream's head is that of a DBZ file: a skippable frame, in which its metadata lies.
func isDBZ(head []byte) bool {
	return len(head) >= 11 && binary.LittleEndian.Uint32(head) != zstdMagic && string(head[8:11]) == "DBZ"
}
