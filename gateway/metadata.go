package gateway

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// metadata collects and reads the DBN header that records follow.
func (in *ingest) metadata(b []byte) (int, error) {
	const prelude = 8
	want := prelude
	if in.collected >= prelude {
		size, err := feed.MetadataSize(in.header)
		if err != nil {
			return 0, &refusal{code: lsg.CodeBadMetadata, text: err.Error()}
		}
		if most := in.p.srv.limits.Metadata; size > most {
			return 0, &refusal{code: lsg.CodeLimit, want: fmt.Sprintf("at most %d bytes", most), got: fmt.Sprint(size), text: "the DBN metadata is longer than the bound Metadata; leave out what the records do not need, and send further mappings as symbol mapping records"}
		}
		if err := in.p.claims.metadata.set(int64(size)); err != nil {
			return 0, err
		}
		want = size
	}
	n := min(want-in.collected, len(b))
	in.collect(b[:n])
	if in.collected < want || want == prelude {
		return n, nil
	}
	header, pieces := in.header, in.pieces
	in.header, in.pieces, in.collected = nil, nil, 0
	in.textEnded()
	if want > inlineMetadata {
		return n, in.aside(func(ctx context.Context) error {
			defer in.p.claims.metadata.drop()
			header := slices.Concat(append([][]byte{header}, pieces...)...)
			mappings, err := in.begin(header)
			if err != nil {
				return err
			}
			return in.enterAll(ctx, mappings)
		})
	}
	mappings, err := in.begin(header)
	if err == nil {
		err = in.enter(mappings)
	}
	if waits(err) {
		err = in.aside(func(ctx context.Context) error { return in.enterAll(ctx, mappings) })
	}
	return n, err
}

// metadataPiece is the size in bytes of the pieces that long metadata is collected
// in: a buffer that grows would be copied again and again, on the event loop.
const metadataPiece = 64 << 10

func (in *ingest) collect(b []byte) {
	in.collected += len(b)
	if in.collected <= inlineMetadata {
		in.header = append(in.header, b...)
		return
	}
	for len(b) > 0 {
		last := len(in.pieces) - 1
		if last < 0 || len(in.pieces[last]) == metadataPiece {
			in.pieces = append(in.pieces, make([]byte, 0, metadataPiece))
			last++
		}
		piece := &in.pieces[last]
		n := min(len(b), metadataPiece-len(*piece))
		*piece = append(*piece, b[:n]...)
		b = b[n:]
	}
}

// begin takes over what the metadata says about the records, and returns the
// mappings it has.
func (in *ingest) begin(header []byte) (mappings, error) {
	m, err := feed.ParseMetadata(header)
	if err != nil {
		return mappings{}, &refusal{code: lsg.CodeBadMetadata, text: err.Error()}
	}
	if m.Dataset != in.p.req.Dataset {
		return mappings{}, &refusal{code: lsg.CodeBadMetadata, want: in.p.req.Dataset, got: m.Dataset, text: "the metadata is of another dataset than the authentication line"}
	}
	in.version, in.tsOut, in.declared = m.Version, m.TsOut, m.Schema
	if in.older() {
		in.upgrade = make([]byte, 0, upgradeBuffer)
	}
	in.phase = phaseRecords
	in.asked.Store(false)
	in.p.wake() // for the acks that waited
	all, passed := mappingsOf(&m)
	if passed > 0 {
		in.p.srv.log.Warn("symbol mappings of the metadata are passed over: no day lies between their dates",
			zap.Uint64("session", in.p.session), zap.String("producer", in.p.req.Producer), zap.Int("mappings", passed))
	}
	return all, nil
}

// inlineMetadata is the size in bytes from which metadata is read, and its
// mappings entered, off the event loop.
const inlineMetadata = 32 << 10
