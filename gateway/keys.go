package gateway

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/tapewire/tapewire/feed/lsg"
)

// A Right is something a key may do.
type Right string

// The rights a key can have. A key without any has RightSubscribe.
const (
	RightSubscribe Right = "subscribe"
	RightPublish   Right = "publish"
	RightAdmin     Right = "admin"
)

// A Key is one entry of a key file.
type Key struct {
	Name     string   `toml:"name"`     // who holds it; appears in logs and metrics
	Secret   string   `toml:"key"`      // 32 characters, db- and 29 letters or digits
	Datasets []string `toml:"datasets"` // what it may reach; empty means every dataset
	Rights   []Right  `toml:"rights"`   // empty means subscribe only
}

// May reports whether the key grants right on dataset.
func (k *Key) May(right Right, dataset string) bool {
	if len(k.Datasets) > 0 && !slices.Contains(k.Datasets, "*") && !slices.Contains(k.Datasets, dataset) {
		return false
	}
	if len(k.Rights) == 0 {
		return right == RightSubscribe
	}
	return slices.Contains(k.Rights, right)
}

// Keyring holds the keys of a key file. A nil Keyring is open mode: every key
// is accepted with every right.
type Keyring struct {
	keys []Key
}

const (
	keyPrefix  = "db-"
	keyLength  = 32
	bucketSize = 5 // trailing characters of a key that a client sends in clear
	keyLetters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
)

// ErrKeyFile reports a key file that cannot be used.
var ErrKeyFile = errors.New("unusable key file")

type keyFile struct {
	Keys []Key `toml:"key"`
}

// LoadKeys reads a key file. It refuses a file that others can read, since
// challenge-response needs the keys themselves.
func LoadKeys(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s does not exist; make one with: tapewire key new --keys %s NAME", ErrKeyFile, path, path)
		}
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s can be read by others (mode %04o); run: chmod 600 %s", ErrKeyFile, path, mode, path)
	}
	var f keyFile
	md, err := toml.DecodeFile(path, &f)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	if extra := md.Undecoded(); len(extra) > 0 {
		return nil, fmt.Errorf("%w: %s: unknown setting %s", ErrKeyFile, path, extra[0])
	}
	for i := range f.Keys {
		if err := f.Keys[i].check(); err != nil {
			return nil, fmt.Errorf("%w: %s: key %d: %w", ErrKeyFile, path, i+1, err)
		}
	}
	return &Keyring{keys: f.Keys}, nil
}

func (k *Key) check() error {
	if k.Name == "" {
		return errors.New("it has no name")
	}
	if len(k.Secret) != keyLength || !strings.HasPrefix(k.Secret, keyPrefix) ||
		strings.ContainsFunc(k.Secret[len(keyPrefix):], func(r rune) bool { return !isAlnum(r) }) {
		return fmt.Errorf("%s: a key is %s and %d letters or digits", k.Name, keyPrefix, keyLength-len(keyPrefix))
	}
	for _, r := range k.Rights {
		if r != RightSubscribe && r != RightPublish && r != RightAdmin {
			return fmt.Errorf("%s: unknown right %q; rights are subscribe, publish, admin", k.Name, r)
		}
	}
	return nil
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// Keys returns the entries in the file's order.
func (r *Keyring) Keys() []Key { return r.keys }

// find returns the key that made response from challenge. The clear suffix of
// the response narrows the candidates; each comparison is in constant time.
func (r *Keyring) find(challenge, response string) *Key {
	bucket := lsg.Bucket(response)
	for i := range r.keys {
		k := &r.keys[i]
		if strings.HasSuffix(k.Secret, bucket) && len(bucket) == bucketSize && lsg.Verify(challenge, k.Secret, response) {
			return k
		}
	}
	return nil
}

// NewKey makes a key with a random secret.
func NewKey(name string, datasets []string, rights []Right) (Key, error) {
	k := Key{Name: name, Datasets: datasets, Rights: rights}
	secret := make([]byte, 0, keyLength)
	secret = append(secret, keyPrefix...)
	var draw [1]byte
	for len(secret) < keyLength {
		rand.Read(draw[:]) // never fails (crypto/rand)
		// Draws above the last whole multiple would favour the first letters.
		if n := len(keyLetters); int(draw[0]) < 256/n*n {
			secret = append(secret, keyLetters[int(draw[0])%n])
		}
	}
	k.Secret = string(secret)
	return k, k.check()
}

// AppendKey adds a key to a key file, which it creates readable by its owner
// only. It returns the key that was written.
func AppendKey(path string, k Key) error {
	if _, err := os.Stat(path); err == nil {
		ring, err := LoadKeys(path)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(ring.keys, func(o Key) bool { return o.Name == k.Name }) {
			return fmt.Errorf("%w: %s has a key named %s already; choose another name or remove that entry", ErrKeyFile, path, k.Name)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	var entry bytes.Buffer
	entry.WriteString("\n") // the file's last line may lack its own
	err = toml.NewEncoder(&entry).Encode(keyFile{Keys: []Key{k}})
	if err == nil {
		_, err = f.Write(entry.Bytes())
	}
	return errors.Join(err, f.Close())
}
