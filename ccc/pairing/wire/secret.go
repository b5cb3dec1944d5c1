package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret prints as.
const redacted = "secret(redacted)"

// Secret is a user name or password that must not get into a log. It prints and
// encodes as a placeholder whatever the way; [Secret.Reveal] gives the text. The zero
// value is empty.
type Secret struct {
	// text is a function because no verb of fmt looks into one, also where the Secret
	// is in an unexported field and no method is called.
	text func() string
}

// NewSecret holds the text.
func NewSecret(text string) Secret { return Secret{text: func() string { return text }} }

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// String gives a placeholder.
func (s Secret) String() string { return redacted }

// GoString gives a placeholder.
func (s Secret) GoString() string { return redacted }

// Format writes a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue gives a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives a placeholder. The one message that carries secrets reveals them
// itself.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// UnmarshalJSON reads the text. Its error does not repeat it.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return errors.New("not a string")
	}
	*s = NewSecret(text)
	return nil
}
