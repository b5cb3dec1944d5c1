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
	"maps"
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
	// MaxRecordings is how many recordings are kept; the oldest of other sessions go.
	MaxRecordings = 20
	// maxRecording bounds one, in bytes, and maxTaking how many are taken at once.
	maxRecording = 8 << 20
	maxTaking    = 5
	// ageHeader is how an age file begins (age-encryption.org/v1).
	ageHeader = "age-encryption.org/v1\n"
	// ageNonce and ageTag are bytes that the payload of such a file has beside its text,
	// ageTag for each chunk of that. So short a file has one.
	ageNonce = 16
	ageTag   = 16
	// filePrefix and fileSuffix are of the names of the files.
	filePrefix = "recording-"
	fileSuffix = ".age"
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

	mu     sync.Mutex
	list   []Recording             // guarded by mu; oldest first
	taking map[grant.SessionID]int // guarded by mu; how many are being taken
}

// recordingsList is the file.
type recordingsList struct {
	Installed  time.Time   `json:"installed"`
	Recordings []Recording `json:"recordings"`
}

// openRecordings reads the list. Those of another owner are removed, and files that a
// crash has kept from the list.
func openRecordings(d disk, installed time.Time) (*recordings, error) {
	r := &recordings{disk: d, installed: installed, taking: make(map[grant.SessionID]int)}
	text, err := d.Read(RecordingsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.removeUnlisted()
	}
	if err != nil {
		return nil, err
	}
	var l recordingsList
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", RecordingsFile, ErrCorrupt, err)
	}
	r.list = l.Recordings
	if !l.Installed.Equal(installed) {
		if err := r.write(nil); err != nil {
			return nil, err
		}
	}
	return r, r.removeUnlisted()
}

func (r *recordings) removeUnlisted() error {
	names, err := r.disk.List()
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if strings.HasPrefix(name, filePrefix) && strings.HasSuffix(name, fileSuffix) && !r.has(name) {
			err, removed = errors.Join(err, r.disk.Remove(name)), true
		}
	}
	if removed {
		err = errors.Join(err, r.disk.Sync())
	}
	return err
}

// has tells whether the list has a file.
func (r *recordings) has(name string) bool {
	return slices.ContainsFunc(r.list, func(one Recording) bool { return one.Name == name })
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
	before := r.list
	r.list = list
	for _, old := range before {
		if !r.has(old.Name) {
			err = errors.Join(err, r.disk.Remove(old.Name))
		}
	}
	return errors.Join(err, r.disk.Sync())
}

// begin takes a place for one, which end gives back. Nobody can have his own recordings
// removed by making more of them: a session that has as many as are kept gets no place.
func (r *recordings) begin(id grant.SessionID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, own := 0, r.taking[id]
	for _, n := range r.taking {
		all += n
	}
	for _, one := range r.list {
		if one.Session == id {
			own++
		}
	}
	if all >= maxTaking || own >= MaxRecordings {
		return false
	}
	r.taking[id]++
	return true
}

func (r *recordings) end(id grant.SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taking[id]--; r.taking[id] == 0 {
		delete(r.taking, id)
	}
}

// take keeps one as far as it comes, also where its end is missing. One without an event
// is not kept.
func (r *recordings) take(s Session, sealed io.Reader) error {
	if !r.begin(s.ID) {
		return ara.ErrRecording
	}
	defer r.end(s.ID)
	text, err := io.ReadAll(io.LimitReader(sealed, maxRecording+1))
	whole := err == nil && len(text) <= maxRecording
	text = text[:min(len(text), maxRecording)]
	if !bytes.HasPrefix(text, []byte(ageHeader)) {
		return ara.ErrRecording
	}
	if shows(text, s.Target) {
		if err := r.keep(s, text); err != nil {
			return err
		}
	}
	if !whole {
		return ara.ErrRecording
	}
	return nil
}

// shows tells by the length whether an event is in a recording, of which nothing else can
// be seen here: an asciicast begins with a line about the terminal.
func shows(sealed []byte, target string) bool {
	_, payload, ok := bytes.Cut(sealed, []byte("\n--- "))
	if !ok {
		return false
	}
	_, payload, _ = bytes.Cut(payload, []byte("\n"))
	title, err := json.Marshal(target)
	if err != nil {
		return false
	}
	const line, event = `{"height":1,"timestamp":1000000000,"title":,"version":2,"width":1}` + "\n", `[0.000000,"o","x"]` + "\n"
	return len(payload) >= ageNonce+ageTag+len(line)+len(title)+len(event)
}

// keep stores one, in the place of the oldest one of another session where there are as
// many as are kept.
func (r *recordings) keep(s Session, text []byte) error {
	one := Recording{
		Name: filePrefix + strings.ToLower(rand.Text()) + fileSuffix, At: time.Now().UTC(), Session: s.ID, Tenant: s.Tenant, User: s.User,
		Target: s.Target, Bytes: len(text),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.list)
	if len(list) >= MaxRecordings {
		i := slices.IndexFunc(list, func(old Recording) bool { return old.Session != s.ID })
		if i < 0 {
			return ara.ErrRecording
		}
		list = slices.Delete(list, i, i+1)
	}
	if err := r.disk.Write(one.Name, text); err != nil {
		return err
	}
	return r.write(append(list, one))
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
	if !m.tapes.has(name) {
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

// CutUnrecorded cuts what goes to the service ssh, without an end of the sessions: call it
// after the administrator has said for the first time that terminals be recorded.
func (m *Machine) CutUnrecorded() {
	m.mu.Lock()
	var cut []*Stream
	for id, l := range m.live {
		if s := m.book.find(id); s != nil && s.Service == grant.SSH {
			cut = slices.AppendSeq(cut, maps.Keys(l.streams))
		}
	}
	m.mu.Unlock()
	for _, s := range cut {
		s.cut()
	}
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
