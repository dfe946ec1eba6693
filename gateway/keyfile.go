package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
)

// ErrKeyFile reports a key file that cannot be used.
var ErrKeyFile = errors.New("unusable key file")

type keyFile struct {
	Keys []Key `toml:"key"`
}

// LoadKeys reads a key file. It refuses one that others can read, since
// challenge-response needs the keys themselves, or change. Nobody else is its
// owner, the group that a root-owned file was given to this process by, and, for a
// credential, the service manager.
func LoadKeys(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unopenedKeys(path, err)
	}
	defer f.Close()
	info, err := f.Stat() // of what is read, whatever its name comes to mean
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if err := keptSecret(path, info, ourselves()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	var keys keyFile
	md, err := toml.NewDecoder(f).Decode(&keys)
	if err != nil { // its text may quote the file
		return nil, fmt.Errorf("%w: %s: %s", ErrKeyFile, path, withoutSecrets(err.Error()))
	}
	if extra := md.Undecoded(); len(extra) > 0 {
		return nil, fmt.Errorf("%w: %s: unknown setting %s", ErrKeyFile, path, withoutSecrets(extra[0].String()))
	}
	ring := &Keyring{keys: keys.Keys}
	if err := ring.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return ring, nil
}

// unopenedKeys says why a key file cannot be opened, and what to do.
func unopenedKeys(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist; make one with: tapewire key new --keys %s NAME", ErrKeyFile, path, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s may not be read by user %d, whom this process runs as; for a service use LoadCredential= (docs/systemd.md), or give the file to its group: chown root:GROUP %s && chmod 640 %s",
			ErrKeyFile, path, os.Geteuid(), path, path)
	}
	return fmt.Errorf("%w: %w", ErrKeyFile, err)
}

// identity is who a process is to the file system.
type identity struct {
	user        int
	groups      []int
	credentials string // the service manager's directory for this service, "" without one
}

func ourselves() identity {
	groups, _ := os.Getgroups() // without them fewer files are taken
	return identity{user: os.Geteuid(), groups: append(groups, os.Getegid()), credentials: os.Getenv("CREDENTIALS_DIRECTORY")}
}

// keptSecret says why a key file is not secret, or not safe from others' changes.
func keptSecret(path string, info fs.FileInfo, who identity) error {
	const groupReads, groupChanges, everybody = 0o040, 0o030, 0o007
	mode := info.Mode().Perm()
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the system does not say whose it is", path)
	}
	owner, group := int(stat.Uid), int(stat.Gid)
	switch {
	case mode&everybody != 0:
		return fmt.Errorf("%s can be read or changed by others (mode %04o); run: chmod 600 %s", path, mode, path)
	case mode&groupChanges != 0:
		return fmt.Errorf("%s can be changed by its group (mode %04o); run: chmod 600 %s, or 640 for a service's root-owned file", path, mode, path)
	case who.user != 0 && owner != 0 && owner != who.user:
		return fmt.Errorf("%s belongs to user %d, who could change it; this process runs as user %d: run: chown root %s, or chown it to the service's user", path, owner, who.user, path)
	case mode&groupReads == 0, who.isCredential(path): // of a credential the group's bits may be those of an access list
		return nil
	case owner != 0:
		return fmt.Errorf("%s can be read by others, its group %d (mode %04o), and root is not its owner; run: chmod 600 %s, or for a service: chown root:GROUP %s", path, group, mode, path, path)
	case who.user != 0 && !slices.Contains(who.groups, group): // root looks after files of its services
		return fmt.Errorf("%s can be read by others: its group %d (mode %04o) is none of this process's; run: chgrp GROUP %s with the group that the service runs as, or chmod 600 %s", path, group, mode, path, path)
	}
	return nil
}

// isCredential reports whether the service manager passed a file to this service,
// in a directory that only the service can look into.
func (who identity) isCredential(path string) bool {
	if !filepath.IsAbs(who.credentials) {
		return false
	}
	path, err := filepath.Abs(path)
	return err == nil && strings.HasPrefix(path, filepath.Clean(who.credentials)+"/")
}
