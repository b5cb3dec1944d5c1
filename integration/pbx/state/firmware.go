package state

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

// Firmware is what a PBX runs and ran. Each step is one write of the state, so that there
// is always one version to start with:
//
//	          Install                  Installed
//	Current ───────────► Installing ───────────────► Current, the old one is Previous
//	                         │ FailInstall, restart
//	                         └──────────► Failure, Current as it was
//
// Rollback has Current and Previous change places.
type Firmware struct {
	// Current is what starts. The zero value is what the PBX came with.
	Current Image `json:"current,omitzero"`
	// Previous is what it can go back to; nil: nothing.
	Previous *Image `json:"previous,omitempty"`
	// Installing is whole on the disk, and not yet Current.
	Installing *Image `json:"installing,omitempty"`
	// Failure is what became of the last installation; empty: nothing bad.
	Failure Failure `json:"failure,omitempty"`
}

// Image is an installed firmware image.
type Image struct {
	Version string `json:"version"`
	// SHA256 of the payload, in hex; empty for the one that the PBX came with.
	SHA256 string `json:"sha256,omitempty"`
}

// imagePrefix and imageSuffix are around the SHA-256 in the name of an image's file.
const (
	imagePrefix = "firmware-"
	imageSuffix = ".img"
)

// File is the name of the image's file; empty for the one that the PBX came with.
func (i Image) File() string {
	if i.SHA256 == "" {
		return ""
	}
	return imagePrefix + i.SHA256 + imageSuffix
}

// IsImage tells whether a file's name is that of some image.
func IsImage(name string) bool {
	return strings.HasPrefix(name, imagePrefix) && strings.HasSuffix(name, imageSuffix)
}

// Failure is a stable word for why an installation came to nothing.
type Failure string

// The failures.
const (
	FailInterrupted Failure = "interrupted"    // the PBX has started again meanwhile
	FailInstall     Failure = "install_failed" // the image could not be installed
)

// Steps that are not possible.
var (
	ErrInstalling = errors.New("firmware is being installed")
	ErrNoPrevious = errors.New("there is no previous firmware")
)

func (f Firmware) clone() Firmware {
	if f.Previous != nil {
		f.Previous = new(*f.Previous)
	}
	if f.Installing != nil {
		f.Installing = new(*f.Installing)
	}
	return f
}

// Files are the images that the PBX needs.
func (f Firmware) Files() (names []string) {
	for _, i := range []*Image{&f.Current, f.Previous, f.Installing} {
		if i != nil && i.File() != "" {
			names = append(names, i.File())
		}
	}
	return names
}

// Install begins with an image that is whole on the disk.
func (s *State) Install(i Image) error {
	if s.Firmware.Installing != nil {
		return ErrInstalling
	}
	s.Firmware.Installing, s.Firmware.Failure = &i, ""
	return nil
}

// Installed has the next start run what was being installed. came is the version that the
// PBX came with.
func (s *State) Installed(came string) {
	f := &s.Firmware
	if f.Installing == nil {
		return
	}
	f.Previous, f.Current, f.Installing = new(f.Running(came)), *f.Installing, nil
}

// Running is Current, with the version that the PBX came with where it has none of its own.
func (f *Firmware) Running(came string) Image {
	i := f.Current
	if i.SHA256 == "" {
		i.Version = came
	}
	return i
}

// FailInstall ends an installation; what was installed before stays.
func (s *State) FailInstall(why Failure) {
	s.Firmware.Installing, s.Firmware.Failure = nil, why
}

// Rollback has the next start run the previous firmware.
func (s *State) Rollback(came string) error {
	f := &s.Firmware
	switch {
	case f.Installing != nil:
		return ErrInstalling
	case f.Previous == nil:
		return ErrNoPrevious
	}
	f.Previous, f.Current, f.Failure = new(f.Running(came)), *f.Previous, ""
	return nil
}

// MaxChanges bounds State.Changes; the oldest are dropped.
const MaxChanges = 32

// Done says what was done.
type Done string

// What is noted.
const (
	DoneSettings Done = "settings"
	DoneRestart  Done = "restart"
	DoneFirmware Done = "firmware"
	DoneRollback Done = "rollback"
)

// Change is something that was done to the PBX.
type Change struct {
	At time.Time `json:"at"`
	// By is the user, and Cloud tells that it was the control centre.
	By    UserName `json:"by"`
	Cloud bool     `json:"cloud,omitempty"`
	Done  Done     `json:"done"`
	// Values are the settings that changed.
	Values []Value `json:"values,omitempty"`
	// Version is that of the firmware.
	Version string `json:"version,omitempty"`
}

// Value is a setting that changed, both as text.
type Value struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Note keeps a change.
func (s *State) Note(c Change) {
	s.Changes = append(s.Changes, c)
	s.Changes = slices.Clone(s.Changes[max(0, len(s.Changes)-MaxChanges):])
}

// SetSettings sets the settings and notes what changed, by whom. Where nothing does, the
// version stays.
func (s *State) SetSettings(set settings.Settings, by Change) []settings.Change {
	changes := settings.Diff(&s.Settings, &set)
	if len(changes) == 0 {
		return changes
	}
	by.Done = DoneSettings
	for _, c := range changes {
		old, now := c.Texts()
		by.Values = append(by.Values, Value{c.Key, old, now})
	}
	s.Note(by)
	s.Settings, s.SettingsVersion = set, s.nextSettings(by.At)
	return changes
}

func (s *State) nextSettings(now time.Time) int64 { return max(s.SettingsVersion+1, now.UnixMilli()) }
