package wire

import (
	"encoding/json"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Limits of a remote access.
const (
	// MaxRemote bounds how long one may last.
	MaxRemote = 24 * time.Hour
	// MaxRemoteWait bounds how long a request may wait for consent.
	MaxRemoteWait = time.Hour
	// MaxReason bounds the reason that a user gives, in bytes.
	MaxReason = 512
)

// Remote asks a PBX to let somebody in. It is signed by service/ccc. It lets nobody in
// by itself: the PBX's administrator does.
type Remote struct {
	Session grant.SessionID
	Pairing PairingID
	Serial  identity.Serial
	Epoch   uint64
	// Tenant is the legal name of the company, User the name of the person who asks.
	Tenant string
	User   string
	// Reason is what the person has written, in one line.
	Reason  string
	Service grant.Service
	Target  string // only where Service is targeted
	// Life is how long the access is to last, whole seconds from the consent on.
	Life     time.Duration
	IssuedAt time.Time
	// ExpiresAt is when the request is void, by the CCC's clock. A PBX, whose clock may
	// be wrong, counts ExpiresIn, whole seconds, from the arrival.
	ExpiresAt time.Time
	ExpiresIn time.Duration
}

type remoteJSON struct {
	Session   grant.SessionID `json:"session"`
	Pairing   PairingID       `json:"pairing"`
	Serial    identity.Serial `json:"serial"`
	Epoch     uint64          `json:"epoch"`
	Tenant    string          `json:"tenant"`
	User      string          `json:"user"`
	Reason    string          `json:"reason"`
	Service   grant.Service   `json:"service"`
	Target    string          `json:"target,omitempty"`
	Seconds   int64           `json:"seconds"`
	IssuedAt  time.Time       `json:"issued_at"`
	ExpiresAt time.Time       `json:"expires_at"`
	ExpiresIn int64           `json:"expires_in_seconds"`
}

func (Remote) kind() kind { return kindRemote }

// Validate names every field that is missing or out of range.
func (r Remote) Validate() error { return r.check() }

func (r Remote) check() error {
	var c checks
	c.id("session", string(r.Session))
	c.id("pairing", string(r.Pairing))
	c.serial(r.Serial)
	if r.Epoch == 0 {
		c.fail("epoch", "is 0, they start with 1")
	}
	c.name("tenant", r.Tenant)
	c.name("user", r.User)
	c.line("reason", r.Reason, MaxReason)
	if !r.Service.Valid() {
		c.fail("service", "is not one of the list")
	}
	if r.Service.Targeted() != grant.ValidTarget(r.Target) || !r.Service.Targeted() && r.Target != "" {
		c.fail("target", "is not the name of one, which tcp and ssh need and nothing else has")
	}
	c.seconds("seconds", r.Life, MaxRemote)
	c.time("issued_at", r.IssuedAt)
	c.time("expires_at", r.ExpiresAt)
	c.seconds("expires_in_seconds", r.ExpiresIn, MaxRemoteWait)
	return c.err()
}

func (r Remote) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return json.Marshal(remoteJSON{
		Session: r.Session, Pairing: r.Pairing, Serial: r.Serial, Epoch: r.Epoch, Tenant: r.Tenant, User: r.User, Reason: r.Reason,
		Service: r.Service, Target: r.Target, Seconds: int64(r.Life / time.Second),
		IssuedAt: r.IssuedAt.UTC(), ExpiresAt: r.ExpiresAt.UTC(), ExpiresIn: int64(r.ExpiresIn / time.Second),
	})
}

func (r *Remote) decode(payload []byte) error {
	var j remoteJSON
	if err := decode(payload, &j); err != nil {
		return err
	}
	read := Remote{
		Session: j.Session, Pairing: j.Pairing, Serial: j.Serial, Epoch: j.Epoch, Tenant: j.Tenant, User: j.User, Reason: j.Reason,
		Service: j.Service, Target: j.Target, Life: seconds(j.Seconds, MaxRemote),
		IssuedAt: j.IssuedAt, ExpiresAt: j.ExpiresAt, ExpiresIn: seconds(j.ExpiresIn, MaxRemoteWait),
	}
	if err := read.check(); err != nil {
		return err
	}
	*r = read
	return nil
}

// seconds reads whole seconds; more than most become too many, so that they do not
// overflow into the range.
func seconds(n int64, most time.Duration) time.Duration {
	if n < 0 || n > int64(most/time.Second) {
		return -1
	}
	return time.Duration(n) * time.Second
}

// RemoteBody carries a signed [Remote].
type RemoteBody struct {
	Request string `json:"request"`
}

func (b RemoteBody) check() error { return statementField("request", b.Request) }

// RemoteTaken is the answer to a [RemoteBody]. The same request again gives the state of
// then.
type RemoteTaken struct {
	State grant.State `json:"state"`
}

func (t RemoteTaken) check() error {
	var c checks
	c.state(t.State)
	return c.err()
}

// RemoteEnd tells a PBX to end a session, or to forget a request for one. A PBX that does
// not have it answers the same.
type RemoteEnd struct {
	Session grant.SessionID `json:"session"`
	// Cause is user or ccc.
	Cause grant.Cause `json:"cause"`
}

func (e RemoteEnd) check() error {
	var c checks
	c.id("session", string(e.Session))
	if e.Cause != grant.CauseUser && e.Cause != grant.CauseCCC {
		c.fail("cause", "is not %s or %s", grant.CauseUser, grant.CauseCCC)
	}
	return c.err()
}

// Consent says how a PBX's administrator has let somebody in.
type Consent string

// The ways of consent. The list is append-only.
const (
	ConsentRequest Consent = "request" // accepted this request
	ConsentPIN     Consent = "pin"     // told the user a PIN
	ConsentAlways  Consent = "always"  // lets everybody in whom the CCC lets ask
)

// RemoteReport tells the CCC how a session stands. A PBX keeps its reports until the CCC
// has answered, and sends them in order; one that comes again changes nothing.
type RemoteReport struct {
	Session grant.SessionID `json:"session"`
	State   grant.State     `json:"state"` // not requested
	// At is when the state came to be, StartedAt when the session became active, by the
	// PBX's clock. StartedAt is missing where it never did.
	At        time.Time  `json:"at"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	// Until is when an active session ends by itself. It comes anew when more time is
	// consented to.
	Until *time.Time `json:"until,omitempty"`
	// Consent is there once the session was active, Cause once it is over.
	Consent Consent     `json:"consent,omitempty"`
	Cause   grant.Cause `json:"cause,omitempty"`
	// BytesIn came to the PBX, BytesOut from it, so far.
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
}

func (r RemoteReport) check() error {
	var c checks
	c.id("session", string(r.Session))
	c.state(r.State)
	if r.State == grant.Requested {
		c.fail("state", "is the CCC's own")
	}
	c.time("at", r.At)
	for field, t := range map[string]*time.Time{"started_at": r.StartedAt, "until": r.Until} {
		if t != nil {
			c.time(field, *t)
		}
	}
	if r.State == grant.Active && (r.StartedAt == nil || r.Until == nil) {
		c.fail("started_at", "and until are missing")
	}
	switch r.Consent {
	case "", ConsentRequest, ConsentPIN, ConsentAlways:
	default:
		c.fail("consent", "is not one of the list")
	}
	if (r.Consent == "") != (r.StartedAt == nil) {
		c.fail("consent", "has to be there exactly where started_at is")
	}
	if r.State.Final() != r.Cause.Valid() || !r.State.Final() && r.Cause != "" {
		c.fail("cause", "is not one of the list, or not of a session that is over")
	}
	if r.BytesIn < 0 || r.BytesOut < 0 {
		c.fail("bytes_in", "or bytes_out is below 0")
	}
	return c.err()
}
