package journal

import (
	"time"

	"github.com/tapewire/tapewire/feed/lsg"
)

// Every bound of the journal, in one place.
const (
	MaxDatasetName  = lsg.MaxDataset         // bytes; DBN has 16 with the closing zero
	MaxName         = lsg.MaxName            // bytes of a producer's or stream's name; a digest in hex fits
	MaxSymbol       = lsg.MaxSymbol          // bytes; DBN v3 has 71 with the closing zero
	MaxCause        = lsg.MaxCause           // bytes of a gap's cause
	MaxStreams      = 1 << 16                // streams of a dataset that kept records need
	MaxSkip         = 1 << 40                // records that Resume may skip at once
	MaxMappings     = 48 << 20               // entries of a symbol table that kept records may need: a million instruments, and ten years of 11,000 new ones a day
	MaxGaps         = 1 << 16                // entries of a ledger that kept records need
	MaxReportedGaps = MaxGaps - gapsReserved // of those that producers report
	gapsReserved    = 1 << 12                // of those are for what a recovery or retention enters
	gapsSlack       = 1 << 12                // entries of its log that need no room, beside as many as do, before it is written anew
	gapsTellEvery   = 100 * time.Millisecond // between two such sums
	marksSlack      = 1 << 4                 // of a tape, beside twice those that are kept, before those of what expired make room in memory
	gapsToldSingly  = 1 << 6                 // reports at one place that live readers are told one by one, and not in sums

	MaxProducerStreams = MaxStreams / 4 * 3 // of one producer's name
	streamsSlack       = 1 << 12            // entries of the streams' log that need no room, beside as many as do, before it is written anew
	tableWarn          = 80                 // percent of a table from which on the log says that it fills up, and mappings make room
	roomEvery          = 2 * time.Second    // least time between two looks for mappings that nobody needs

	idsLookedAt     = 64      // ids of a symbol, the newest, among which a declaration finds its own, and entries of an id
	maxOwner        = 255     // bytes of the name of a key that a producer's name belongs to
	MaxProducerGaps = 1 << 15 // entries of one producer's name
	MaxTapes        = 32      // slots in the state page; DBN has 20 schemas today

	DefaultMinSegment = 1 << 20     // bytes
	DefaultMaxSegment = 256 << 20   // bytes
	smallestSegment   = 16 << 10    // bytes; below this a header would be most of the file
	diskReserve       = 2 << 20     // bytes of a full disk that smaller segments leave to everything else: a fresh sync log, entries of side logs, indexes
	fastFill          = time.Minute // a segment that fills within this makes the next one twice as large
	slowFill          = time.Hour   // one that takes longer, half as large
	maxSeq            = 1 << 62     // records of a tape
	headerUnit        = 4096
	maxHeader         = 64 << 20 // bytes of a segment's header region: 298,000 symbols; mappings that need more are left out
	headerShare       = 4        // a header region is at most this part of its file, which grows with it up to MaxSegment
	blockBytes        = 64 << 10
	opensAtOnce       = 8        // datasets at the start
	indexCacheBytes   = 32 << 20 // of block indexes of sealed segments kept in memory while they are read; 0.1 % of the records they speak of

	// What the wall clock may jump, from one stamp of a segment to the next, and be believed; beyond, see doubt.
	clockLeap     = 24 * time.Hour
	clockRegained = 4

	DefaultMaxClockSkew = time.Hour        // how far beyond the wall clock a record's times may lie
	MaxOutlierSteps     = 1 << 16          // entries of outliers.log that speak of kept records: two for each time that a tape's clocks go wrong and right again
	maxExpiredSpans     = 64               // stretches of time that the ledger knows a tape to have lost to its age; beyond, the closest become one
	outlierRewrite      = 1 << 10          // entries of outliers.log that no kept record needs from which it is written anew without them
	outlierHold         = time.Minute      // least time between two of a tape, or half the skew that is allowed when that is less
	outlierLogEvery     = 10 * time.Second // log lines about outliers of one tape

	DefaultMaxUnsynced = 4 << 30 // bytes of a dataset that are committed and not on disk; beyond, appends wait for the disk

	DefaultMaxPinned = 4 << 30 // bytes of files that expired and that readers hold; beyond, those whose socket is full let go of them, and are told a gap

	filesPerDataset = 10 // files: the directory, which is locked, six logs, the state page, and what a sync or a sealing opens for a moment
	looksAtOnce     = 8  // files beyond the journal's share
	filesPerTape    = 4  // files: the segment in use and the next one, one that waits to be sealed and its index

	unpinFrom      = 64 << 10  // bytes to sync from which it pays to let go of their mapping first
	prefaultStep   = 2 << 20   // bytes populated by one call
	prefaultAhead  = 8 << 20   // bytes populated above a tail, at most
	prefaultBudget = 256 << 20 // bytes populated above all tails of a journal, beyond one step each

	DefaultSyncInterval  = time.Second
	MaxSyncDelay         = time.Minute // no policy leaves a record unsynced for longer
	minSyncInterval      = time.Millisecond
	maxSyncBytes         = 64 << 30
	syncLogBytes         = 1 << 20  // size of sync.log before a fresh one replaces it
	syncLogSpan          = 64 << 20 // bytes of records one sync.log vouches for: what a recovery may have to read
	maxSyncLog           = 16 << 20 // bytes of a sync.log that is still taken for one
	maxFrame             = 4 << 20  // bytes of one entry in any side file
	maxSideLog           = 4 << 30  // bytes of a side log
	reopenAfter          = 20       // times the retry interval: how often a dataset that could not be opened is tried again, which may read all that a sync log speaks of
	DefaultRetryInterval = 250 * time.Millisecond
)
