package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// maxTicket bounds a ticket, in bytes: a grant and little more.
const maxTicket = 16 << 10

// ErrTicket: what was read is no ticket.
var ErrTicket = errors.New("not a ticket for remote access")

// Ticket is what a program needs to open a remote access at the gateway: the grant of the
// control centre, and the secret of the "browser" that it was made for.
type Ticket struct {
	// Origin is the session's at the gateway, "https://<label>.<domain>[:port]".
	Origin string `json:"origin"`
	// Grant is good once, until Expires.
	Grant string `json:"grant"`
	// Browser is the secret that the gateway has given at the beginning.
	Browser string    `json:"browser"`
	Expires time.Time `json:"expires_at"`
	// Session, Service and Target say what it is for.
	Session grant.SessionID `json:"session"`
	Service grant.Service   `json:"service"`
	Target  string          `json:"target"`
}

// Validate names what is missing or wrong.
func (t Ticket) Validate() error {
	u, err := url.Parse(t.Origin)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%w: origin: is not https://host", ErrTicket)
	case t.Grant == "" || len(t.Grant) > grant.MaxBytes || strings.Count(t.Grant, ".") != 2:
		return fmt.Errorf("%w: grant: is not one", ErrTicket)
	case !cookieValue(t.Browser):
		return fmt.Errorf("%w: browser: is not a secret of the gateway", ErrTicket)
	case !t.Session.Valid():
		return fmt.Errorf("%w: session: is not an id", ErrTicket)
	case !t.Service.Targeted() || !grant.ValidTarget(t.Target):
		return fmt.Errorf("%w: service: is not tcp or ssh with a target", ErrTicket)
	}
	return nil
}

// cookieValue reports whether a text is base64url, as the gateway's secrets are.
func cookieValue(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}

// ReadTicket reads one. Errors wrap [ErrTicket], or are those of r.
func ReadTicket(r io.Reader) (Ticket, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxTicket+1))
	if err != nil {
		return Ticket{}, err
	}
	if len(text) > maxTicket {
		return Ticket{}, fmt.Errorf("%w: more than %d bytes", ErrTicket, maxTicket)
	}
	return parseTicket(text)
}

func parseTicket(text []byte) (Ticket, error) {
	var t Ticket
	if json.Unmarshal(text, &t) != nil {
		return Ticket{}, fmt.Errorf("%w: not the JSON of one", ErrTicket)
	}
	if err := t.Validate(); err != nil {
		return Ticket{}, err
	}
	return t, nil
}

// Write writes the ticket, a line of JSON.
func (t Ticket) Write(w io.Writer) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(t)
}
