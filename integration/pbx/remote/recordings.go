package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// RecordingsFile is the name of the list of recordings, a JSON object beside which they
// are.
const RecordingsFile = "recordings.json"

const (
	// MaxRecordings is how many recordings are kept; the oldest go.
	MaxRecordings = 20
	// maxRecording bounds one, in bytes, and maxTaking how many are taken at once.
	maxRecording = 8 << 20
	maxTaking    = 5
	// ageHeader is how an age file begins (age-encryption.org/v1).
	ageHeader = "age-encryption.org/v1\n"
)

// Recording is one terminal session, sealed to the administrator's key: an age file whose
// plain text is an asciicast v2. The PBX cannot read it.
type Recording struct {
	// Name is that of its file.
	Name    string          `json:"name"`
	At      time.Time       `json:"at"` // when it was complete
	Session grant.SessionID `json:"session"`
	Tenant  string          `json:"tenant"`
	User    string          `json:"user"`
	Target  string          `json:"target"`
	Bytes   int             `json:"bytes"`
}

// recordings keeps the last ones.
type recordings struct {
	disk      disk
	installed time.Time
	taking    chan struct{} // one place for each that is being taken

	mu   sync.Mutex
	list []Recording // guarded by mu; oldest first
}

// recordingsList is the file.
type recordingsList struct {
	Installed  time.Time   `json:"installed"`
	Recordings []Recording `json:"recordings"`
}

// openRecordings reads the list. Those of another owner are removed.
func openRecordings(d disk, installed time.Time) (*recordings, error) {
	r := &recordings{disk: d, installed: installed, taking: make(chan struct{}, maxTaking)}
	text, err := d.Read(RecordingsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var l recordingsList
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", RecordingsFile, ErrCorrupt, err)
	}
	r.list = l.Recordings
	if l.Installed.Equal(installed) {
		return r, nil
	}
	return r, r.write(nil)
}

// write replaces the list, and removes the files that are not on it any more.
func (r *recordings) write(list []Recording) error {
	text, err := json.MarshalIndent(recordingsList{r.installed, list}, "", "\t")
	if err != nil {
		return err
	}
	next := RecordingsFile + ".new"
	err = errors.Join(r.disk.Write(next, text), r.disk.Rename(next, RecordingsFile))
	if err != nil {
		return err
	}
	for _, old := range r.list {
		if !slices.ContainsFunc(list, func(n Recording) bool { return n.Name == old.Name }) {
			err = errors.Join(err, r.disk.Remove(old.Name))
		}
	}
	r.list = list
	return errors.Join(err, r.disk.Sync())
}

// take keeps one as far as it comes, also where its end is missing.
func (r *recordings) take(s Session, sealed io.Reader) error {
	select {
	case r.taking <- struct{}{}:
		defer func() { <-r.taking }()
	default:
		return ara.ErrRecording
	}
	text, err := io.ReadAll(io.LimitReader(sealed, maxRecording+1))
	whole := err == nil && len(text) <= maxRecording
	text = text[:min(len(text), maxRecording)]
	if !bytes.HasPrefix(text, []byte(ageHeader)) {
		return ara.ErrRecording
	}
	one := Recording{
		Name: "recording-" + strings.ToLower(rand.Text()) + ".age", At: time.Now().UTC(), Session: s.ID, Tenant: s.Tenant, User: s.User,
		Target: s.Target, Bytes: len(text),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.disk.Write(one.Name, text); err != nil {
		return err
	}
	list := append(slices.Clone(r.list), one)
	if err := r.write(slices.Delete(list, 0, max(0, len(list)-MaxRecordings))); err != nil {
		return err
	}
	if !whole {
		return ara.ErrRecording
	}
	return nil
}

// Recordings are those that are kept, newest first.
func (m *Machine) Recordings() []Recording {
	m.tapes.mu.Lock()
	defer m.tapes.mu.Unlock()
	list := slices.Clone(m.tapes.list)
	slices.Reverse(list)
	return list
}

// Recording gives the file of one of [Machine.Recordings], or ErrUnknown.
func (m *Machine) Recording(name string) ([]byte, error) {
	m.tapes.mu.Lock()
	defer m.tapes.mu.Unlock()
	if !slices.ContainsFunc(m.tapes.list, func(r Recording) bool { return r.Name == name }) {
		return nil, ErrUnknown
	}
	return m.tapes.disk.Read(name)
}

// CheckRecipient says what is wrong with a key to which recordings are to be sealed; none
// is right, too.
func CheckRecipient(s string) error {
	if s == "" {
		return nil
	}
	if _, err := age.ParseX25519Recipient(s); err != nil {
		return errors.New("is not a public key of age, age1…, as age-keygen makes one")
	}
	return nil
}

// Recipient is to whom a terminal is to be sealed. See [ara.Recorder].
func (g gateway) Recipient(_ context.Context, id grant.SessionID) (string, error) {
	s, ok := g.m.Session(id)
	switch {
	case !ok:
		return "", ErrUnknown
	case s.State != grant.Active:
		return "", ErrState
	case s.Service != grant.SSH:
		return "", nil
	}
	return g.m.cfg.Policy().Recording, nil
}

// Record takes a recording of a session that is active, where the administrator wants
// them.
func (g gateway) Record(ctx context.Context, id grant.SessionID, sealed io.Reader) error {
	to, err := g.Recipient(ctx, id)
	if err != nil {
		return err
	}
	s, ok := g.m.Session(id)
	if to == "" || !ok {
		return ara.ErrRecording
	}
	return g.m.tapes.take(s, sealed)
}
