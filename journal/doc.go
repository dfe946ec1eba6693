// Package journal keeps what was published: datasets of tapes on disk, in the very bytes that subscribers receive.
//
// It promises: only committed records are ever read, and they never change; a commit of several runs is one step that no crash splits; after kill -9
// nothing that Append reported is lost; after a power cut nothing below Synced is lost, and every stream is a prefix of what was accepted, once and in
// order, together with its count; records that a power cut took are named by a new epoch and kept in quarantine as far as they are found; a full disk
// is a state that passes; a failed sync ends writing for good.
//
// It does not promise that records are in order of time, that a tape is free of gaps upstream (the ledger names the known ones), or anything about disks
// that lie about having synced. It knows no network and no sessions. It runs on little-endian Linux only.
//
// README.md has the files byte by byte, recovery step by step, and what each ack means.
package journal
