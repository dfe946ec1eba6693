package journal

import "errors"

// The errors a caller tells apart with errors.Is. What is returned wraps one of them and names the cause and, where there is one, the remedy.
var (
	// ErrLocked: another process has the directory open. A journal has one writer; stop the other one or give this one its own directory.
	ErrLocked = errors.New("journal is locked by another process")
	// ErrFilesystem: the directory is on a filesystem we do not vouch for. Options.AnyFilesystem opens it nevertheless.
	ErrFilesystem = errors.New("filesystem not supported")
	// ErrName: a dataset, producer, stream or symbol name is empty, too long, or holds a character that is not allowed.
	ErrName = errors.New("bad name")
	// ErrCorrupt: a file is not what we wrote and cannot be recovered without a person. Nothing was changed.
	ErrCorrupt = errors.New("journal is damaged")
	// ErrDamaged: records are not what was written. They are not served, everything else is; Tape.NextHole says where they end.
	ErrDamaged = errors.New("records are damaged")
	// ErrVersion: a file is of a format that this program does not know, in most cases a later one. Nothing was changed.
	ErrVersion = errors.New("file format version not known")
	// ErrRecord: a run holds something other than whole records of its schema. Nothing of the call was committed.
	ErrRecord = errors.New("not a whole record of its schema")
	// ErrFenced: a newer writer of the same producer name took over. This one is finished.
	ErrFenced = errors.New("fenced by a newer session of the same producer")
	// ErrOwned: the producer's name belongs to another key.
	ErrOwned = errors.New("the producer's name belongs to another key")
	// ErrNoStream: WriterOptions.Existing asked for a stream that nobody made.
	ErrNoStream = errors.New("no such stream")
	// ErrStreamHead: the stream was begun with other data than the writer wants to go on with.
	ErrStreamHead = errors.New("the stream was begun with other data")
	// ErrNoInstrument: nobody ever named the instrument id that is to be corrected, and no records without a name have it.
	ErrNoInstrument = errors.New("no instrument of this id")
	// ErrNotReady: the space for the next record is not prepared yet. Writer.Wait returns when it is.
	ErrNotReady = errors.New("next segment is not ready yet")
	// ErrDiskFull: the disk has no room. A state, not a failure: Writer.Wait returns when there is room again, without a restart, and Dataset.Err tells of it.
	ErrDiskFull = errors.New("disk full")
	// ErrSyncFailed: a sync failed, so what the disk holds is unknown. The dataset takes no more records until a restart; readers go on.
	ErrSyncFailed = errors.New("sync to disk failed, writing has stopped")
	// ErrFault: a store into a mapped file failed (a broken disk, a file cut by somebody else). The dataset takes no more records until a restart.
	ErrFault = errors.New("mapped file could not be written, writing has stopped")
	// ErrClosed: the journal or the writer was closed.
	ErrClosed = errors.New("closed")
	// ErrIDConflict: the instrument id belongs to another symbol of another producer that is connected.
	ErrIDConflict = errors.New("instrument id belongs to another symbol")
	// ErrAgedOut: the position is below the first record the tape still holds.
	ErrAgedOut = errors.New("position is older than the first record kept")
	// ErrBeyondTail: the position is above the tail; no such record exists yet.
	ErrBeyondTail = errors.New("position is beyond the tail")
	// ErrTableFull: a table of the dataset has no room, as records that are kept need all that is in it. It has room again when records expire.
	ErrTableFull = errors.New("table is full")
	// ErrLimit: a named bound (see limits.go) would be exceeded.
	ErrLimit = errors.New("limit reached")
	// ErrFiles: the journal has as many files open as it may. What is open goes on; what needs one more is refused, and may be tried again.
	ErrFiles = errors.New("too many files are open")
)
