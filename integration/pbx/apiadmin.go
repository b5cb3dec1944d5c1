package pbx

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func (p *PBX) apiSettings(w http.ResponseWriter, _ *http.Request, _ login) error {
	writeJSON(w, http.StatusOK, p.store.View().Settings)
	return nil
}

// apiSetSettings replaces what the body names.
func (p *PBX) apiSetSettings(w http.ResponseWriter, r *http.Request, _ login) error {
	var set state.Settings
	err := p.setSettings(func(s *state.Settings) error {
		err := readJSON(r, s)
		set = *s
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, set)
	return nil
}

// setSettings changes the settings of now.
func (p *PBX) setSettings(change func(*state.Settings) error) error {
	err := p.update(func(s *state.State) error {
		if err := change(&s.Settings); err != nil {
			return err
		}
		return checkSettings(s.Settings)
	})
	if err != nil {
		return err
	}
	p.wake(false) // the time without contact may have changed
	return nil
}

// checkSettings lists every field that cannot be used.
func checkSettings(set state.Settings) error {
	bad := problem(http.StatusUnprocessableEntity, "invalid", "Some settings cannot be used.")
	fail := func(field, format string, args ...any) {
		bad.Errors = append(bad.Errors, FieldError{"body." + field, fmt.Sprintf(format, args...)})
	}
	unprintable := strings.ContainsFunc(set.Name, func(r rune) bool { return !unicode.IsPrint(r) })
	if strings.TrimSpace(set.Name) == "" || len(set.Name) > 64 || !utf8.ValidString(set.Name) || unprintable {
		fail("name", "is not a printable name of 1 to 64 bytes")
	}
	if !slices.Contains(pages.Languages, set.Language) {
		fail("language", "is not one of %s", strings.Join(pages.Languages, ", "))
	}
	if set.ContactDays < 1 || set.ContactDays > 365 {
		fail("contact_days", "is not a number from 1 to 365")
	}
	if set.CallsPerDay < 0 || set.CallsPerDay > 10_000 {
		fail("calls_per_day", "is not a number from 0 to 10000")
	}
	if len(bad.Errors) > 0 {
		return bad
	}
	return nil
}

type userView struct {
	Name     state.UserName `json:"name"`
	Role     state.Role     `json:"role"`
	Disabled bool           `json:"disabled"`
	Created  time.Time      `json:"created_at"`
}

func (p *PBX) apiUsers(w http.ResponseWriter, _ *http.Request, _ login) error {
	list := []userView{}
	for _, u := range p.store.View().Users {
		list = append(list, userView{u.Name, u.Role, u.Disabled, u.Created.UTC()})
	}
	writeJSON(w, http.StatusOK, map[string]any{"users": list})
	return nil
}

func (p *PBX) apiAddUser(w http.ResponseWriter, r *http.Request, _ login) error {
	var in struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := p.addUser(r, in.Name, in.Password); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (p *PBX) apiRemoveUser(w http.ResponseWriter, r *http.Request, _ login) error {
	if err := p.removeUser(state.UserName(r.PathValue("name"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (p *PBX) apiPassword(w http.ResponseWriter, r *http.Request, l login) error {
	var in struct {
		Current string `json:"current"`
		New     string `json:"new"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	u, err := p.confirm(r, l, in.Current)
	if err != nil {
		return err
	}
	if err := p.setPassword(r, u, l.cookie, in.New); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (p *PBX) apiSwitches(w http.ResponseWriter, _ *http.Request, _ login) error {
	writeJSON(w, http.StatusOK, p.store.View().Switches)
	return nil
}

// apiSetSwitches replaces what the body names.
func (p *PBX) apiSetSwitches(w http.ResponseWriter, r *http.Request, _ login) error {
	if err := p.setSwitches(func(s *state.Switches) error { return readJSON(r, s) }); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, p.store.View().Switches)
	return nil
}

var errNeedsToken = problem(http.StatusConflict, "needs_token", "CCC is switched on by typing a token.")

// setSwitches changes the switches of now; CCC going off dissolves, remote access going off
// ends all sessions.
func (p *PBX) setSwitches(change func(*state.Switches) error) error {
	off, remoteOff, which := false, false, anyPairing
	err := p.update(func(s *state.State) error {
		was, remote := s.Switches.CCC, s.Switches.Remote
		if err := change(&s.Switches); err != nil {
			return err
		}
		if s.Switches.CCC && !was {
			return errNeedsToken
		}
		off, s.Switches.CCC = was && !s.Switches.CCC, was // which the pairing alone moves
		remoteOff = remote && !s.Switches.Remote
		if s.Pairing != nil {
			which = s.Pairing.ID
		}
		return nil
	})
	if err == nil && remoteOff {
		p.remote.EndAll(grant.CauseSwitch)
	}
	if err != nil || !off {
		return err
	}
	_, err = p.dissolve(wire.ReasonSwitchedOff, which, nil)
	return err
}

func (p *PBX) apiReset(w http.ResponseWriter, r *http.Request, l login) error {
	var in struct {
		Password string `json:"password"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if _, err := p.confirm(r, l, in.Password); err != nil {
		return err
	}
	first, err := p.FactoryReset(r.Context())
	if err != nil {
		return err
	}
	p.signOut(w, r, l)
	writeJSON(w, http.StatusOK, map[string]any{"user": state.Administrator, "first_password": first})
	return nil
}
