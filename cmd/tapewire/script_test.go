package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is also the real one: scripts run it as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tapewire": main})
}

// realDay is a day of real trades, 654,140 of them, which is not part of the repository.
const realDay = "../../../shared/data/dbn/lean/equs-trades-20131008.dbn.zst"

// scriptPatience is when scripts that hang are ended. All together take seconds, and under the race detector beside other work minutes.
const scriptPatience = 8 * time.Minute

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[serversKey{}] = map[string]*exec.Cmd{}
			path, err := filepath.Abs(realDay)
			env.Setenv("REAL", path)
			// What the user's own environment says must not matter.
			for _, name := range []string{"TAPEWIRE_GATEWAY", "TAPEWIRE_KEY", "DATABENTO_API_KEY", "DURATION"} {
				env.Setenv(name, "")
			}
			return err
		},
		Condition: func(cond string) (bool, error) {
			if cond != "realdata" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			_, err := os.Stat(realDay)
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": scriptCode, "serve": scriptServe, "end": scriptEnd, "dbn": scriptDBN, "swapped": scriptSwapped, "nameless": scriptNameless, "zst": scriptZstd, "samerecords": scriptSameRecords, "flip": scriptFlip, "shorten": scriptShorten, "whole": scriptWhole, "setkey": scriptSetKey, "get": scriptGet, "hup": scriptHangup, "certs": scriptCerts, "await": scriptAwait, "awaitlines": scriptAwaitLines, "tear": scriptTear,
		},
		RequireUniqueNames: true,
		Deadline:           time.Now().Add(scriptPatience),
	})
}

// scriptCode is `code N COMMAND ARGS`: it runs a command and wants the exit code.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptServe is `serve NAME ARGS`: it starts a gateway on a free port, waits until it listens, and sets TAPEWIRE_GATEWAY, SECURE
// to its TLS address, and ADMIN to the URL of its HTTP side.
func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	name, args := args[0], args[1:]
	if !slices.Contains(args, "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	cmd := exec.Command(binary(ts), append([]string{"serve"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	errors, err := os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	defer errors.Close()
	cmd.Stderr = errors
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "admin" {
			ts.Setenv("ADMIN", strings.TrimSuffix(f[1], "/metrics,"))
		}
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "tls" {
			ts.Setenv("SECURE", strings.TrimSuffix(f[1], ","))
		}
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			ts.Setenv("TAPEWIRE_GATEWAY", addr)
			servers(ts)[name] = cmd
			go io.Copy(io.Discard, out)
			return
		}
	}
	ts.Fatalf("the gateway did not come up: %s", ts.ReadFile(name+".log"))
}

// scriptEnd is `end NAME SIGNAL`: it ends a gateway and waits for it; SIGTERM must end it with code 0.
func scriptEnd(ts *testscript.TestScript, neg bool, args []string) {
	cmd := servers(ts)[args[0]]
	if args[1] == "SIGKILL" {
		ts.Check(cmd.Process.Kill())
		cmd.Wait()
		return
	}
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(cmd.Wait())
}

// scriptHangup is `hup NAME TEXT`: it sends SIGHUP to a gateway and waits until its log says TEXT.
func scriptHangup(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(servers(ts)[args[0]].Process.Signal(syscall.SIGHUP))
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(ts.ReadFile(args[0]+".log"), args[1]); {
		if time.Now().After(deadline) {
			ts.Fatalf("the log does not say %q", args[1])
		}
		time.Sleep(time.Millisecond) // polls a file
	}
}

// scriptGet is `get URL TEXT`: the answer is 200 and contains the text.
func scriptGet(ts *testscript.TestScript, neg bool, args []string) {
	resp, err := http.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), args[1]) {
		ts.Fatalf("GET %s: %s\n%s\nwant %q", args[0], resp.Status, body, args[1])
	}
}

// scriptSetKey is `setkey FILE`: it sets TAPEWIRE_KEY to what the file holds.
func scriptSetKey(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv("TAPEWIRE_KEY", strings.TrimSpace(ts.ReadFile(args[0])))
}

// serversKey is where a script keeps the gateways that it started, by name.
type serversKey struct{}

func servers(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value(serversKey{}).(map[string]*exec.Cmd)
}

// binary finds the program where scripts find it.
func binary(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, "tapewire")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	ts.Fatalf("tapewire is not in PATH")
	return ""
}
