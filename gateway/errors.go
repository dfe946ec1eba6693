package gateway

import "errors"

// Errors of starting a server.
var (
	// ErrOpenMode is returned for a server without a key file whose address is
	// not on loopback: anyone who reaches it could publish.
	ErrOpenMode = errors.New("gateway: without a key file the gateway listens on loopback only")
	// ErrAddressInUse is returned when another process listens on the address.
	ErrAddressInUse = errors.New("gateway: address in use")
	// ErrEngine is returned when the event loop ended though nobody asked it to.
	ErrEngine = errors.New("gateway: the event loop ended unexpectedly")
)
