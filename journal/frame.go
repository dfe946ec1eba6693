package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// A frame is how side files hold entries: u32 length of the payload, u32 CRC32C of that length and the payload, payload.
// A length of zero is no frame, so that preallocated or unwritten space is known for what it is.
const frameHeader = 8

// appendFrame appends payload as a frame.
func appendFrame(dst, payload []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	crc := crc32.Update(crc32c(dst[at:at+4]), castagnoli, payload)
	dst = binary.LittleEndian.AppendUint32(dst, crc)
	return append(dst, payload...)
}

// nextFrame is the payload of the frame that b begins with; false when b begins with anything else, or with a part of one.
func nextFrame(b []byte) (payload []byte, ok bool) {
	if len(b) < frameHeader {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxFrame || int(n) > len(b)-frameHeader {
		return nil, false
	}
	payload = b[frameHeader : frameHeader+n]
	if crc32.Update(crc32c(b[:4]), castagnoli, payload) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, false
	}
	return payload, true
}

// fields reads the fields of a payload in order. After a read beyond the end every value is zero and bad is set: the caller looks once, at the end.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n > len(f.b) {
		f.bad = true
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u8() uint8 {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if v := f.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if v := f.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if v := f.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (f *fields) text() string { return string(f.take(int(f.u8()))) }

// done says that every byte was read and none was missing.
func (f *fields) done() bool { return !f.bad && len(f.b) == 0 }

// appendText appends a text of up to 255 bytes with its length.
func appendText(dst []byte, s string) []byte {
	return append(append(dst, uint8(len(s))), s...)
}
