package lsg

import "errors"

// Sentinels that every error of this package wraps. The texts around them name the field and the remedy, and never hold an auth value.
var (
	ErrLine      = errors.New("lsg: malformed line")            // not fields of the form key=value joined by '|'
	ErrTooLong   = errors.New("lsg: too long")                  // a line, a list or a value beyond its named limit
	ErrMissing   = errors.New("lsg: missing field")             // a field that the line cannot do without
	ErrValue     = errors.New("lsg: bad value")                 // a field whose value has no meaning
	ErrTime      = errors.New("lsg: bad time")                  // neither integer nanoseconds nor ISO 8601
	ErrForbidden = errors.New("lsg: value cannot go on a line") // holds '|' or a control character
)
