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
	secrets = regexp.MustCompile(keys.String() + `|[0-9a-f]{24,}(-[0-9A-Za-z]{5})?`)
	// keys is enough of a key, without the answers.
	keys = regexp.MustCompile(`db-[0-9A-Za-z]{12,}`)
)

// withoutSecrets hides what may be a key, or made of one.
func withoutSecrets(text string) string { return secrets.ReplaceAllString(text, "(hidden)") }

// withoutKeys is for what a client gets back that only it has asked for: a symbol may be
// a long number in hex, and must come back as it was written.
func withoutKeys(text string) string { return keys.ReplaceAllString(text, "(hidden)") }

// withoutPaths takes the data directory out of what the journal says: where files lie is
// the operator's business, and the log has it.
func (s *Server) withoutPaths(text string) string {
	dir := strings.TrimSuffix(s.journal.Dir(), "/")
	if len(dir) < 2 {
		return text
	}
	named := regexp.MustCompile(`(^|[\s"'(])` + regexp.QuoteMeta(dir) + `/`) // a relative one may be a word of the text
	text = named.ReplaceAllString(text, "$1")
	if strings.Contains(dir, "/") {
		text = strings.ReplaceAll(text, dir, "the data directory")
	}
	return text
}

// looksLikeKey is for names that are kept: a producer's would end up on the tapes.
func looksLikeKey(name string) bool { return wholeKey.MatchString(name) }
