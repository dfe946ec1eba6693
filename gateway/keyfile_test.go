package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fileAs is a file as its owner, group and mode show it.
type fileAs struct {
	mode        fs.FileMode
	user, group uint32
}

func (f fileAs) Name() string       { return "keys.toml" }
func (f fileAs) Size() int64        { return 0 }
func (f fileAs) Mode() fs.FileMode  { return f.mode }
func (f fileAs) ModTime() time.Time { return time.Time{} }
func (f fileAs) IsDir() bool        { return false }
func (f fileAs) Sys() any           { return &syscall.Stat_t{Uid: f.user, Gid: f.group} }

// A service manager gives a key file to its service in one of a few ways; whoever
// else could read or change it must not be overlooked.
func TestKeyFileIsForTheServiceAlone(t *testing.T) {
	const root, service, other = 0, 990, 1000
	const credentials = "/run/credentials/tapewire.service"
	who := identity{user: service, groups: []int{service, 27}, credentials: credentials}
	asRoot := identity{user: root, groups: []int{root}}
	for name, c := range map[string]struct {
		path string
		file fileAs
		who  identity
		want string // in the reason; "" is taken
	}{
		"its own":                       {"/etc/keys.toml", fileAs{0o600, service, service}, who, ""},
		"its own, read only":            {"/etc/keys.toml", fileAs{0o400, service, service}, who, ""},
		"root's, by its group":          {"/etc/keys.toml", fileAs{0o640, root, service}, who, ""},
		"root's, by a second group":     {"/etc/keys.toml", fileAs{0o440, root, 27}, who, ""},
		"root's, for root":              {"/etc/keys.toml", fileAs{0o600, root, root}, asRoot, ""},
		"the service's, looked at":      {"/etc/keys.toml", fileAs{0o640, root, service}, asRoot, ""},
		"credential of its own":         {credentials + "/keys.toml", fileAs{0o400, service, service}, who, ""},
		"credential by an access list":  {credentials + "/keys.toml", fileAs{0o440, root, root}, who, ""},
		"everybody reads":               {"/etc/keys.toml", fileAs{0o644, service, service}, who, "chmod 600"},
		"everybody writes":              {"/etc/keys.toml", fileAs{0o602, service, service}, who, "chmod 600"},
		"everybody reads a credential":  {credentials + "/keys.toml", fileAs{0o444, root, root}, who, "chmod 600"},
		"the group writes":              {"/etc/keys.toml", fileAs{0o660, root, service}, who, "changed by its group"},
		"the group writes a credential": {credentials + "/keys.toml", fileAs{0o460, root, service}, who, "changed by its group"},
		"a group it is not in":          {"/etc/keys.toml", fileAs{0o640, root, 100}, who, "chgrp GROUP"},
		"its group, but its own":        {"/etc/keys.toml", fileAs{0o640, service, service}, who, "root is not its owner"},
		"somebody else's":               {"/etc/keys.toml", fileAs{0o640, other, service}, who, "belongs to user 1000"},
		"beside the credentials":        {credentials + "/../keys.toml", fileAs{0o440, root, root}, who, "chgrp GROUP"},
		"a directory that begins so":    {credentials + "2/keys.toml", fileAs{0o440, root, root}, who, "chgrp GROUP"},
	} {
		err := keptSecret(c.path, c.file, c.who)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The same by real files, read by a process of another user.
func TestServiceReadsTheKeyFileThatRootGaveToItsGroup(t *testing.T) {
	const file, nobody = "TAPEWIRE_TEST_KEYS", 65534
	if path := os.Getenv(file); path != "" {
		ring, err := LoadKeys(path)
		fmt.Printf("read as user %d: %v, %v\n", os.Geteuid(), ring != nil, err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user's group")
	}
	dir, err := os.MkdirTemp("", "tapewire-keys-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	if b, err := os.ReadFile(os.Args[0]); err != nil || os.WriteFile(program, b, 0o755) != nil || os.Chmod(dir, 0o755) != nil {
		t.Skip("this test's program cannot be copied to where another user may run it")
	}
	path := filepath.Join(dir, "keys.toml")
	key, err := NewKey("bot", nil, nil)
	if err = errors.Join(err, AppendKey(path, key)); err != nil {
		t.Fatal(err)
	}
	read := func(mode fs.FileMode, group int) string {
		if err := errors.Join(os.Chown(path, 0, group), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), file+"="+path)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("no process of another user: %v\n%s", err, out)
		}
		return string(out)
	}
	for _, c := range []struct {
		mode  fs.FileMode
		group int
		want  string
	}{
		{0o640, nobody, "read as user 65534: true, <nil>"},
		{0o440, nobody, "read as user 65534: true, <nil>"},
		{0o600, nobody, "may not be read by user 65534"},
		{0o644, 0, "chmod 600"},
		{0o660, nobody, "changed by its group"},
	} {
		if got := read(c.mode, c.group); !strings.Contains(got, c.want) {
			t.Errorf("mode %04o of group %d: %q, want %q", c.mode, c.group, got, c.want)
		}
	}
}
