package journal

import "io"

// Disk is the seam between the journal and the operating system: everything that can fail, block, or be lost in a power cut goes through it,
// so that a test can break it on purpose. OSDisk is the real one, MemDisk a heap-backed one.
//
// Paths are as the journal was opened with. A missing file is reported by an error that matches fs.ErrNotExist, a full disk by one that matches syscall.ENOSPC.
type Disk interface {
	// Open opens an existing file, for writing too unless readOnly.
	Open(path string, readOnly bool) (File, error)
	// Create makes an empty file, replacing one that is there.
	Create(path string) (File, error)
	// Mkdir makes one directory; one that is there already is fine.
	Mkdir(path string) error
	// Rename replaces newPath in one step. It is on disk only after SyncDir.
	Rename(oldPath, newPath string) error
	// Link gives a file a second name, where there is none yet. It is on disk only after SyncDir.
	Link(oldPath, newPath string) error
	Remove(path string) error
	// List names what a directory holds, sorted; directories end in a slash.
	List(path string) ([]string, error)
	SyncDir(path string) error
	// Lock takes the directory of the lock file at path, and the file, for this process and writes its pid into it, or returns an error that matches
	// ErrLocked and names the holder.
	Lock(path string) (Lock, error)
	// Locked says whether a process, this one too, has taken the lock file at path.
	Locked(path string) (bool, error)
	// Names says whether path is a name of the open file f: not that it is gone, nor that another file took its place.
	Names(path string, f File) (bool, error)
	// Filesystem names the type of filesystem that holds path: "ext4", "xfs", "tmpfs", or something else.
	Filesystem(path string) (string, error)
	// Usage is how many bytes of the filesystem that holds path are in use, of those that are in use or may be used.
	Usage(path string) (used, size int64, err error)
}

// Lock is a directory that no other process may open as a journal.
type Lock interface {
	io.Closer
	// Held is nil as long as the lock keeps others out. A lock file that somebody removed is made again.
	Held() error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate makes the file at least size bytes long with all of it backed by space, so that a store into a mapping cannot run out of it.
	Allocate(size int64) error
	Truncate(size int64) error
	Size() (int64, error)
	// Sync returns when data, and what is needed to read it back, are on disk.
	Sync() error
	// Map maps the first size bytes, shared, for reading and writing.
	Map(size int64) (Memory, error)
	// Links is how many names the file has.
	Links() (int, error)
	// Identity tells this file on this boot of this machine from any other.
	Identity() (Identity, error)
	// Stamp is what the filesystem notes of the file by itself.
	Stamp() (Stamp, error)
	// NextData is where the first byte at or after off may lie that is not zero; the file's size when all that follows is zero. It may be off itself where
	// nobody knows.
	NextData(off int64) (int64, error)
	// Linked says whether the file still has a name: what is stored to one without is lost when it is closed.
	Linked() (bool, error)
	// Fd is the descriptor for sendfile and splice; -1 when there is none.
	Fd() int
}

// Memory is a mapped file.
type Memory interface {
	Bytes() []byte
	// Populate faults [from, to) in for writing, so that no later store there takes a first-touch fault. Offsets are multiples of the page size.
	Populate(from, to int64) error
	// Unpin lets go of the mapping of [from, to) as long as nobody looks at it: the bytes stay, and the next look finds them again.
	Unpin(from, to int64) error
	Unmap() error
}

// Identity answers one question: is this the very file that we stored to last, on the machine that did it? (Whether anybody else stored to it since, see witness.) Any difference means that it may be a copy, and
// that the one it was copied from goes on somewhere else.
type Identity struct {
	BootID [16]byte // changes when the machine starts
	Mount  uint64   // changes when the filesystem is mounted; 0: the kernel has no number that it never uses again
	Device uint64
	Inode  uint64 // changes when the file was copied or restored
}

// same says whether both are surely one file on one boot.
func (id Identity) same(other Identity) bool { return id == other && id.Mount != 0 }
