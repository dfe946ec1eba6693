package feed

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Sizes of the records that versions 1 and 2 lay out in another way, without ts_out.
const (
	sizeDefinitionV1 = 360
	sizeDefinitionV2 = 400
	sizeStatisticsV1 = 64 // also v2
	sizeErrorV1      = 80
	sizeSystemV1     = 80
	sizeMappingV1    = 80

	textSizeV1 = 64 // of error and system records

	undefStatQuantityV1 = math.MaxInt32
)

// Upgrade appends record r of a DBN version as a v3 record without ts_out; tsOut says that r has one. Fields that the older
// version lacks get the format's defaults: undefined, 0, or 'N' for a leg's side; system and error codes are read from the
// texts that gateways of the time sent.
//
// ErrVersion: version is none of 1 to 3. ErrShort: r ends before its length. A *RecordError with ErrRType or ErrLength: its
// type is unknown or its length not the one of its type in this version. dst is unchanged then. Nothing is allocated when
// dst has room.
func Upgrade(dst []byte, r Record, version uint8, tsOut bool) ([]byte, error) {
	if len(r) < HeaderSize || len(r) < r.Size() {
		return dst, fmt.Errorf("%w: a record needs %d or what its length says, got %d", ErrShort, HeaderSize, len(r))
	}
	size, suffix := r.Size(), 0
	if tsOut {
		suffix = TsOutSize
	}
	want, err := recordSize(r.RType(), version)
	if err != nil {
		return dst, err
	}
	if size != want+suffix {
		rt := r.RType()
		return dst, &RecordError{Err: ErrLength, Want: bytesOf(want+suffix, rt) + fmt.Sprintf(" in version %d", version), Got: bytesOf(size, rt)}
	}
	r = r[:want]
	if want == r.RType().RecordSize() {
		at := len(dst)
		dst = append(dst, r...)
		dst[at] -= byte(suffix / lengthUnit)
		return dst, nil
	}
	return upgradeLayout(dst, r, version), nil
}

// recordSize is the size of a record type in a version, without ts_out.
func recordSize(rt RType, version uint8) (int, error) {
	size := rt.RecordSize()
	switch {
	case version < minVersion || version > Version:
		return 0, fmt.Errorf("%w %d: versions %d to %d are read", ErrVersion, version, minVersion, Version)
	case size == 0:
		return 0, &RecordError{Err: ErrRType, Want: "a known record type", Got: rt.String()}
	case version == Version:
		return size, nil
	case rt == RTypeStatistics:
		return sizeStatisticsV1, nil
	case version == 2 && rt == RTypeInstrumentDef:
		return sizeDefinitionV2, nil
	case version == 2:
		return size, nil
	}
	switch rt {
	case RTypeInstrumentDef:
		return sizeDefinitionV1, nil
	case RTypeError:
		return sizeErrorV1, nil
	case RTypeSystem:
		return sizeSystemV1, nil
	case RTypeSymbolMapping:
		return sizeMappingV1, nil
	}
	return size, nil
}

// upgradeLayout appends a record whose size was checked to be that of its version, and not that of v3.
func upgradeLayout(dst []byte, r Record, version uint8) []byte {
	size := r.RType().RecordSize()
	at := len(dst)
	dst = appendZeros(slices.Grow(dst, size), size)
	to := dst[at:]
	copy(to, r[:HeaderSize])
	to[0] = byte(size / lengthUnit)
	switch r.RType() {
	case RTypeStatistics:
		upgradeStatistics(to, r)
	case RTypeInstrumentDef:
		upgradeDefinition(to, r, version)
	case RTypeSymbolMapping:
		upgradeMapping(to, r)
	case RTypeError:
		copy(to[16:], r[16:16+textSizeV1])
		to[318], to[319] = byte(errorCodeOf(r[16:16+textSizeV1])), math.MaxUint8
	case RTypeSystem:
		copy(to[16:], r[16:16+textSizeV1])
		to[319] = byte(systemCodeOf(r[16 : 16+textSizeV1]))
	}
	return dst
}

// upgradeStatistics widens the quantity of v1 and v2 from 32 to 64 bits.
func upgradeStatistics(to, from []byte) {
	copy(to[16:40], from[16:40]) // ts_recv, ts_ref, price
	quantity := int64(int32(binary.LittleEndian.Uint32(from[40:])))
	if quantity == undefStatQuantityV1 {
		quantity = UndefStatQuantity
	}
	binary.LittleEndian.PutUint64(to[40:], uint64(quantity))
	copy(to[48:62], from[44:58]) // sequence, ts_in_delta, stat_type, channel_id, update_action, stat_flags
}

// upgradeMapping widens the symbols of v1, which did not say their types.
func upgradeMapping(to, from []byte) {
	to[16], to[88] = byte(STypeNone), byte(STypeNone)
	copy(to[17:], from[16:16+symbolFieldSizeV1])
	copy(to[89:], from[38:38+symbolFieldSizeV1])
	copy(to[160:], from[64:80]) // start_ts, end_ts
}

// errorCodeOf reads an error's code from the text of a v1 record, as the format's reference implementation does.
func errorCodeOf(field []byte) ErrorCode {
	text, ok := textV1(field)
	switch {
	case !ok:
		return ErrorUnset
	case text == "User or API key deactivated":
		return ErrorKeyDeactivated
	case text == "User has reached their open connection limit":
		return ErrorConnectionLimit
	case strings.HasPrefix(text, "Failed to resolve symbol"):
		return ErrorSymbolResolutionFailed
	case text == "Internal error":
		return ErrorInternal
	case strings.HasPrefix(text, "Slow client detected for "):
		return ErrorSkippedRecords
	}
	return ErrorUnset
}

// systemCodeOf is errorCodeOf for system records.
func systemCodeOf(field []byte) SystemCode {
	text, ok := textV1(field)
	switch {
	case !ok:
		return SystemUnset
	case text == "Heartbeat":
		return SystemHeartbeat
	case strings.HasPrefix(text, "End of interval for "):
		return SystemEndOfInterval
	case strings.HasPrefix(text, "Subscription request ") && strings.HasSuffix(text, " succeeded"):
		return SystemSubscriptionAck
	case strings.HasPrefix(text, "Warning: slow reading"):
		return SystemSlowReader
	case strings.HasPrefix(text, "Finished ") && strings.HasSuffix(text, " replay"):
		return SystemReplayCompleted
	}
	return SystemUnset
}

// textV1 is the text of a v1 record without a copy; it is false where the reference implementation reads no text: when
// nothing ends it, or it is not UTF-8.
func textV1(field []byte) (string, bool) {
	n := textLen(field)
	text := viewString(field[:n])
	return text, n < len(field) && utf8.ValidString(text)
}
