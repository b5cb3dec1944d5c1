package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

// Format is the version of the file's layout. A reader refuses a later one.
const Format = 1

// UserName names a user of the PBX.
type UserName string

// Administrator is the user that every PBX has from the beginning.
const Administrator UserName = "admin"

// Role says what a user may do.
type Role string

const (
	// RoleAdministrator may do everything in the PBX's own pages and API.
	RoleAdministrator Role = "administrator"
	// RoleUser may look at the status and change his own password.
	RoleUser Role = "user"
	// RoleCloud is the user of a pairing: system information and, where switched on,
	// call data, settings, restart and firmware, over the API only.
	RoleCloud Role = "ccc"
)

// User is somebody who can sign in.
type User struct {
	Name UserName `json:"name"`
	Role Role     `json:"role"`
	// Hash is the Argon2id hash of the password, in the PHC string format.
	Hash string `json:"hash"`
	// Disabled users cannot sign in: that of a pairing until the control centre has
	// acknowledged it.
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
	// Changed tells that the password is no longer the generated one.
	Changed bool `json:"changed,omitempty"`
}

// Switches say what may leave the PBX. CCC follows the pairing: it goes on when a
// token has been typed, and dissolves the pairing when it goes off.
type Switches struct {
	CCC        bool `json:"ccc"`
	Monitoring bool `json:"monitoring"`
	CallData   bool `json:"calldata"`
	Remote     bool `json:"remote"`
	Backup     bool `json:"backup"`
	// Configuration lets the control centre read and change settings, restart the PBX, and
	// bring firmware.
	Configuration bool `json:"configuration"`
	// Offers lets the control centre ask for a pairing.
	Offers bool `json:"offers"`
}

// Consent says whether the administrator is asked about each remote access.
type Consent string

// The consents. Empty is as [ConsentAsk].
const (
	ConsentAsk    Consent = "ask"
	ConsentAlways Consent = "always" // everybody whom the control centre lets ask
)

// Remote is what the administrator has set about remote access. Package remote has the
// sessions.
type Remote struct {
	Consent Consent `json:"remote_consent,omitempty"`
	// Minutes is how long an access lasts at most where he does not say so himself: 1 to
	// 1440. 0 is 60.
	Minutes int `json:"remote_minutes,omitempty"`
	// Targets are what can be reached besides the PBX's own pages.
	Targets []remote.Target `json:"remote_targets,omitempty"`
	// Recording is the public key of age to which terminals are recorded; empty: they are
	// not.
	Recording string `json:"remote_recording,omitempty"`
}

// Offer is a pending request for a pairing. It does nothing until somebody types its
// token.
type Offer struct {
	ID wire.OfferID `json:"id"`
	// Tenant is the legal name of who asks, Brand the brand that he sees.
	Tenant string `json:"tenant"`
	Brand  string `json:"brand,omitempty"`
	// Code is the short code that both screens show, "123 456".
	Code string `json:"code"`
	// Nonce is the control centre's.
	Nonce []byte `json:"nonce"`
	// TokenHash is the Argon2id hash of the token.
	TokenHash string `json:"token_hash"`
	// Received is when it came, by the PBX's clock; Expires is that plus its life. The
	// two carry Go's monotonic clock until the next start, so that a clock that is set
	// does not change how long the offer lives.
	Received time.Time `json:"received"`
	Expires  time.Time `json:"expires"`
	// Tries counts wrong tokens.
	Tries int `json:"tries"`
}

// Completing is a pairing whose token has been typed, and that the control centre has
// not acknowledged yet.
type Completing struct {
	Offer  wire.OfferID `json:"offer"`
	Tenant string       `json:"tenant"`
	User   UserName     `json:"user"`
	Since  time.Time    `json:"since"`
	// Version is that of the state in which it began; it goes into the message.
	Version int64 `json:"version"`
}

// Pairing is a pairing that the control centre has acknowledged.
type Pairing struct {
	ID     wire.PairingID `json:"id"`
	Tenant string         `json:"tenant"`
	// Epoch is the ownership epoch of the serial.
	Epoch uint64    `json:"epoch"`
	User  UserName  `json:"user"`
	Since time.Time `json:"since"`
	// Contact is when the control centre was last heard of, to an hour for each day of
	// Settings.ContactDays, and a day at most.
	Contact time.Time `json:"contact"`
}

// Tombstone is a dissolved pairing of which the control centre has yet to hear.
type Tombstone struct {
	Pairing wire.PairingID `json:"pairing"`
	Epoch   uint64         `json:"epoch"`
	Reason  wire.Reason    `json:"reason"`
	At      time.Time      `json:"at"`
}

// Declined is an offer that ended here without a pairing, of which the control centre
// has yet to hear.
type Declined struct {
	Offer  wire.OfferID `json:"offer"`
	Reason wire.Why     `json:"reason"`
}

// State is everything. Its fields are the keys of the file.
type State struct {
	Format int `json:"format"`
	// Version grows with each write: max(last + 1, Unix time in milliseconds). It
	// tells an old message from a new one, also after the state was lost.
	Version int64     `json:"version"`
	Created time.Time `json:"created"`
	Users   []User    `json:"users"`
	// DeviceKey signs the cookie by which a browser that has signed in before keeps
	// its own count of wrong passwords.
	DeviceKey []byte            `json:"device_key"`
	Settings  settings.Settings `json:"settings"`
	// SettingsVersion grows with each change of Settings, as Version does.
	SettingsVersion int64    `json:"settings_version"`
	Switches        Switches `json:"switches"`
	Firmware        Firmware `json:"firmware,omitzero"`
	// Changes are what people and the control centre have done, the newest last.
	Changes    []Change    `json:"changes,omitempty"`
	Remote     Remote      `json:"remote,omitzero"`
	Offers     []Offer     `json:"offers,omitempty"`
	Completing *Completing `json:"completing,omitempty"`
	Pairing    *Pairing    `json:"pairing,omitempty"`
	Tombstones []Tombstone `json:"tombstones,omitempty"`
	Declined   []Declined  `json:"declined,omitempty"`
}

// DefaultSwitches are those of a new PBX.
var DefaultSwitches = Switches{Monitoring: true, CallData: true, Configuration: true, Offers: true}

// Clone copies the state so that neither copy sees changes of the other.
func (s *State) Clone() *State {
	c := *s
	c.Users, c.Offers = slices.Clone(s.Users), slices.Clone(s.Offers)
	c.Tombstones, c.Declined = slices.Clone(s.Tombstones), slices.Clone(s.Declined)
	c.Remote.Targets = slices.Clone(s.Remote.Targets)
	c.Settings, c.Changes, c.Firmware = s.Settings.Clone(), slices.Clone(s.Changes), s.Firmware.clone()
	if s.Completing != nil {
		c.Completing = new(*s.Completing)
	}
	if s.Pairing != nil {
		c.Pairing = new(*s.Pairing)
	}
	return &c
}

// User gives the user of that name, and whether there is one.
func (s *State) User(name UserName) (User, bool) {
	if i := s.userIndex(name); i >= 0 {
		return s.Users[i], true
	}
	return User{}, false
}

func (s *State) userIndex(name UserName) int {
	return slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name })
}

// Offer gives the pending offer of that id, and whether there is one.
func (s *State) Offer(id wire.OfferID) (Offer, bool) {
	if i := s.offerIndex(id); i >= 0 {
		return s.Offers[i], true
	}
	return Offer{}, false
}

func (s *State) offerIndex(id wire.OfferID) int {
	return slices.IndexFunc(s.Offers, func(o Offer) bool { return o.ID == id })
}

// ErrCorrupt: the file does not hold a state.
var ErrCorrupt = errors.New("not a state file of a PBX")

// decode reads a state file.
func decode(data []byte) (*State, error) {
	// What an older program did not know is as in a new PBX, but for switches: nobody has
	// switched those on.
	s := &State{Settings: settings.Default()}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if s.Format != Format {
		return nil, fmt.Errorf("%w: format %d, want %d", ErrCorrupt, s.Format, Format)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

// check looks for what no step of the state machine leaves.
func (s *State) check() error {
	if u, ok := s.User(Administrator); !ok || u.Role != RoleAdministrator || u.Hash == "" {
		return fmt.Errorf("no user %q", Administrator)
	}
	var want UserName
	switch {
	case s.Pairing != nil && s.Completing != nil:
		return errors.New("paired and completing at once")
	case s.Pairing != nil:
		want = s.Pairing.User
	case s.Completing != nil:
		want = s.Completing.User
	}
	for _, u := range s.Users {
		if u.Role == RoleCloud && u.Name != want {
			return fmt.Errorf("user %q belongs to no pairing", u.Name)
		}
	}
	if want != "" {
		u, ok := s.User(want)
		if !ok || u.Role != RoleCloud {
			return fmt.Errorf("no user %q", want)
		}
		if u.Disabled != (s.Completing != nil) {
			return fmt.Errorf("user %q: disabled is %v", want, u.Disabled)
		}
	}
	return nil
}
