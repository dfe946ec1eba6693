// Package gateway is the running server: producers publish DBN records into the
// journal, subscribers receive them over the Databento Live protocol.
//
// A connection begins on a gnet event loop, which speaks the text phase. A
// producer stays there: its batches are validated in the loop's read buffer and
// copied once, into the mapped segment. A subscriber is detached after
// authentication and owned by an egress loop from then on, the only writer of
// its socket. Nothing is queued per subscriber: its backlog is the tape, its
// state is a cursor, and a run of records goes out straight from the page
// cache, by write from the mapping when it is small and by sendfile when it is
// large.
//
// What the package promises:
//   - a subscriber receives every committed record of its subscription once, in
//     the tape's order, from its start on; what it skips is told, with a count;
//   - no subscriber, however slow, delays a producer or another subscriber, and
//     none costs memory beyond [Limits];
//   - every refusal names its cause and its remedy.
//
// What it does not promise: an order between different schemas finer than
// their timestamps, and zero copy to who connects by TLS.
package gateway
