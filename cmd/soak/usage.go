package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the gateway holds of this machine.
type usage struct {
	memory     int64 // bytes, mapped files left out
	goroutines int
	sockets    int
	files      int // open in the data directory
	others     int // descriptors: epolls, pipes, eventfds
	producers  int // connected
	sessions   int // of subscribers
}

func (u usage) String() string {
	return fmt.Sprintf("memory %d MiB, %d goroutines, %d sockets, %d files, %d other descriptors", u.memory>>20, u.goroutines, u.sockets, u.files, u.others)
}

// Tolerances between two times at which only the producers were connected.
const (
	memorySlack    = 16 << 20 // bytes: the runtime gives freed memory back to the system in its own time
	goroutineSlack = 2        // the request that asks for the count, and its server's
	fileSlack      = 4        // for each tape: segments that are being prepared or sealed just then
	pipeSlack      = 8        // descriptors: pipes of the splice path, kept by each loop once it has used them
)

// leaked is what u has more than before, beyond the tolerances.
func (u usage) leaked(before usage) error {
	tapes := len(datasets) * len(schemas)
	for _, c := range []struct {
		what            string
		is, was, within int64
	}{
		{"bytes of memory", u.memory, before.memory, memorySlack},
		{"goroutines", int64(u.goroutines), int64(before.goroutines), goroutineSlack},
		{"sockets", int64(u.sockets), int64(before.sockets), 0},
		{"open files", int64(u.files), int64(before.files), int64(fileSlack * tapes)},
		{"other descriptors", int64(u.others), int64(before.others), pipeSlack},
	} {
		if c.is > c.was+c.within {
			return fmt.Errorf("the gateway holds %d %s, %d before the subscribers came (%d more are tolerated)", c.is, c.what, c.was, c.within)
		}
	}
	return nil
}

// scraper asks without keeping a connection, which would count as a socket.
var scraper = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// usage looks at the process from outside, and asks it for what only it knows.
func (g *gateway) usage() (usage, error) {
	var u usage
	if err := u.scrape("http://" + g.admin + "/metrics"); err != nil {
		return u, err
	}
	proc := fmt.Sprintf("/proc/%d/", g.pid.Load())
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.memory = kib << 10
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	for _, fd := range fds {
		switch link, _ := os.Readlink(proc + "fd/" + fd.Name()); { // "" when it was closed meanwhile
		case strings.HasPrefix(link, "socket:"):
			u.sockets++
		case strings.HasPrefix(link, g.data):
			u.files++
		case link != "":
			u.others++
		}
	}
	return u, err
}

func (u *usage) scrape(url string) error {
	resp, err := scraper.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sessions := map[string]bool{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "tapewire_producer_accepted_records{"):
			u.producers++
		case strings.HasPrefix(line, "tapewire_session_lag_records{"):
			_, rest, _ := strings.Cut(line, `session="`)
			id, _, _ := strings.Cut(rest, `"`)
			sessions[id] = true
		default:
			scan(line, "go_goroutines %d", &u.goroutines)
		}
		var panics int
		if scan(line, "tapewire_panics_total %d", &panics) && panics > 0 {
			return fmt.Errorf("the gateway contained %d panics", panics)
		}
	}
	u.sessions = len(sessions)
	if err := lines.Err(); err != nil {
		return err
	}
	if u.goroutines == 0 {
		return fmt.Errorf("%s has no go_goroutines", url)
	}
	return nil
}
