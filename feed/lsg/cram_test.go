package lsg

import (
	"strings"
	"testing"
)

// The vectors are those of the published clients' own tests.
func TestResponseMatchesPublishedVectors(t *testing.T) {
	const key = "db-89s9vCvwDDKPdQJ5Pb30Fyj9mNUM6"
	for challenge, want := range map[string]string{
		"j5pwMHz6vwXruJM4cOwQrQeQE0bImIzT": "6d3c875bb9f8cf503c3ed83ee5f476a3ad53f0c67706c51cf42d2db5ad8ff5a9-mNUM6",
		"t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK": "0346888c046dd0b58bbc8d71f8b1ad1a878b4da60444d2d8d33ddff415f8088b-mNUM6",
	} {
		if got := Response(challenge, key); got != want {
			t.Errorf("Response(%s) = %s, want %s", challenge, got, want)
		}
		if !Verify(challenge, key, want) {
			t.Errorf("Verify refuses the right response to %s", challenge)
		}
	}
}

func TestVerifyRefusesAnythingButTheResponse(t *testing.T) {
	const challenge, key = "j5pwMHz6vwXruJM4cOwQrQeQE0bImIzT", "db-89s9vCvwDDKPdQJ5Pb30Fyj9mNUM6"
	right := Response(challenge, key)
	for name, response := range map[string]string{
		"empty":           "",
		"bucket only":     "-mNUM6",
		"no bucket":       right[:64],
		"upper case":      strings.ToUpper(right),
		"one digit off":   "7" + right[1:],
		"longer":          right + "0",
		"other challenge": Response(strings.Repeat("x", ChallengeSize), key),
		"other key":       Response(challenge, "db-89s9vCvwDDKPdQJ5Pb30Fyj8mNUM6"),
	} {
		if Verify(challenge, key, response) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBucketIsTheEndOfTheKey(t *testing.T) {
	for response, want := range map[string]string{
		Response("c", "db-89s9vCvwDDKPdQJ5Pb30Fyj9mNUM6"): "mNUM6",
		Response("c", "abc"):                              "abc",
		"":                                                "",
		"nodash":                                          "",
		"-":                                               "",
	} {
		if got := Bucket(response); got != want {
			t.Errorf("Bucket(%q) = %q, want %q", response, got, want)
		}
	}
}

func TestChallengesAreFreshLettersAndDigits(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	seen := map[string]bool{}
	for range 100 {
		c := NewChallenge()
		if len(c) != ChallengeSize || strings.Trim(c, alphabet) != "" {
			t.Fatalf("challenge %q is not %d letters and digits", c, ChallengeSize)
		}
		if seen[c] {
			t.Fatalf("challenge %q came twice: a recorded response could be replayed", c)
		}
		seen[c] = true
	}
}

func TestGreetingIsTwoLinesThatReadBack(t *testing.T) {
	const challenge = "j5pwMHz6vwXruJM4cOwQrQeQE0bImIzT"
	greeting := AppendGreeting([]byte("before"), challenge)
	lines := strings.Split(strings.TrimPrefix(string(greeting), "before"), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("greeting %q is not two whole lines", greeting)
	}
	if v, err := ParseVersion(lines[0]); err != nil || v != Version {
		t.Errorf("ParseVersion(%q) = %q, %v", lines[0], v, err)
	}
	if c, err := ParseChallenge(lines[1]); err != nil || c != challenge {
		t.Errorf("ParseChallenge(%q) = %q, %v", lines[1], c, err)
	}
	if _, err := ParseVersion("HTTP/1.1 400 Bad Request"); err == nil {
		t.Error("a web server passes as a Live gateway")
	}
}
