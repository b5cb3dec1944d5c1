package accesslog

import (
	"fmt"
	"net/http"
)

// Class is what became of an access. Its numbers are on disk: append only.
type Class uint8

// The classes.
const (
	OK      Class = iota + 1 // was served
	Refused                  // may not: certificate, sign-in, policy, malformed
	Limited                  // too often, or too many at once
	Failed                   // a fault of the server or of what is behind it
)

var classNames = [...]string{OK: "ok", Refused: "refused", Limited: "limited", Failed: "failed"}

// classes is how many there are, with 0 for none.
const classes = len(classNames)

// String gives the class as it is in the anonymous stream.
func (c Class) String() string {
	if c.valid() {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

func (c Class) valid() bool { return c > 0 && int(c) < classes }

// MarshalText gives [Class.String].
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (c *Class) UnmarshalText(text []byte) error {
	for i, name := range classNames {
		if i > 0 && name == string(text) {
			*c = Class(i) //nolint:gosec // one of a few
			return nil
		}
	}
	return fmt.Errorf("%q is not a class of accesses", text)
}

// ClassOf gives the class of an HTTP status.
func ClassOf(status int) Class {
	switch {
	case status == http.StatusTooManyRequests:
		return Limited
	case status < http.StatusBadRequest:
		return OK
	case status < http.StatusInternalServerError:
		return Refused
	default:
		return Failed
	}
}
