package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// fakeSettings are the settings of PBXs; one that has none cannot be reached.
type fakeSettings struct {
	mu  sync.Mutex
	all map[identity.Serial]*fakeSet
}

type fakeSet struct {
	mu       sync.Mutex
	version  int
	values   rollout.Values
	restarts int
	refuse   error // what it answers instead of its settings
}

func (f *fakeSettings) of(s identity.Serial) rollout.PBX {
	f.mu.Lock()
	defer f.mu.Unlock()
	if set := f.all[s]; set != nil {
		return set
	}
	return unreachable{}
}

// put gives a PBX settings.
func (f *fakeSettings) put(s identity.Serial, values string) *fakeSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	set := &fakeSet{version: 1, values: rollout.Values{}}
	if err := json.Unmarshal([]byte(values), &set.values); err != nil {
		panic(err)
	}
	if f.all == nil {
		f.all = map[identity.Serial]*fakeSet{}
	}
	f.all[s] = set
	return set
}

// edit is the PBX's own administrator at work.
func (s *fakeSet) edit(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = json.RawMessage(value)
	s.version++
}

func (s *fakeSet) get(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.values[key])
}

func (s *fakeSet) Settings(context.Context) (string, rollout.Values, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.Itoa(s.version), maps.Clone(s.values), s.refuse
}

func (s *fakeSet) Schema(context.Context) ([]rollout.Key, error) {
	return []rollout.Key{{Key: "ntp_server", Type: "string", Labels: map[string]string{"en": "Time server"}}, {Key: "country", Type: "string", RestartNeeded: true}}, nil
}

func (s *fakeSet) Try(_ context.Context, version string, values rollout.Values) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != strconv.Itoa(s.version) {
		return false, &pbxweb.Error{Status: http.StatusPreconditionFailed, Code: "version"}
	}
	bad := &pbxweb.Error{Status: http.StatusUnprocessableEntity, Code: "invalid"}
	for _, key := range values.Keys() {
		if _, known := s.values[key]; !known || bytes.Equal(values[key], []byte(`""`)) {
			bad.Fields = append(bad.Fields, pbxweb.Field{Name: key, Message: "is not a name"})
		}
	}
	if bad.Fields != nil {
		return false, bad
	}
	return values["country"] != nil, nil
}

func (s *fakeSet) Change(ctx context.Context, version string, values rollout.Values) (string, error) {
	if _, err := s.Try(ctx, version, values); err != nil {
		return "", err
	}
	for k, v := range values {
		s.edit(k, string(v))
	}
	now, _, err := s.Settings(ctx)
	return now, err
}

func (s *fakeSet) Restart(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts++
	return nil
}

func (s *fakeSet) System(context.Context) (rollout.System, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rollout.System{Boot: strconv.Itoa(s.restarts), Model: "VM", Firmware: "1.0.0"}, nil
}

func (s *fakeSet) Firmware(context.Context) (rollout.Firmware, error) {
	return rollout.Firmware{Version: "1.0.0", State: rollout.FirmwareIdle}, nil
}

// Install and Rollback are of ccc/rollout's own tests.
func (s *fakeSet) Install(context.Context, rollout.Image, bool) error { return errUnreachable }
func (s *fakeSet) Rollback(context.Context) error                     { return errUnreachable }

// unreachable is a PBX that never answers.
type unreachable struct{}

var errUnreachable = errors.New("no PBX can be reached")

func (unreachable) Settings(context.Context) (string, rollout.Values, error) {
	return "", nil, errUnreachable
}
func (unreachable) Schema(context.Context) ([]rollout.Key, error) { return nil, errUnreachable }
func (unreachable) Try(context.Context, string, rollout.Values) (bool, error) {
	return false, errUnreachable
}

func (unreachable) Change(context.Context, string, rollout.Values) (string, error) {
	return "", errUnreachable
}
func (unreachable) Restart(context.Context) error { return errUnreachable }
func (unreachable) Firmware(context.Context) (rollout.Firmware, error) {
	return rollout.Firmware{}, errUnreachable
}
func (unreachable) Install(context.Context, rollout.Image, bool) error { return errUnreachable }
func (unreachable) Rollback(context.Context) error                     { return errUnreachable }
func (unreachable) System(context.Context) (rollout.System, error) {
	return rollout.System{}, errUnreachable
}
