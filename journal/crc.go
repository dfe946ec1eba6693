package journal

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// updateCRC goes on with the sum of what came before b.
func updateCRC(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// A sum over some bytes is a polynomial over GF(2), modulo the one of CRC32C. To
// append n bytes is to multiply it by x^8n and to add their sum, so the sum of a
// long range follows from those of its blocks, without reading anything again.

// joinCRC is the sum of what a and b are the sums of, one after the other; power
// is xpow8 of how many bytes b's are.
func joinCRC(a, b, power uint32) uint32 { return mulmod(power, a) ^ b }

// The highest bit stands for x^0, as the reflected form of the polynomial has it.
const one = 1 << 31

// mulmod multiplies two polynomials.
func mulmod(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		if a&one != 0 {
			product ^= b
		}
		b = b>>1 ^ crc32.Castagnoli&-(b&1) // times x
	}
	return product
}

// xpow8 is x^8n, by squaring.
func xpow8(n int) uint32 {
	power, square := uint32(one), uint32(one>>8) // x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			power = mulmod(power, square)
		}
		square = mulmod(square, square)
	}
	return power
}
