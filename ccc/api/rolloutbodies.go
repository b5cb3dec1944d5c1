package api

import (
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// RolloutPlan is how a rollout proceeds.
type RolloutPlan struct {
	Rings        []RolloutRing  `json:"rings,omitempty" nullable:"false" maxItems:"20" doc:"One after the other; the last one has all that remain. Default: 1, 10 %, the others"`
	Parallel     int            `json:"parallel,omitempty" minimum:"1" maximum:"10000" doc:"PBXs at once. Default: 10"`
	PauseMinutes int            `json:"pause_minutes,omitempty" minimum:"0" maximum:"10080" doc:"Between two rings"`
	Window       *RolloutWindow `json:"window,omitempty" nullable:"false" doc:"When PBXs may have their turn. Default: at any time"`
	MaxFailures  int            `json:"max_failures,omitempty" minimum:"0" maximum:"10000" doc:"It halts where more of a ring have failed. Default: 0"`
	MaxPercent   int            `json:"max_percent,omitempty" minimum:"0" maximum:"100" doc:"It halts where more than this part of a ring have failed. Default: this does not count"`
	Restart      bool           `json:"restart,omitempty" doc:"Restart a PBX where a setting takes that"`
	Downgrade    bool           `json:"downgrade,omitempty" doc:"Bring firmware also where a newer version runs"`
	WaitHours    int            `json:"wait_hours,omitempty" minimum:"1" maximum:"720" doc:"How long PBXs that are offline are waited for. Default: as the server is set"`
}

// RolloutRing is how many PBXs a ring has: either of both.
type RolloutRing struct {
	Count   int `json:"count,omitempty" minimum:"1" maximum:"10000"`
	Percent int `json:"percent,omitempty" minimum:"1" maximum:"100" doc:"Of all of them"`
}

// RolloutWindow is a time of each day.
type RolloutWindow struct {
	From string `json:"from" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"hours and minutes" example:"22:00"`
	To   string `json:"to" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"hours and minutes" example:"04:00"`
	Zone string `json:"zone" minLength:"1" maxLength:"64" doc:"Of the IANA database" example:"Europe/Berlin"`
}

// SystemChoice chooses systems that fit all of what is given.
type SystemChoice struct {
	Query   string   `json:"q,omitempty" maxLength:"100" doc:"Text in serial, name, note or tags"`
	Tags    []string `json:"tags,omitempty" nullable:"false" maxItems:"20" maxLength:"40" doc:"All of these"`
	GroupID string   `json:"group_id,omitempty" maxLength:"64"`
	SiteID  string   `json:"site_id,omitempty" maxLength:"64"`
}

// NewRollout changes many systems. Which, is what they are now.
type NewRollout struct {
	Name       string            `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Kind       store.RolloutKind `json:"kind" enum:"settings,restart,firmware"`
	TemplateID string            `json:"template_id,omitempty" maxLength:"64" doc:"Whose settings, as they are now"`
	Settings   rollout.Values    `json:"settings,omitempty" maxProperties:"200" doc:"Without a template"`
	FirmwareID string            `json:"firmware_id,omitempty" maxLength:"64" doc:"The image, of a rollout of firmware"`
	SystemIDs  []string          `json:"system_ids,omitempty" nullable:"false" maxItems:"1000" maxLength:"64" doc:"These; the first ones have the first turn"`
	Filter     *SystemChoice     `json:"filter,omitempty" nullable:"false" doc:"And all paired ones that fit; those that are online first"`
	Plan       *RolloutPlan      `json:"plan,omitempty" nullable:"false"`
}

// RingProgress is how far a ring is.
type RingProgress struct {
	Ring    int            `json:"ring" doc:"From 0"`
	Systems int            `json:"systems"`
	States  map[string]int `json:"states" nullable:"false" doc:"How many systems are in a state"`
}

// Rollout is a change of many systems.
type Rollout struct {
	ID              string             `json:"id"`
	Name            string             `json:"name"`
	Kind            store.RolloutKind  `json:"kind" enum:"settings,restart,firmware"`
	State           store.RolloutState `json:"state" enum:"checking,ready,running,paused,halted,stopped,done,reverting,reverted" doc:"checking: all are read, and nothing is changed; ready: waits for its start; halted: too many have failed; reverting: what was written is set back"`
	Reason          string             `json:"reason,omitempty" enum:"failures,deadline" doc:"Why it halted or stopped"`
	TemplateID      string             `json:"template_id,omitempty"`
	TemplateVersion int64              `json:"template_version,omitempty"`
	Settings        rollout.Values     `json:"settings"`
	Firmware        *FirmwareRef       `json:"firmware,omitempty" doc:"Only of a rollout of firmware"`
	Plan            RolloutPlan        `json:"plan"`
	Ring            int                `json:"ring" doc:"That is worked on, from 0"`
	Rings           []RingProgress     `json:"rings" nullable:"false"`
	Systems         int                `json:"systems"`
	NotBefore       *time.Time         `json:"not_before,omitempty" doc:"When the next ring begins"`
	CreatedAt       time.Time          `json:"created_at"`
	By              Actor              `json:"by"`
	StartedAt       *time.Time         `json:"started_at,omitempty"`
	Deadline        *time.Time         `json:"deadline,omitempty" doc:"Until when PBXs that are offline are waited for"`
	EndedAt         *time.Time         `json:"ended_at,omitempty"`
}

// RolloutList is a page of rollouts, the newest first.
type RolloutList struct {
	Items []Rollout `json:"items" nullable:"false"`
	Next  string    `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// RolloutDevice is a system in a rollout.
type RolloutDevice struct {
	SystemID      string                   `json:"system_id"`
	Serial        string                   `json:"serial" example:"0123456789"`
	Name          string                   `json:"name"`
	Ring          int                      `json:"ring"`
	State         store.RolloutDeviceState `json:"state" enum:"pending,running,offline,done,unchanged,conflict,refused,failed,rolled_back" doc:"offline: waited for, up to the deadline; unchanged: it was so already; conflict: somebody else has changed it, and it was left alone; refused: by the PBX, or nobody may any more"`
	Code          string                   `json:"code,omitempty" doc:"Why it failed, was refused or is a conflict. Clients show codes that they do not know by this word"`
	Detail        string                   `json:"detail,omitempty" doc:"Keys of settings that it is about"`
	Changes       []SettingChange          `json:"changes" nullable:"false" doc:"That it gets or got; of firmware one, with the key firmware and the versions"`
	RestartNeeded bool                     `json:"restart_needed"`
	ChangedAt     time.Time                `json:"changed_at"`
}

// RolloutDeviceList is a page of systems, ring by ring.
type RolloutDeviceList struct {
	Items []RolloutDevice `json:"items" nullable:"false"`
	Next  string          `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// RolloutDiff is what changes in the same way at some systems.
type RolloutDiff struct {
	Diff          string          `json:"diff" doc:"Names it, for the list of systems"`
	Systems       int             `json:"systems"`
	Changes       []SettingChange `json:"changes" nullable:"false"`
	RestartNeeded bool            `json:"restart_needed"`
}

// RolloutDiffList is all of them, the most frequent first.
type RolloutDiffList struct {
	Items []RolloutDiff `json:"items" nullable:"false"`
}

// RolloutControl does something to a rollout.
type RolloutControl struct {
	Action rollout.Action `json:"action" enum:"check,start,pause,resume,stop,rollback" doc:"check: read all again; start: change what was shown; pause: begin nothing more; resume: go on, also after failures; stop: for good; rollback: set back what was written"`
}

// RolloutChange says that rollouts have progressed.
type RolloutChange struct{}

func (p *RolloutPlan) store() store.RolloutPlan {
	if p == nil {
		return store.RolloutPlan{}
	}
	out := store.RolloutPlan{
		Parallel: p.Parallel, Pause: time.Duration(p.PauseMinutes) * time.Minute, MaxFailures: p.MaxFailures, MaxPercent: p.MaxPercent,
		Restart: p.Restart, Downgrade: p.Downgrade, Wait: time.Duration(p.WaitHours) * time.Hour,
	}
	for _, r := range p.Rings {
		out.Rings = append(out.Rings, store.Ring(r))
	}
	if p.Window != nil {
		out.Window = &store.RolloutWindow{From: minutes(p.Window.From), To: minutes(p.Window.To), Zone: p.Window.Zone}
	}
	return out
}

// minutes of a time as in 22:30, which it was found to be.
func minutes(text string) int {
	h, _ := strconv.Atoi(text[:2])
	m, _ := strconv.Atoi(text[3:])
	return 60*h + m
}

func clock(m int) string {
	return time.Date(2000, 1, 1, m/60, m%60, 0, 0, time.UTC).Format("15:04")
}

func planOf(p store.RolloutPlan) RolloutPlan {
	out := RolloutPlan{
		Parallel: p.Parallel, PauseMinutes: int(p.Pause / time.Minute), MaxFailures: p.MaxFailures, MaxPercent: p.MaxPercent,
		Restart: p.Restart, Downgrade: p.Downgrade, WaitHours: int((p.Wait + time.Hour - 1) / time.Hour),
	}
	for _, r := range p.Rings {
		out.Rings = append(out.Rings, RolloutRing(r))
	}
	if w := p.Window; w != nil {
		out.Window = &RolloutWindow{From: clock(w.From), To: clock(w.To), Zone: w.Zone}
	}
	return out
}
