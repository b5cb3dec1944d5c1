// Package grant is the ticket with which a browser, or a program, opens a remote access
// at the gateway: made by one service, the control centre (CCC), for another, the gateway
// (ARA), good once and for a minute. It also has the words that CCC, ARA and PBX share
// about a remote access: [SessionID], [Service], [State], [Cause].
//
//	text, err := grant.Sign(creds, grant.Grant{…})               // service/ccc
//	g, err := grant.Verify(creds, now, ccc, audience, text)      // service/ara
//	err = used.Use(g, now)                                       // once
//
// A grant lets somebody talk to the gateway and nothing more: whether a byte reaches the
// PBX is the PBX's decision, and so is for how long. A new grant for the same session
// therefore never extends it.
//
// A grant is a JWS of typ "ara-grant+jws" (package jws) with a JSON payload:
//
//	grant, aud, session, serial, epoch, service, target, user, tenant,
//	browser (base64url of 32 bytes), iat and exp (Unix seconds)
//
// The package is not covered by the compatibility promise.
package grant

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/jws"
)

const typ = "ara-grant+jws"

const (
	// MaxLife bounds the time from issue to expiry.
	MaxLife = time.Minute
	// Leeway is how far the clocks of issuer and verifier may be apart.
	Leeway = 5 * time.Second
	// MaxBytes bounds a signed grant: one certificate chain and little text.
	MaxBytes = 8 << 10
	// MaxName bounds user and tenant, in bytes.
	MaxName = 256
	// maxAudience is the length of a DNS name (RFC 1035 §2.3.4).
	maxAudience = 253
)

// What [Sign], [Verify] and [Used.Use] fail with; compare with errors.Is.
var (
	// ErrGrant: it is not signed as it has to be, or its fields are wrong.
	ErrGrant = errors.New("unusable grant")
	// ErrAudience: it is for another gateway or another host of it.
	ErrAudience = errors.New("the grant is for another host")
	// ErrExpired: its time is over, or has not begun.
	ErrExpired = errors.New("the grant has expired")
	// ErrUsed: it was used before, or may have been.
	ErrUsed = errors.New("the grant was used")
	// ErrFull: no more grants can be remembered; try again in a minute.
	ErrFull = errors.New("too many grants at once")
)

// ID names one grant. The CCC makes it, in the form of a [SessionID].
type ID string

// Grant is what the CCC lets somebody do at the gateway.
type Grant struct {
	ID ID
	// Audience is the host that takes the grant, "<label>.<domain>" of the gateway.
	Audience string
	Session  SessionID
	Serial   identity.Serial
	// Epoch counts the owners of the serial.
	Epoch   uint64
	Service Service
	Target  string // only where Service is targeted
	// User and Tenant are shown: who it is, and for which company.
	User   string
	Tenant string
	// Browser is the SHA-256 of a secret that only the browser has that may use the
	// grant.
	Browser [32]byte
	// Issued and Expires are whole seconds, at most [MaxLife] apart.
	Issued, Expires time.Time
}

type payload struct {
	ID       ID              `json:"grant"`
	Audience string          `json:"aud"`
	Session  SessionID       `json:"session"`
	Serial   identity.Serial `json:"serial"`
	Epoch    uint64          `json:"epoch"`
	Service  Service         `json:"service"`
	Target   string          `json:"target,omitempty"`
	User     string          `json:"user"`
	Tenant   string          `json:"tenant"`
	Browser  string          `json:"browser"`
	Issued   int64           `json:"iat"`
	Expires  int64           `json:"exp"`
}

// Validate names every field that is missing or out of range.
func (g Grant) Validate() error {
	var all []error
	bad := func(wrong bool, field, want string) {
		if wrong {
			all = append(all, fmt.Errorf("%s: is not %s", field, want))
		}
	}
	bad(!validID(string(g.ID)), "grant", "an id of letters, digits and dashes")
	bad(g.Audience == "" || len(g.Audience) > maxAudience || strings.ToLower(g.Audience) != g.Audience, "aud", "a lower-case host name")
	bad(!g.Session.Valid(), "session", "an id of letters, digits and dashes")
	_, err := identity.ParseSerial(string(g.Serial))
	bad(err != nil, "serial", "ten digits")
	bad(g.Epoch == 0, "epoch", "1 or more")
	bad(!g.Service.Valid(), "service", "web, tcp, ssh or tls")
	bad(g.Service.Targeted() != ValidTarget(g.Target) || !g.Service.Targeted() && g.Target != "", "target", "the name of one, with tcp and ssh only")
	bad(!printable(g.User), "user", "a printable name")
	bad(!printable(g.Tenant), "tenant", "a printable name")
	bad(g.Browser == [32]byte{}, "browser", "a hash of 32 bytes")
	life := g.Expires.Sub(g.Issued)
	bad(g.Issued.Unix() <= 0 || life <= 0 || life > MaxLife, "exp", "at most a minute after iat")
	return errors.Join(all...)
}

// printable refuses control and invisible characters, which make a name look like
// another.
func printable(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= MaxName && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Sign makes the text of a grant. Errors wrap [ErrGrant].
func Sign(creds *enrol.Credentials, g Grant) (string, error) {
	if err := g.Validate(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrGrant, err)
	}
	text, err := json.Marshal(payload{
		ID: g.ID, Audience: g.Audience, Session: g.Session, Serial: g.Serial, Epoch: g.Epoch, Service: g.Service, Target: g.Target,
		User: g.User, Tenant: g.Tenant, Browser: base64.RawURLEncoding.EncodeToString(g.Browser[:]),
		Issued: g.Issued.Unix(), Expires: g.Expires.Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrGrant, err)
	}
	signed, err := jws.Sign(creds, typ, text, MaxBytes)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrGrant, err)
	}
	return signed, nil
}

// Verify gives the grant in text where exactly by has signed it for this audience and now
// is in its time. Whether it was used is for [Used]; who uses it, for the caller, who
// compares Browser.
func Verify(creds *enrol.Credentials, now time.Time, by identity.ID, audience, text string) (Grant, error) {
	signed, err := jws.Verify(creds, now, by, typ, text, MaxBytes)
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrGrant, err)
	}
	g, err := parse(signed)
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("%w: %w", ErrGrant, err)
	case g.Audience != audience:
		return Grant{}, ErrAudience
	case now.Add(Leeway).Before(g.Issued) || !now.Before(g.Expires):
		return Grant{}, ErrExpired
	}
	return g, nil
}

// parse reads a payload.
func parse(text []byte) (Grant, error) {
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		return Grant{}, errors.New("the payload is not the JSON of a grant")
	}
	hash, err := base64.RawURLEncoding.DecodeString(p.Browser)
	if err != nil || len(hash) != 32 {
		return Grant{}, errors.New("browser: is not base64url of 32 bytes")
	}
	g := Grant{
		ID: p.ID, Audience: p.Audience, Session: p.Session, Serial: p.Serial, Epoch: p.Epoch, Service: p.Service, Target: p.Target,
		User: p.User, Tenant: p.Tenant, Browser: [32]byte(hash), Issued: time.Unix(p.Issued, 0), Expires: time.Unix(p.Expires, 0),
	}
	return g, g.Validate()
}
