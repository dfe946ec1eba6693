package lsg

import (
	"strings"
	"testing"
)

func TestWhatNeverComesIsReadAsItIsWritten(t *testing.T) {
	for _, u := range []Unresolved{
		{ID: 7, Reason: "stype_in=parent is not served here: use raw_symbol"},
		{Symbol: "it's': 'x", Reason: "r"},
		Ambiguous("BB", []string{"bB", "Bb"}),
	} {
		if back, ok := ParseUnresolved(u.Text()); !ok || back.Text() != u.Text() || back.ID != u.ID {
			t.Errorf("%+v reads back as %+v, %v", u, back, ok)
		}
	}
	for _, text := range []string{"", "Failed to resolve symbol 'X'", "Failed to resolve symbol '': x", "Failed to resolve symbols of subscription request x: y", "Failed to resolve"} {
		if u, ok := ParseUnresolved(text); ok {
			t.Errorf("%q is %+v", text, u)
		}
	}
	if text := Ambiguous("A", []string{"1", "2", "3", "4", "5"}).Text(); !strings.Contains(text, "1, 2, 3, 4 and others differ") {
		t.Error(text)
	}
}
