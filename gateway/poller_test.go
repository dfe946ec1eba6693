package gateway

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A kick that is lost leaves its loop asleep until something else happens to
// wake it. Kicks from many sides must each be followed by a look.
func TestNoKickIsEverLost(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const kickers, each = 4, 20_000
	var announced, seen atomic.Int64
	looked := make(chan struct{}, 1)
	go func() {
		events := make([]unix.EpollEvent, 4)
		for seen.Load() < kickers*each {
			if n, err := p.wait(events, true); err != nil || n == 0 {
				return
			}
			p.unkick()
			seen.Store(announced.Load())
			select {
			case looked <- struct{}{}:
			default:
			}
		}
	}()
	var wg sync.WaitGroup
	for range kickers {
		wg.Go(func() {
			for range each {
				announced.Add(1)
				p.kick()
			}
		})
	}
	wg.Wait()
	eventually(t, "the last kick is seen", func() bool {
		<-looked
		return seen.Load() == kickers*each
	})
}
