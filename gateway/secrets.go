package gateway

import (
	"regexp"
	"strings"
)

// A key is nowhere but in the key file and in its holder's hands. Clients do put
// it into the wrong field now and then, and what they send is quoted in errors,
// logs and the audit log: so all of that goes through withoutSecrets.

var (
	// wholeKey is a key as key files have it.
	wholeKey = regexp.MustCompile(`db-[0-9A-Za-z]{29}`)
	// secrets is also enough of a key to make guessing the rest worth while, since a
	// quoted text may be cut, and the answer to a challenge.
	secrets = regexp.MustCompile(`db-[0-9A-Za-z]{12,}|[0-9a-f]{24,}(-[0-9A-Za-z]{5})?`)
)

// withoutSecrets hides what may be a key, or made of one.
func withoutSecrets(text string) string { return secrets.ReplaceAllString(text, "(hidden)") }

// withoutPaths takes the data directory out of what the journal says: where files lie is the operator's business, and the log has it.
func (s *Server) withoutPaths(text string) string {
	dir := s.journal.Dir()
	if len(dir) < 2 {
		return text
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, strings.TrimSuffix(dir, "/")+"/", ""), dir, "the data directory")
}

// looksLikeKey is for names that are kept: a producer's would end up on the tapes.
func looksLikeKey(name string) bool { return wholeKey.MatchString(name) }
