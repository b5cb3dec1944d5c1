package pbx

import (
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

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
