package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// revision and committed are the commit that the program was built from and when it was made, as make says: the go command notes neither in a git worktree
// nor under -buildvcs=false. Empty: the go command knows, or nobody does.
var revision, committed string

type versionCmd struct{}

// Run prints the version of the module and what it was built from.
func (versionCmd) Run(c console) error {
	_, err := fmt.Fprintln(c.out, "tapewire", version())
	return err
}

// version is the program's version, the commit and its date where they are known, and the version of Go, e.g.
//
//	v0.3.0, commit 0123456789ab of 2026-11-29T17:49:25Z, go1.26.8
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return versionText(info, revision, committed)
}

// versionText is version for a build. What the go command noted of it goes before what make said.
func versionText(info *debug.BuildInfo, revision, committed string) string {
	parts := []string{info.Main.Version}
	if parts[0] == "" {
		parts[0] = "(devel)"
	}
	commit, modified := revision, ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.time":
			committed = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = ", modified"
			}
		}
	}
	if name, dirty := strings.CutSuffix(commit, "-dirty"); dirty {
		commit, modified = name, ", modified"
	}
	switch {
	case commit != "":
		parts = append(parts, fmt.Sprintf("commit %.12s of %s%s", commit, committed, modified))
	case parts[0] == "(devel)":
		parts = append(parts, "commit not known")
	}
	return strings.Join(append(parts, info.GoVersion), ", ")
}
