package main

import (
	"os"
	"strings"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// keyVariables are where a key comes from, the first that is set.
var keyVariables = []string{"TAPEWIRE_KEY", "DATABENTO_API_KEY"}

// clientKey is the key to authenticate with. It has no flag, since command lines are seen by everybody on a machine.
func clientKey() string {
	if name := keyVariable(); name != "" {
		return os.Getenv(name)
	}
	return feed.OpenModeKey
}

// keyVariable is the variable that the key comes from; "" when none is set.
func keyVariable() string {
	for _, name := range keyVariables {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// refusalRemedy says what to do about a refusal. A gateway has one code for all that has to do with who asks for what, so its words tell them apart.
func refusalRemedy(code, text string) string {
	switch {
	case code == lsg.CodeFenced:
		return "\nanother publisher took over; if it sends the same, let it finish, else give each its own --producer NAME"
	case code != lsg.CodeAuth:
		return ""
	case strings.Contains(text, "may not"), strings.Contains(text, "may no longer"):
		return "\nthe gateway knows the key in " + keyVariable() + ", but its rights or datasets lack this: its owner adds them to the key's entry in the key file and has the gateway read that again (kill -HUP), or makes another key: tapewire key new --help"
	case strings.Contains(text, "revoked"):
		return "\nask the gateway's owner for a key that holds"
	case !strings.Contains(strings.ToLower(text), "authentication failed"):
		return "" // it is not about the key
	case keyVariable() == "":
		return "\nthis gateway wants a key and none is set: set TAPEWIRE_KEY to one of its key file; its owner makes one with: tapewire key new"
	}
	return "\nthe gateway does not know the key in " + keyVariable() + ": check that it is whole, that it belongs to this gateway, and that the gateway has read its key file since the key was made (kill -HUP)"
}
