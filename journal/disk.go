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
	// Lock takes the lock file for this process and writes its pid into it, or returns an error that matches ErrLocked and names the holder.
	Lock(path string) (io.Closer, error)
	// Held says whether another process, or this one, holds the lock file. One that is not there is held by nobody.
	Held(path string) (bool, error)
	// Filesystem names the type of filesystem that holds path: "ext4", "xfs", "tmpfs", or something else.
	Filesystem(path string) (string, error)
	// Usage is how many bytes of the filesystem that holds path are in use, of those that are in use or may be used.
	Usage(path string) (used, size int64, err error)
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

// Identity answers one question: is this the very file that we stored to last, on the machine that did it? Any difference means that it may be a copy, and
// that the one it was copied from goes on somewhere else.
type Identity struct {
	BootID [16]byte // changes when the machine starts
	Mount  uint64   // changes when the filesystem is mounted; 0: the kernel has no number that it never uses again
	Device uint64
	Inode  uint64 // changes when the file was copied or restored
}

// same says whether both are surely one file on one boot.
func (id Identity) same(other Identity) bool { return id == other && id.Mount != 0 }
