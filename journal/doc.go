// Package journal keeps what was published: datasets of tapes on disk, in the very bytes that subscribers receive.
//
// What it promises:
//   - Readers get committed records only, and those never change.
//   - A commit of several runs is one step that no crash splits.
//   - After kill -9 nothing is lost that Append reported.
//   - After a power cut nothing below Synced is lost. Every stream is a prefix of what was accepted, once and in order, and its count belongs to it. A new
//     epoch names the records that a power cut took, and quarantine keeps those of them that are found.
//   - A full disk is a state that passes. A failed sync ends writing for good.
//
// What it does not promise: that records are in order of time, that a tape has no gaps upstream (the ledger names those that are known), or anything about
// disks that lie about having synced.
//
// It knows no network and no sessions, and it runs on little-endian Linux only.
//
// README.md has the files byte by byte, what happens at an opening step by step, and what each ack promises.
package journal
