package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Account is what processes have used so far, by the kernel's accounting.
type Account struct {
	CPU      time.Duration // user and system
	Switches int64         // context switches, voluntary or not, of the threads that live
	Anon     int64         // bytes of memory of their own: resident, not backed by a file
	Peak     int64         // bytes resident at most so far, mapped files included
	at       time.Time
}

// Snapshot reads the account of processes, added up.
func Snapshot(pids ...int) (Account, error) {
	a := Account{at: time.Now()}
	for _, pid := range pids {
		cpu, err := cpuTime(pid)
		if err != nil {
			return a, err
		}
		a.CPU += cpu
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, task := range tasks {
			f, err := statusFields(task)
			if err != nil {
				continue // the thread has just ended
			}
			a.Switches += f["voluntary_ctxt_switches"] + f["nonvoluntary_ctxt_switches"]
		}
		f, err := statusFields(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return a, err
		}
		a.Anon += f["RssAnon"] << 10
		a.Peak += f["VmHWM"] << 10
	}
	return a, nil
}

// Since is what was used between an earlier snapshot and this one; memory is as
// it is now.
func (a Account) Since(before Account) Account {
	a.CPU -= before.CPU
	a.Switches -= before.Switches
	return a
}

// Elapsed is the time between two snapshots.
func (a Account) Elapsed(before Account) time.Duration { return a.at.Sub(before.at) }

// cpuTime is the CPU clock of another process, exact to the ns. The clock's id
// is made from the pid: clock_getcpuclockid(3).
func cpuTime(pid int) (time.Duration, error) {
	const schedulerClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// statusFields reads the numbers of a /proc status file.
func statusFields(path string) (map[string]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		var n int64
		if _, err := fmt.Sscan(rest, &n); err == nil {
			fields[name] = n
		}
	}
	return fields, nil
}

// SyscallCounter counts the system calls of a process by way of perf, which not
// every machine has. Counting costs time, so it has a pass of its own.
type SyscallCounter struct{ perf *exec.Cmd }

// CountSyscalls begins to count.
func CountSyscalls(pid int, into string) (*SyscallCounter, error) {
	perf, err := exec.LookPath("perf")
	if err != nil {
		return nil, fmt.Errorf("system calls are counted with perf, which is not installed: %w", err)
	}
	c := exec.Command(perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", fmt.Sprint(pid), "-o", into)
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &SyscallCounter{c}, nil
}

// Stop ends the counting and returns the number.
func (s *SyscallCounter) Stop() (int64, error) {
	_ = s.perf.Process.Signal(unix.SIGINT)
	_ = s.perf.Wait() // it ends by the signal
	b, err := os.ReadFile(s.perf.Args[len(s.perf.Args)-1])
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "raw_syscalls:sys_enter") {
			var n int64
			if _, err := fmt.Sscanf(line, "%d,", &n); err == nil {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("perf counted nothing: %q", b)
}
