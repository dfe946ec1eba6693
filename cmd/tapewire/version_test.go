package main

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// Who reports a fault names the build: each way to build the program says the version, and the commit as far as it is known.
func TestVersionNamesTheCommitHoweverItWasBuilt(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: modified}}
	}
	for _, test := range []struct {
		built, module       string
		settings            []debug.BuildSetting
		revision, committed string
		want                string
	}{
		{"go build in a clone", "v0.3.0", vcs("false"), "", "", "v0.3.0, commit 0123456789ab of 2026-01-02T03:04:05Z, go1.26.8"},
		{"go build with changes", "v0.3.0+dirty", vcs("true"), "", "", "v0.3.0+dirty, commit 0123456789ab of 2026-01-02T03:04:05Z, modified, go1.26.8"},
		{"make build in a clone", "v0.3.0", vcs("false"), commit, "2026-01-02T03:04:05Z", "v0.3.0, commit 0123456789ab of 2026-01-02T03:04:05Z, go1.26.8"},
		{"make build in a worktree", "(devel)", nil, commit, "2026-01-02T03:04:05Z", "(devel), commit 0123456789ab of 2026-01-02T03:04:05Z, go1.26.8"},
		{"make build in a worktree with changes", "(devel)", nil, commit + "-dirty", "2026-01-02T03:04:05Z", "(devel), commit 0123456789ab of 2026-01-02T03:04:05Z, modified, go1.26.8"},
		{"go install pkg@v0.3.0", "v0.3.0", nil, "", "", "v0.3.0, go1.26.8"},
		{"go build -buildvcs=false", "(devel)", nil, "", "", "(devel), commit not known, go1.26.8"},
		{"a test", "", nil, "", "", "(devel), commit not known, go1.26.8"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: test.module}, Settings: test.settings}
		if got := versionText(info, test.revision, test.committed); got != test.want {
			t.Errorf("%s: %q, want %q", test.built, got, test.want)
		}
	}
}

// The go command notes no commit in a git worktree: what make says then has to reach the program.
func TestMakeBuildNamesTheCommit(t *testing.T) {
	root := filepath.Join("..", "..")
	commit, err := exec.Command("git", "-C", root, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Skipf("no commit to name: %v", err)
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	bin := filepath.Join(t.TempDir(), "tapewire")
	if out, err := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "build", "BIN="+bin).CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), bin, "--version").Output()
	if want := "commit " + string(commit[:12]) + " of 20"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("--version says %q (%v), want %q", out, err, want)
	}
}
