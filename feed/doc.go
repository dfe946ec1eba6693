// Package feed says what a tick is: DBN records, their metadata, schemas, symbology and enumerations, and the codec that
// reads and writes them. It also holds the clients of a gateway, for adapters (Producer) and bots (Subscriber).
//
// # What it promises
//
//   - Records are DBN version 3 in memory, on disk and on the wire. Versions 1 and 2 are read and upgraded ([Upgrade],
//     [Decoder]) to the same bytes that the format's reference implementation makes of them; a test compares them.
//   - A [Record] is bytes, and a message is a view of these bytes ([View]): reading a field copies nothing and allocates
//     nothing. The accessors of Record, [SchemaOf], [View] and [ScanRun] never allocate.
//   - Nothing is allocated by a count or a length that was read and not yet checked against the bytes that are there.
//     Input that is parsed gets an error that wraps one of the sentinels in errors.go, and never causes a panic.
//   - What is decoded from version 3 and encoded again is equal byte for byte, metadata included.
//
// # What it does not promise
//
//   - It does not judge values: a negative size of a bid or an unknown action passes through as it came.
//   - It does not read the legacy DBZ format (version 0), nor CSV, nor JSON.
//   - It runs on little-endian machines only, because views overlay the bytes of the format.
//   - Types are not safe for concurrent use unless they say so; a Record may alias a buffer that its owner reuses.
//
// The format is described by its publisher at https://databento.com/docs/standards-and-conventions/databento-binary-encoding;
// names of schemas, record types and symbology types are the ones used there. All integers are little-endian, times are
// nanoseconds since the Unix epoch in UTC, and prices are fixed point with nine decimals.
package feed
