package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OSDisk is the operating system's disk.
type OSDisk struct{}

const (
	dirMode  = 0o750
	fileMode = 0o640
	pageSize = 4096 // the unit of Populate; a machine with larger pages rounds up by itself

	bootIDPath = "/proc/sys/kernel/random/boot_id"
)

func (OSDisk) Open(path string, readOnly bool) (File, error) {
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := openRegular(path, flag)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// errNoFile is what stands in a file's place: a directory, a pipe, a device.
var errNoFile = fmt.Errorf("%w: no file where one should be", ErrCorrupt)

// isNoFile says that a path could not be opened for what stands there.
func isNoFile(err error) bool {
	return errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ELOOP)
}

// openRegular opens what is a file. A pipe in its place would hold up whoever opens it, and all datasets with him; a device gives what is none of ours.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
	if isNoFile(err) {
		return nil, fmt.Errorf("%w: %w", errNoFile, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s has mode %v", errNoFile, path, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (OSDisk) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

func (OSDisk) Mkdir(path string) error {
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (OSDisk) Rename(oldPath, newPath string) error { return os.Rename(oldPath, newPath) }
func (OSDisk) Link(oldPath, newPath string) error   { return os.Link(oldPath, newPath) }
func (OSDisk) Remove(path string) error             { return os.Remove(path) }

func (OSDisk) List(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (OSDisk) SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Names compares by device and inode, without opening anything.
func (OSDisk) Names(path string, f File) (bool, error) {
	var there, ours unix.Stat_t
	if err := unix.Fstat(f.Fd(), &ours); err != nil {
		return false, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	switch err := unix.Stat(path, &there); err {
	case nil:
		return there.Dev == ours.Dev && there.Ino == ours.Ino, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
}

func (OSDisk) Filesystem(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", fmt.Errorf("statfs %s: %w", path, err)
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", nil
	}
	return fmt.Sprintf("type %#x", uint32(st.Type)), nil
}

func (OSDisk) Usage(path string) (used, size int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", path, err)
	}
	used = int64(st.Blocks-st.Bfree) * st.Bsize
	return used, used + int64(st.Bavail)*st.Bsize, nil
}

type osFile struct{ *os.File }

func (f *osFile) Fd() int { return int(f.File.Fd()) }

func (f *osFile) Linked() (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(f.Fd(), &st)
	return st.Nlink > 0, f.wrap("fstat", err)
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *osFile) Sync() error {
	for {
		if err := unix.Fdatasync(f.Fd()); err != unix.EINTR {
			return f.wrap("fdatasync", err)
		}
	}
}

func (f *osFile) Allocate(size int64) error {
	for {
		if err := unix.Fallocate(f.Fd(), 0, 0, size); err != unix.EINTR {
			return f.wrap("fallocate", err)
		}
	}
}

func (f *osFile) Map(size int64) (Memory, error) {
	b, err := unix.Mmap(f.Fd(), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, f.wrap("mmap", err)
	}
	return &osMemory{b}, nil
}

// Links is from the inode: a file that was removed and is still open has none.
func (f *osFile) Links() (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.Fd(), &st); err != nil {
		return 0, f.wrap("fstat", err)
	}
	return int(st.Nlink), nil
}

// Identity asks statx for the mount's unique id (Linux 6.8), which is never used again. An older kernel has only one that the next mount may get: a volume
// that was rolled back and mounted again would be taken for the one that it was, so there no two openings are the same.
func (f *osFile) Identity() (Identity, error) {
	var id Identity
	var st unix.Statx_t
	err := unix.Statx(f.Fd(), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID_UNIQUE, &st)
	if err != nil {
		return id, f.wrap("statx", err)
	}
	text, err := os.ReadFile(bootIDPath)
	if err != nil {
		return id, fmt.Errorf("boot id: %w", err)
	}
	hex := strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")
	if len(hex) != 2*len(id.BootID) {
		return id, fmt.Errorf("boot id: %s holds %q", bootIDPath, text)
	}
	for i := range id.BootID {
		v, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			return id, fmt.Errorf("boot id: %w", err)
		}
		id.BootID[i] = byte(v)
	}
	id.Device, id.Inode = uint64(st.Dev_major)<<32|uint64(st.Dev_minor), st.Ino
	if st.Mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		id.Mount = st.Mnt_id
	}
	return id, nil
}

// Stamp asks statx: the times of os.FileInfo are without ctime.
func (f *osFile) Stamp() (Stamp, error) {
	var st unix.Statx_t
	if err := unix.Statx(f.Fd(), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MTIME|unix.STATX_CTIME, &st); err != nil {
		return Stamp{}, f.wrap("statx", err)
	}
	ns := func(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
	return Stamp{st.Ino, ns(st.Mtime), ns(st.Ctime)}, nil
}

// NextData passes over holes and over space that was allocated and never stored to, with what is in the page cache only taken for data. It relies on that only
// on the filesystems that we vouch for: others have reported holes where there were bytes.
func (f *osFile) NextData(off int64) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(f.Fd(), &st); err != nil {
		return 0, f.wrap("fstatfs", err)
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
	default:
		return off, nil
	}
	at, err := unix.Seek(f.Fd(), off, unix.SEEK_DATA)
	switch err {
	case nil:
		return at, nil
	case unix.ENXIO:
		return f.Size()
	case unix.EINVAL:
		return off, nil
	}
	return 0, f.wrap("lseek", err)
}

func (f *osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.Name(), Err: err}
}

type osMemory struct{ b []byte }

func (m *osMemory) Bytes() []byte { return m.b }
func (m *osMemory) Unmap() error  { return unix.Munmap(m.b) }

// Populate prefers MADV_POPULATE_WRITE (Linux 5.14), which reports what cannot be backed as an error where a store would be a SIGBUS.
func (m *osMemory) Populate(from, to int64) error {
	for {
		err := unix.Madvise(m.b[from:to], unix.MADV_POPULATE_WRITE)
		switch err {
		case nil:
			return nil
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.EINVAL:
			touch(m.b[from:to])
			return nil
		}
		return fmt.Errorf("populate mapping: %w", err)
	}
}

// Unpin drops page table entries, all of them with one interrupt to the other cores. Before a sync that is worth it: to write a mapped page back
// the kernel write-protects it, with an interrupt for every page.
func (m *osMemory) Unpin(from, to int64) error {
	if err := unix.Madvise(m.b[from:to], unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("unpin mapping: %w", err)
	}
	return nil
}

// touch is for kernels without MADV_POPULATE_WRITE: an atomic OR with nothing is a store that no compiler leaves out.
func touch(b []byte) {
	for i := 0; i < len(b); i += pageSize {
		atomic.OrUint32((*uint32)(unsafe.Pointer(&b[i])), 0)
	}
}

// isFull says that err means a lack of space.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// diskError gives a lack of space its name.
func diskError(err error) error {
	if err != nil && isFull(err) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
