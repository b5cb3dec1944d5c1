package api

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
)

// The data of live events. The name of an event is the json name in eventTypes.

// Removed says that a system is gone.
type Removed struct {
	ID string `json:"id"`
}

// Presence says that a paired system went online or offline.
type Presence struct {
	ID        string    `json:"id"`
	Online    bool      `json:"online"`
	Unclear   bool      `json:"unclear,omitempty"`
	Since     time.Time `json:"since"`
	Transport string    `json:"transport,omitempty" enum:"quic,tcp"`
	RTT       *float64  `json:"rtt_ms,omitempty"`
	// As those of a System.
	OfflineReason string `json:"offline_reason,omitempty" enum:"relay_drain,relay_lost,lost,network,power,restart,shutdown,certificate_expired,certificate_blocked,replaced,clone,idle_timeout,protocol,operator,unknown"`
	Quarantined   bool   `json:"quarantined,omitempty"`
}

// OfferStep says how far an offer has come.
type OfferStep struct {
	SystemID string            `json:"system_id"`
	Step     pairing.OfferStep `json:"step" enum:"sent,received,declined,expired,completed,proved,failed" doc:"sent: it waits for the PBX, and says nothing about that"`
	Detail   string            `json:"detail,omitempty" doc:"The error code of the system, if it has one; otherwise why the PBX gave the offer back: rejected, reported, tries or expired"`
}

// Summary counts the tenant's systems.
type Summary struct {
	Total  int `json:"total"`
	Online int `json:"online"`
}

// AccessChange says that grants, break-glass records or hand-overs have changed.
type AccessChange struct{}

// Reset says that events were left out: the client loads everything anew.
type Reset struct{}
