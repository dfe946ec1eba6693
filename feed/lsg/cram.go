package lsg

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// Sizes of the challenge-response, in bytes.
const (
	ChallengeSize = 32 // letters and digits
	KeySize       = 32 // the clients of Rust, C++ and Go refuse keys of any other size
	BucketSize    = 5  // the last bytes of the key, sent in clear so that the server finds the candidates
)

// AppendGreeting writes the two lines with which a server opens a connection. They must leave in one write: the C++ client fails when its first
// read does not hold the whole first line.
func AppendGreeting(dst []byte, challenge string) []byte {
	dst = append(dst, "lsg_version="+Version+"\ncram="...)
	dst = append(dst, challenge...)
	return append(dst, '\n')
}

// ParseVersion reads the first greeting line and returns the server's version.
func ParseVersion(line string) (string, error) { return parseOne(line, "lsg_version") }

// ParseChallenge reads the second greeting line and returns the challenge.
func ParseChallenge(line string) (string, error) { return parseOne(line, "cram") }

func parseOne(line, key string) (string, error) {
	f, err := Parse(line)
	if err != nil {
		return "", err
	}
	value, err := f.need(key)
	if err != nil {
		return "", fmt.Errorf("%w: the peer does not greet like a Live gateway; check host and port", err)
	}
	return value, nil
}

// NewChallenge returns ChallengeSize random letters and digits.
func NewChallenge() string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const even = 256 - 256%len(alphabet) // bytes at or above would favour the first letters
	challenge := make([]byte, 0, ChallengeSize)
	var random [ChallengeSize]byte
	for {
		rand.Read(random[:]) // never fails: the runtime ends the process when the system has no randomness
		for _, b := range random {
			if int(b) >= even {
				continue
			}
			challenge = append(challenge, alphabet[int(b)%len(alphabet)])
			if len(challenge) == ChallengeSize {
				return string(challenge)
			}
		}
	}
}

// Response answers a challenge: the lower-case hex SHA-256 of `challenge|key`, a dash, and the key's last BucketSize bytes.
// The formula is that of the published clients.
func Response(challenge, key string) string {
	sum := sha256.Sum256([]byte(challenge + "|" + key))
	return hex.EncodeToString(sum[:]) + "-" + key[max(0, len(key)-BucketSize):]
}

// Verify tells whether response answers challenge with key, in a time that does not depend on where they differ.
func Verify(challenge, key, response string) bool {
	return subtle.ConstantTimeCompare([]byte(Response(challenge, key)), []byte(response)) == 1
}

// Bucket returns the end of the key that a response names, "" when it names none. A server verifies only the keys that end in it.
func Bucket(response string) string {
	_, bucket, _ := strings.Cut(response, "-")
	return bucket
}
