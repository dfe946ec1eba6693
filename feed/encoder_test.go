package feed

import (
	"bytes"
	"errors"
	"testing"
)

// One bad record makes the rest of a file unreadable, so none may get in.
func TestEncoderLetsNoBadRecordIn(t *testing.T) {
	for _, tsOut := range []bool{false, true} {
		var b bytes.Buffer
		m := sessionMetadata()
		m.TsOut = tsOut
		e, err := NewEncoder(&b, m)
		if err != nil {
			t.Fatal(err)
		}
		trade := testTrade(1)
		good := Bytes(&trade)
		other := AppendWithTsOut(nil, good, 9)
		if tsOut {
			good, other = other, good
		}
		unknown := bytes.Clone(good)
		unknown[1] = 0x33
		for _, c := range []struct {
			r    Record
			want error
		}{{nil, ErrShort}, {good[:15], ErrShort}, {good[:len(good)-1], ErrLength}, {append(bytes.Clone(good), 0), ErrLength}, {other, ErrLength}, {unknown, ErrRType}} {
			if err := e.Write(c.r); !errors.Is(err, c.want) {
				t.Errorf("%d bytes: %v, want %v", len(c.r), err, c.want)
			}
		}
		if err := e.Write(good); err != nil || b.Len() != 128+len(good) {
			t.Errorf("%v, %d bytes written", err, b.Len())
		}
	}
	old := sessionMetadata()
	old.Version = 2
	if _, err := NewEncoder(&bytes.Buffer{}, old); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}
