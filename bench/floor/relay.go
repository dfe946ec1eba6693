package floor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// relayBuffer is the most bytes that a relay reads at once.
const relayBuffer = 256 << 10

// Relay accepts subscribers, then one producer, and sends what the producer
// sends to each of them, from one thread. It journals nothing and ends with the
// producer. With spin it never waits for an event.
func Relay(subscribers int, spin bool) error {
	l, err := Listen()
	if err != nil {
		return err
	}
	subs := make([]int, subscribers)
	for i := range subs {
		if subs[i], err = Accept(l); err != nil {
			return err
		}
	}
	producer, err := Accept(l)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := watch(epoll, producer, 0, unix.EPOLLIN); err != nil {
		return err
	}
	Bare()
	buf := make([]byte, relayBuffer)
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := read(producer, buf)
		switch {
		case err == unix.EAGAIN && spin:
			continue
		case err == unix.EAGAIN:
			if _, err := waitFor(epoll, events, -1); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		for _, fd := range subs {
			if err := writeAll(fd, buf[:n]); err != nil {
				return fmt.Errorf("relay to a subscriber: %w", err)
			}
		}
	}
}
