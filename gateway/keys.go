package gateway

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// A Right is something a key may do.
type Right string

// The rights a key can have. A key without any has RightSubscribe.
const (
	RightSubscribe Right = "subscribe" // to receive datasets
	RightPublish   Right = "publish"   // to publish to datasets
	RightTakeover  Right = "takeover"  // to publish under a producer's name that belongs to another key
	RightAdmin     Right = "admin"     // to use the admin side, which shows the whole gateway
)

// A Key is one entry of a key file. A limit that is 0 or left out is none.
type Key struct {
	Name     string   `toml:"name"`               // who holds it; appears in logs, metrics and the audit log
	Secret   string   `toml:"key"`                // 32 characters, db- and 29 letters or digits
	Datasets []string `toml:"datasets,omitempty"` // what it may reach; nil or "*" means every dataset
	Rights   []Right  `toml:"rights"`             // empty means subscribe only

	Connections       int `toml:"connections,omitzero"`         // sockets at once
	ConnectsPerMinute int `toml:"connects_per_minute,omitzero"` // new connections, of which as many may come at once
	RecordsPerSecond  int `toml:"records_per_second,omitzero"`  // published by all its producers; more wait
}

// May reports whether the key grants right on dataset.
func (k *Key) May(right Right, dataset string) bool {
	if k.Datasets != nil && !slices.Contains(k.Datasets, "*") && !slices.Contains(k.Datasets, dataset) {
		return false
	}
	if len(k.Rights) == 0 {
		return right == RightSubscribe
	}
	return slices.Contains(k.Rights, right)
}

// The limits' names, in the key file and wherever one is met.
const (
	limitConnections = "connections"
	limitConnects    = "connects_per_minute"
	limitRecords     = "records_per_second"
)

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

// check holds each key, and that none can be taken for another.
func (r *Keyring) check() error {
	for i := range r.keys {
		k := &r.keys[i]
		if err := k.Check(); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		for j := range r.keys[:i] {
			switch o := &r.keys[j]; {
			case o.Name == k.Name:
				return fmt.Errorf("keys %d and %d are both named %s; give each holder a name, or logs tell nobody apart", j+1, i+1, k.Name)
			case o.Secret == k.Secret:
				return fmt.Errorf("%s and %s have the same key; make one for each with tapewire key new", o.Name, k.Name)
			}
		}
	}
	return nil
}

// Check says what is wrong with a key: nil when nothing is.
func (k *Key) Check() error {
	if k.Name == "" {
		return errors.New("it has no name")
	}
	if len(k.Secret) != keyLength || !strings.HasPrefix(k.Secret, keyPrefix) ||
		strings.ContainsFunc(k.Secret[len(keyPrefix):], func(r rune) bool { return !isAlnum(r) }) {
		return fmt.Errorf("%s: a key is %s and %d letters or digits", k.Name, keyPrefix, keyLength-len(keyPrefix))
	}
	for _, r := range k.Rights {
		if !slices.Contains([]Right{RightSubscribe, RightPublish, RightTakeover, RightAdmin}, r) {
			return fmt.Errorf("%s: unknown right %q; rights are subscribe, publish, takeover, admin", k.Name, r)
		}
	}
	if err := k.checkDatasets(); err != nil {
		return err
	}
	if k.isAdmin() && k.Datasets != nil && !slices.Contains(k.Datasets, "*") {
		return fmt.Errorf("%s: the right admin shows the whole gateway and cannot be kept to datasets; leave datasets out, or make a key of its own for admin", k.Name)
	}
	for name, value := range k.Limits() {
		if value < 0 {
			return fmt.Errorf("%s: %s is %d; give a number above 0, or leave it out for no limit", k.Name, name, value)
		}
	}
	return nil
}

// checkDatasets refuses a list whose last dataset was taken away: the key must
// not reach everything then.
func (k *Key) checkDatasets() error {
	if k.Datasets != nil && len(k.Datasets) == 0 {
		return fmt.Errorf("%s: its list of datasets is empty; name some, or leave datasets out for a key that reaches all", k.Name)
	}
	for _, d := range k.Datasets {
		if d != "*" && journal.CheckDataset(d) != nil {
			return fmt.Errorf("%s: %q is no name of a dataset: use %s, or * for all", k.Name, d, journal.DatasetRule)
		}
	}
	return nil
}

// Limits gives the key's limits by their names in the key file; 0 is none.
func (k *Key) Limits() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		_ = yield(limitConnections, k.Connections) && yield(limitConnects, k.ConnectsPerMinute) && yield(limitRecords, k.RecordsPerSecond)
	}
}

func (k *Key) isAdmin() bool { return slices.Contains(k.Rights, RightAdmin) }

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// Keys returns the entries in the file's order.
func (r *Keyring) Keys() []Key { return r.keys }

// find returns the key that made response from challenge. The clear suffix of
// the response narrows the candidates, and never by more than what every client
// sends in clear; each comparison is in constant time.
func (r *Keyring) find(challenge, response string) *Key {
	bucket := lsg.Bucket(response)
	if len(bucket) != bucketSize {
		return nil // a longer one would be compared with what is secret
	}
	for i := range r.keys {
		k := &r.keys[i]
		if strings.HasSuffix(k.Secret, bucket) && lsg.Verify(challenge, k.Secret, response) {
			return k
		}
	}
	return nil
}

// holder returns the key whose secret is given, as HTTP clients do. It takes as
// long whichever it is, and however much of it was guessed.
func (r *Keyring) holder(secret string) (found *Key) {
	given := sha256.Sum256([]byte(secret))
	for i := range r.keys {
		have := sha256.Sum256([]byte(r.keys[i].Secret))
		if subtle.ConstantTimeCompare(given[:], have[:]) == 1 {
			found = &r.keys[i]
		}
	}
	return found
}

// same returns the entry that a key of another reading of the file has become,
// nil when it is gone or has another secret.
func (r *Keyring) same(k *Key) *Key {
	for i := range r.keys {
		if r.keys[i].Secret == k.Secret {
			return &r.keys[i]
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
	return k, k.Check()
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
			return fmt.Errorf("%s has a key named %s already; choose another name or remove that entry", path, k.Name)
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
