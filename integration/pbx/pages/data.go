package pages

import (
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/calls"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Login is the page to sign in.
type Login struct {
	// Name that was typed before.
	Name string
	// Next is the path to go to afterwards.
	Next string
	// First tells that the administrator's password is the first one.
	First bool
}

// Status is the first page after signing in.
type Status struct {
	Model, Firmware string
	Started         time.Time
	// Facts of the machine; nil: they are not known.
	Facts *facts.Facts
	// Paired is who is paired; nil: nobody. New tells that it is less than a day ago.
	Paired *state.Pairing
	New    bool
	Offers int
	// First tells that the administrator's password is the first one.
	First  bool
	Tunnel Tunnel
	// Remote are the sessions that run, Asking is how many wait for consent.
	Remote []remote.Session
	Asking int
	Now    time.Time
}

// Tunnel is the connection to the cloud.
type Tunnel struct {
	// Configured: there are relays. Online: one holds the tunnel.
	Configured, Online bool
	Relay, Transport   string
	RTT                time.Duration
	Since              time.Time
	// Error is what the last try ended with; empty: nothing.
	Error string
	// Expires is when the certificate does.
	Expires time.Time
}

// CCC is the page about the control centre.
type CCC struct {
	Phase     state.Phase
	Paired    *state.Pairing
	Contact   time.Time // the last one
	Days      int       // without contact until the pairing ends
	Offers    []Offer
	Completes string // tenant of the pairing that is being completed
	// Waiting tells that somebody has asked for the page to reload by itself.
	Waiting  bool
	OffersOn bool
	Now      time.Time
	// Administrator may change something, Local may do it from here.
	Administrator, Local bool
}

// Offer is one pending offer.
type Offer struct {
	state.Offer
	// Left is how long it lives, TriesLeft how many wrong tokens it survives.
	Left      time.Duration
	TriesLeft int
}

// Users is the page of users and telephones.
type Users struct {
	Users       []state.User
	Self        state.UserName
	Subscribers []calls.Subscriber
	MinLen      int
	// Administrator may change others.
	Administrator bool
}

// Switches is the page of what may leave the PBX.
type Switches struct {
	state.Switches
	Phase state.Phase
}

// Remote is the page about remote access.
type Remote struct {
	remote.View
	state.Remote
	// On and Paired tell whether it can be asked for.
	On, Paired bool
	// Life is how long an access lasts at most where nobody says so.
	Life time.Duration
	// Targets has a line for each: name, service, address and keys.
	TargetLines string
	Recordings  []remote.Recording
	Now         time.Time
	// Local: the administrator may consent from here.
	Local bool
	// Waiting tells that somebody has asked for the page to reload by itself.
	Waiting bool
}

// Asking are the sessions that wait for consent.
func (r Remote) Asking() []remote.Session { return r.in(grant.Pending) }

// Running are the sessions that somebody may be in.
func (r Remote) Running() []remote.Session { return r.in(grant.Active) }

func (r Remote) in(state grant.State) (found []remote.Session) {
	for _, s := range r.Sessions {
		if s.State == state {
			found = append(found, s)
		}
	}
	return found
}

// Minutes is what is proposed for an access that was asked for.
func (r Remote) Minutes(asked time.Duration) int {
	return max(1, int(min(asked, r.Life)/time.Minute))
}

// Settings is the page of settings, restart and firmware.
type Settings struct {
	settings.Settings
	// Version of the settings that the form is filled with.
	Version int64
	// RestartNeeded tells that some wait for a restart.
	RestartNeeded bool
	// Changes are what was done, the newest last.
	Changes  []state.Change
	Firmware Firmware
}

// Fields are those of the form, with the texts of the values.
func (s Settings) Fields() (all []SettingsField) {
	for _, f := range settings.Fields() {
		all = append(all, SettingsField{f, f.Text(&s.Settings)})
	}
	return all
}

// SettingsField is one field of the form.
type SettingsField struct {
	settings.Field
	Text string
}

// Lately are the changes, the newest first.
func (s Settings) Lately() []state.Change {
	all := slices.Clone(s.Changes)
	slices.Reverse(all)
	return all
}

// FirmwareState says what goes on with firmware.
type FirmwareState string

// The states. While it is [FirmwareRestarting], the PBX is about to go.
const (
	FirmwareIdle       FirmwareState = "idle"
	FirmwareReceiving  FirmwareState = "receiving"
	FirmwareVerifying  FirmwareState = "verifying"
	FirmwareInstalling FirmwareState = "installing"
	FirmwareRestarting FirmwareState = "restarting"
	FirmwareFailed     FirmwareState = "failed"
)

// Firmware is what the PBX runs and what goes on, on the page and in the API.
type Firmware struct {
	// Version runs, Previous can be gone back to; empty: there is none.
	Version  string        `json:"version"`
	Previous string        `json:"previous,omitempty"`
	State    FirmwareState `json:"state"`
	// Progress of the state, 0 to 100.
	Progress int `json:"progress"`
	// Error is why the last image is not installed; nil: nothing is wrong.
	Error *FirmwareError `json:"error,omitempty"`
}

// FirmwareError has a stable word and a sentence.
type FirmwareError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Reset is the page of the factory reset.
type Reset struct {
	Paired *state.Pairing
}

// Message is a page with a heading and a text, for errors and for what is done.
type Message struct {
	Title, Text string // keys
	// Secret is shown once below the text; empty: there is none.
	Secret string
}
