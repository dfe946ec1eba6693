package journal

import (
	"fmt"

	"go.uber.org/zap"
)

// One writer for every file, whatever names lead to it. The lock of the data directory keeps a second gateway out of that directory; a dataset can be in two of
// them all the same: its directory mounted in another one, or its files there under second names (cp -al, rsync --link-dest). So its directory is locked too,
// and its state page while it is served; and what has a second name is never stored to: an opening goes on in files of its own.

// lock takes the dataset's directory, unless somebody serves it, or has its state page under another name. Nothing was read yet.
func (o *opening) lock() (err error) {
	d := o.d
	if d.lock, err = d.disk.LockDir(d.dir); err != nil {
		return err
	}
	f, err := d.disk.Open(d.path(stateName), true)
	if err != nil {
		return nil // recovery judges what is there without it
	}
	defer f.Close() // and with it the lock ends: the opening may make another page
	return f.Lock()
}

// lockState keeps the page that the dataset goes on with from whoever comes to know it by another name.
func (o *opening) lockState() error { return o.d.state.file.Lock() }

// isShared says whether a file has another name: a copy made of hard links shares what is stored to it.
func isShared(f File) (bool, error) {
	links, err := f.Links()
	return links > 1, err
}

// isCopys says whether a segment's file may be stored to from another directory: it has another name, and this one goes on from a copy. Where the state page is
// ours alone and the epoch goes on, taps of other processes read on in the very file, and nothing would tell them of another. The other name is one that was given to the
// segment alone (who links the state page or the witness begins an epoch): it shows what is stored behind what was committed then, and no record there changes.
func (o *opening) isCopys(f File) (bool, error) {
	shared, err := isShared(f)
	return shared && !o.result.same, err
}

// openOwn opens a file that is written to. One that has another name is copied first, and the copy takes this one: what the other leads to stays as it is.
func openOwn(disk Disk, path string) (File, error) {
	f, err := disk.Open(path, false)
	if err != nil {
		return nil, err
	}
	shared, err := isShared(f)
	if err == nil && !shared {
		return f, nil
	}
	defer f.Close()
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if err := writeWhole(disk, path, func(own File) error { return copyBytes(own, f, 0, size) }); err != nil {
		return nil, err
	}
	return disk.Open(path, false)
}

// openFull opens a segment that is full and not sealed yet. Sealing it stores to its file, which is one of its own then; and it ends where somebody cut it.
func (o *opening) openFull(t *Tape, f File, path string, k kept) (*Segment, error) {
	if k.cut != nil {
		o.d.log.Error("segment is cut short; what is left of it is served", zap.String("tape", t.name()), zap.Uint64("segment", k.info.ordinal), zap.Error(k.cut))
		err := o.shorten(t, path, k)
		if isFull(err) {
			err = fmt.Errorf("%w; there is no room for a file that ends there: %v", k.cut, err)
		}
		if err != nil {
			return nil, err
		}
		k.info.records = k.end - k.info.base
		return o.d.openActive(t, path, k.info, k.end)
	}
	shared, err := o.isCopys(f)
	if err == nil && shared {
		err = o.d.recut(t, path, k.info, k.end)
	}
	if err != nil {
		return nil, err
	}
	return o.d.openActive(t, path, k.info, k.end)
}
