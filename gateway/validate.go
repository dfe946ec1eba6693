package gateway

import (
	"errors"
	"fmt"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// reject numbers a refusal: record is the offender's place behind what is
// collected already.
func (in *ingest) reject(record int, r *refusal) error {
	r.record, r.hasRecord = in.p.writer.Accepted()+uint64(in.pending+record), true
	return r
}

// badLength refuses a length byte that no record has.
func (in *ingest) badLength(b []byte) error {
	return in.reject(0, &refusal{
		code: lsg.CodeBadLength, want: fmt.Sprintf("%d to %d bytes", feed.HeaderSize, feed.MaxRecordSize),
		got: fmt.Sprint(int(b[0]) * 4), text: "no record has this length; the stream is out of step or not DBN",
	})
}

// badRecord gives a record that feed refused the code it has on the wire.
func (in *ingest) badRecord(err error) error {
	r := &refusal{code: lsg.CodeBadLength, text: err.Error()}
	var detail *feed.RecordError
	if errors.As(err, &detail) {
		r.want, r.got, r.text = detail.Want, detail.Got, detail.Err.Error()
	}
	if errors.Is(err, feed.ErrRType) {
		r.code = lsg.CodeBadRType
	}
	return in.reject(0, r)
}
