package journal

import (
	"fmt"
	"runtime/debug"
)

// guarded runs f, which touches mapped files. What would be a SIGBUS (a disk that cannot be read, a file that somebody else cut) becomes ErrFault.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = faultError(r)
		}
	}()
	return f()
}

// faultError names a fault; any other panic is a bug and goes on.
func faultError(r any) error {
	if f, ok := r.(interface{ Addr() uintptr }); ok {
		return fmt.Errorf("%w: at address %#x", ErrFault, f.Addr())
	}
	panic(r)
}
