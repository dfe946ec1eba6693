package journal

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// The sums of a state page say that it is whole, not that it is the newest. An older copy of a dataset that somebody puts back over the files that are there
// (`cp -a`, `rsync --inplace`) has true sums, and boot, mount, device and inode are those of the page that it overwrote: numbers that were given to records
// after the copy would be given to others. What such a copy cannot bring along is what the filesystem notes by itself:
//
//   - the witness, an empty file that is made with each state page and never touched again: whoever copies over it, or puts another in its place, changes its
//     ctime or inode, and the page has both;
//   - the times of the state page: a store into its mapping sets mtime and ctime alike, while a restore that sets an old mtime leaves a newer ctime.
//
// A chmod, or a backup that links files, looks the same, and costs one epoch, in which nothing is cut.

const witnessName = "witness"

// Stamp is what the filesystem notes of a file by itself.
type Stamp struct {
	Inode   uint64
	Written int64 // mtime, wall ns: when bytes were stored last. Programs that copy set it back
	Changed int64 // ctime, wall ns: when anything about it changed last. No program can set it
}

// witness is what a state page holds of the file of that name; zero when there is none, as with earlier releases.
type witness struct {
	inode   uint64
	changed int64 // ctime, wall ns
}

// makeWitness puts a new witness in place of the one that there may be.
func makeWitness(disk Disk, dir string) (witness, error) {
	if err := writeWhole(disk, filepath.Join(dir, witnessName), func(File) error { return nil }); err != nil {
		return witness{}, err
	}
	return readWitness(disk, dir) // after the rename, which changes its ctime
}

func readWitness(disk Disk, dir string) (witness, error) {
	f, err := disk.Open(filepath.Join(dir, witnessName), true)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFile) {
		return witness{}, nil
	}
	if err != nil {
		return witness{}, err
	}
	defer f.Close()
	s, err := f.Stamp()
	return witness{s.Inode, s.Changed}, err
}

// kin is how a state page that was found is related to the one that was stored to last.
type kin struct {
	// machine: boot, mount, device and inode are those in it, so the page cache is the one that was stored to. It may have been stored to by others since.
	machine bool
	// same: it is the very page, and the epoch goes on.
	same bool
	// here: the files are the ones that were stored to, and the machine was started since. What a power cut took may have been acknowledged here.
	here bool
	// untouched: nobody has changed anything about page and witness but the journal. A chown does, too.
	untouched bool
	why       string // it is not the same, in words
}

// kin compares the page, read from f in a dataset's directory, with what it says of itself. It must be asked before the page is mapped for writing: the first
// store evens its times out.
func (p *statePage) kin(disk Disk, dir string, f File) (k kin, err error) {
	now, err := f.Identity()
	if err != nil {
		return k, err
	}
	stamp, err := f.Stamp()
	if err != nil {
		return k, err
	}
	shared, err := isShared(f)
	if err != nil {
		return k, err
	}
	seen, err := readWitness(disk, dir)
	if isShortage(err) {
		return k, err
	}
	then, untouched := p.identity(), err == nil && seen == p.witness()
	k.machine = then.same(now)
	k.here = seen.inode == p.witness().inode && then.Inode == now.Inode && then.BootID != now.BootID
	k.untouched = untouched && stamp.Written == stamp.Changed
	switch {
	case !k.machine:
		k.why = "another boot, mount or copy than the one it was written on"
	case !untouched:
		k.why = "the dataset's files were copied back: " + witnessName + " is not the one that the state page was made with"
	case shared:
		k.why = stateName + " is there under another name, as in a copy that was made of links"
	case stamp.Written != stamp.Changed:
		k.why = stateName + " was changed by another program: a copy put back, or its rights or links"
	default:
		k.same = true
	}
	return k, nil // one that cannot be read is not the one that was made, and no reason to doubt the sums
}
