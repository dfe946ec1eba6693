package harness

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// WarmMemory touches so many bytes of memory and gives them back. The host of a
// virtual machine may have taken free memory away, and a page that it has to
// bring back costs ten times what it costs to clear one; whoever comes first
// would pay for those who follow.
func WarmMemory(bytes int) error {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("touch %d bytes of memory: %w", bytes, err)
	}
	return unix.Munmap(b)
}
