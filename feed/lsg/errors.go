package lsg

import "errors"

// Sentinels that every error of this package wraps. The texts around them name the field and the remedy, and never hold an auth value.
var (
	ErrLine      = errors.New("malformed line")            // not fields of the form key=value joined by '|'
	ErrTooLong   = errors.New("too long")                  // a line, a list or a value beyond its named limit
	ErrMissing   = errors.New("missing field")             // a field that the line cannot do without
	ErrValue     = errors.New("bad value")                 // a field whose value has no meaning
	ErrTime      = errors.New("bad time")                  // neither integer nanoseconds nor ISO 8601
	ErrForbidden = errors.New("value cannot go on a line") // holds '|' or a control character
)
