package gateway

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tapewire/tapewire/feed/lsg"
	"github.com/tapewire/tapewire/journal"
)

// grant is what a connection was let in with; empty in open mode. It counts as a
// connection of its key until it is given back.
type grant struct {
	key  *Key // as the file was when the connection came
	use  *keyUse
	back *atomic.Bool
}

// giveBack ends that; it may be called again.
func (g grant) giveBack() {
	if g.use != nil && !g.back.Swap(true) {
		g.use.sockets.Add(-1)
	}
}

// authorize checks an authentication request and counts the connection. The error
// is for the client; with one the grant holds no more than who it was, if known.
func (s *Server) authorize(challenge string, req *lsg.AuthRequest) (grant, error) {
	g := grant{}
	right := RightSubscribe
	if req.Role == lsg.RoleProducer {
		right = RightPublish
	}
	keys := s.keys.Load()
	if keys != nil {
		if g.key = keys.find(challenge, req.Auth); g.key == nil {
			return g, unknownKey(req.Auth)
		}
		if !g.key.May(right, req.Dataset) {
			return g, authenticationFailed("The key %q may not %s dataset %s; its owner adds the right in the key file", g.key.Name, right, req.Dataset)
		}
	}
	switch {
	case req.Encoding != lsg.EncodingDBN:
		return g, fmt.Errorf("encoding=%s is not served here; use encoding=dbn", req.Encoding)
	case req.Compression != lsg.CompressionNone:
		return g, fmt.Errorf("compression=%s is not served here; use compression=none", req.Compression)
	case looksLikeKey(req.Producer), looksLikeKey(req.Stream):
		return g, errors.New("the name of the producer or its stream looks like a key, and would be kept with its records; a key only answers the challenge")
	}
	if err := journal.CheckDataset(req.Dataset); err != nil || keys == nil {
		return g, err
	}
	use := s.uses.of(g.key)
	if use == nil { // gone since the keys were looked at
		return g, unknownKey(req.Auth)
	}
	if err := use.enter(g.key, right == RightPublish && s.producers.holds(req, use)); err != nil {
		return g, err
	}
	g.use, g.back = use, new(atomic.Bool)
	return g, nil
}

// authenticationFailed says why a key is refused. It begins as users of the Live protocol know it, and clients look for it.
func authenticationFailed(why string, args ...any) error {
	return errors.New("Authentication failed. " + fmt.Sprintf(why, args...))
}

// unknownKey names a key by what every client sends of it in clear. A client that
// sent the key itself must not read it again.
func unknownKey(response string) error {
	bucket := lsg.Bucket(response)
	if len(bucket) != bucketSize {
		return authenticationFailed("auth= is not the answer to the challenge; write the SHA-256 of CHALLENGE|KEY in hex, a dash and the key's last 5 characters")
	}
	return authenticationFailed("This is an unknown key ending in %q", bucket)
}

// entitled says why a key that was let in may not go on: nil when it may.
func (r *Keyring) entitled(k *Key, right Right, dataset string) error {
	if r == nil || k == nil {
		return nil
	}
	now := r.same(k)
	switch {
	case now == nil:
		return fmt.Errorf("key %q was revoked: the key file has it no more", k.Name)
	case !now.May(right, dataset):
		return fmt.Errorf("key %q was revoked for this: it may no longer %s dataset %s", k.Name, right, dataset)
	}
	return nil
}

// socketClosed is the end of a connection that was accepted.
func (s *Server) socketClosed(g grant) {
	s.sockets.Add(-1)
	g.giveBack()
}

func keyName(k *Key) string {
	if k == nil {
		return "open"
	}
	return k.Name
}
