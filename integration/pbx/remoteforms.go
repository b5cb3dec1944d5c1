package pbx

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// minutes reads a time in minutes; 0 stays.
func minutes(n int) time.Duration {
	if n < 0 || n > ara.MaxMinutes {
		return -1 // which nothing takes
	}
	return time.Duration(n) * time.Minute
}

// setRemote changes what is set about remote access; what it no longer lets be ends.
func (p *PBX) setRemote(change func(*state.Remote) error) error {
	records := false
	err := p.update(func(s *state.State) error {
		before := s.Remote.Recording
		defer func() { records = before == "" && s.Remote.Recording != "" }()
		if err := change(&s.Remote); err != nil {
			return err
		}
		return p.checkRemote(s.Remote)
	})
	if err == nil {
		p.remote.Recheck()
		if records {
			p.remote.CutUnrecorded()
		}
	}
	return err
}

// checkRemote lists every field that cannot be used.
func (p *PBX) checkRemote(set state.Remote) error {
	bad := problem(http.StatusUnprocessableEntity, "invalid", "Some settings cannot be used.")
	if c := set.Consent; c != "" && c != state.ConsentAsk && c != state.ConsentAlways {
		bad.Errors = append(bad.Errors, FieldError{"body.remote_consent", "is not ask or always"})
	}
	if set.Minutes < 0 || set.Minutes > ara.MaxMinutes {
		bad.Errors = append(bad.Errors, FieldError{"body.remote_minutes", fmt.Sprintf("is not a number from 1 to %d", ara.MaxMinutes)})
	}
	if err := (remote.Dialer{Own: p.cfg.OwnServices}).Check(set.Targets); err != nil {
		bad.Errors = append(bad.Errors, FieldError{"body.remote_targets", err.Error()})
	}
	if err := remote.CheckRecipient(set.Recording); err != nil {
		bad.Errors = append(bad.Errors, FieldError{"body.remote_recording", err.Error()})
	}
	if len(bad.Errors) > 0 {
		return bad
	}
	return nil
}

// remoteProblem says why something about remote access was not done.
func remoteProblem(err error) error {
	for _, k := range []struct {
		err    error
		status int
		code   string
	}{
		{remote.ErrUnknown, http.StatusNotFound, "unknown_session"},
		{remote.ErrState, http.StatusConflict, "wrong_state"},
		{remote.ErrOff, http.StatusConflict, "switched_off"},
		{remote.ErrPairing, http.StatusConflict, "not_paired"},
		{remote.ErrTarget, http.StatusConflict, "no_target"},
		{remote.ErrTooMany, http.StatusConflict, "too_many"},
		{remote.ErrLife, http.StatusUnprocessableEntity, "minutes"},
	} {
		if errors.Is(err, k.err) {
			return problem(k.status, k.code, err.Error())
		}
	}
	return err
}

// remoteView is what the API tells of remote access.
type remoteView struct {
	On       bool            `json:"on"`
	Settings state.Remote    `json:"settings"`
	Sessions []remoteSession `json:"sessions"`
	Messages []remoteMessage `json:"messages"`
	PIN      *pinView        `json:"pin,omitempty"`
	// Recordings are sealed to the administrator's key.
	Recordings []remote.Recording `json:"recordings"`
}

type remoteSession struct {
	Session   grant.SessionID `json:"session"`
	State     grant.State     `json:"state"`
	Cause     grant.Cause     `json:"cause,omitempty"`
	Tenant    string          `json:"tenant"`
	User      string          `json:"user"`
	Reason    string          `json:"reason"`
	Service   grant.Service   `json:"service"`
	Target    string          `json:"target,omitempty"`
	Minutes   int             `json:"minutes"` // asked for
	Consent   wire.Consent    `json:"consent,omitempty"`
	Received  time.Time       `json:"received_at"`
	Started   *time.Time      `json:"started_at,omitempty"`
	Remaining int64           `json:"remaining_seconds"`
	Extension int             `json:"extension_minutes,omitempty"` // asked for
	BytesIn   int64           `json:"bytes_in"`
	BytesOut  int64           `json:"bytes_out"`
}

type remoteMessage struct {
	At      time.Time       `json:"at"`
	Event   remote.Event    `json:"event"`
	Session grant.SessionID `json:"session"`
	Tenant  string          `json:"tenant"`
	User    string          `json:"user"`
	State   grant.State     `json:"state"`
	Cause   grant.Cause     `json:"cause,omitempty"`
}

type pinView struct {
	PIN       string    `json:"pin,omitempty"` // when it is made, and never again
	Expires   time.Time `json:"expires_at"`
	TriesLeft int       `json:"tries_left"`
}

func (p *PBX) apiRemote(w http.ResponseWriter, _ *http.Request, _ login) error {
	s, all, now := p.store.View(), p.remote.View(), time.Now()
	v := remoteView{On: s.Switches.Remote, Settings: s.Remote, Sessions: []remoteSession{}, Messages: []remoteMessage{}, Recordings: p.remote.Recordings()}
	for _, one := range all.Sessions {
		view := remoteSession{
			Session: one.ID, State: one.State, Cause: one.Cause, Tenant: one.Tenant, User: one.User, Reason: one.Reason,
			Service: one.Service, Target: one.Target, Minutes: int(one.Asked / time.Minute), Consent: one.Consent, Received: one.Received.UTC(),
			Remaining: int64(one.Left(now) / time.Second), Extension: int(one.Extension / time.Minute), BytesIn: one.In, BytesOut: one.Out,
		}
		if !one.Started.IsZero() {
			view.Started = new(one.Started.UTC())
		}
		v.Sessions = append(v.Sessions, view)
	}
	for _, m := range all.Messages {
		v.Messages = append(v.Messages, remoteMessage{m.At.UTC(), m.Event, m.Session, m.Tenant, m.User, m.State, m.Cause})
	}
	if all.PIN != nil {
		v.PIN = &pinView{Expires: all.PIN.Until.UTC(), TriesLeft: all.PIN.TriesLeft}
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

func (p *PBX) apiNewPIN(w http.ResponseWriter, r *http.Request, _ login) error {
	var in struct {
		Minutes int `json:"minutes"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	pin, err := p.remote.NewPIN(minutes(in.Minutes))
	if err != nil {
		return remoteProblem(err)
	}
	v := pinView{PIN: pin}
	if have := p.remote.View().PIN; have != nil {
		v.Expires, v.TriesLeft = have.Until.UTC(), have.TriesLeft
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

func (p *PBX) apiVoidPIN(w http.ResponseWriter, _ *http.Request, _ login) error {
	p.remote.VoidPIN()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// apiSetRemote replaces what the body names.
func (p *PBX) apiSetRemote(w http.ResponseWriter, r *http.Request, _ login) error {
	var set state.Remote
	err := p.setRemote(func(s *state.Remote) error {
		before := s.Targets
		s.Targets = nil // decoding would write into those of before
		if err := readJSON(r, s); err != nil {
			return err
		}
		if s.Targets == nil {
			s.Targets = before
		}
		set = *s
		return nil
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, set)
	return nil
}

// decision is what the administrator says to a request, or to the wish for more time.
type decision struct {
	Minutes   int  `json:"minutes"`
	Extension bool `json:"extension"`
}

func (p *PBX) allow(id grant.SessionID, d decision) error {
	if d.Extension {
		return p.remote.AllowExtension(id, minutes(d.Minutes))
	}
	return p.remote.Allow(id, minutes(d.Minutes))
}

func (p *PBX) refuseRemote(id grant.SessionID, d decision) error {
	if d.Extension {
		return p.remote.RefuseExtension(id)
	}
	return p.remote.Refuse(id)
}

func (p *PBX) apiAllow(w http.ResponseWriter, r *http.Request, _ login) error {
	return apiDecide(w, r, p.allow)
}

func (p *PBX) apiRefuse(w http.ResponseWriter, r *http.Request, _ login) error {
	return apiDecide(w, r, p.refuseRemote)
}

func apiDecide(w http.ResponseWriter, r *http.Request, f func(grant.SessionID, decision) error) error {
	var d decision
	if err := readJSON(r, &d); err != nil {
		return err
	}
	if err := f(grant.SessionID(r.PathValue("session")), d); err != nil {
		return remoteProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (p *PBX) apiEndRemote(w http.ResponseWriter, r *http.Request, _ login) error {
	if err := p.remote.End(grant.SessionID(r.PathValue("session")), grant.CauseAdmin); err != nil {
		return remoteProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// apiRecording gives the file of a recording.
func (p *PBX) apiRecording(w http.ResponseWriter, r *http.Request, _ login) error {
	text, err := p.remote.Recording(r.PathValue("name"))
	if err != nil {
		return remoteProblem(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+r.PathValue("name")+`"`)
	_, _ = w.Write(text) // the client has gone
	return nil
}

func (p *PBX) webRemote(r *http.Request, _ login, pg *pages.Page) {
	s := p.store.View()
	d := pages.Remote{
		View: p.remote.View(), Remote: s.Remote, On: s.Switches.Remote, Paired: s.Pairing != nil, Now: time.Now(), Local: isLocal(r),
		Life: p.remotePolicy().Life, TargetLines: targetLines(s.Remote.Targets),
		Recordings: p.remote.Recordings(),
	}
	if d.Life == 0 {
		d.Life = remote.DefaultLife
	}
	// As on the page about the control centre: not while there is a form to fill in.
	if r.URL.Query().Has(waitQuery) && len(d.Asking()) == 0 {
		d.Waiting, pg.Refresh, pg.RefreshTo = true, 5, "/remote?"+waitQuery+"&"+autoQuery
	}
	pg.Data = d
}

// formDecision reads the fields of a form.
func formDecision(r *http.Request) (grant.SessionID, decision) {
	n, err := strconv.Atoi(strings.TrimSpace(r.PostFormValue("minutes")))
	if err != nil || n < 1 {
		n = -1 // the form has to say it
	}
	return grant.SessionID(r.PostFormValue("session")), decision{n, r.PostFormValue("extension") == "yes"}
}

func (p *PBX) webAllow(r *http.Request, _ login) (pages.Notice, error) {
	id, d := formDecision(r)
	return good("remote.allowed"), p.allow(id, d)
}

func (p *PBX) webRefuse(r *http.Request, _ login) (pages.Notice, error) {
	id, d := formDecision(r)
	return good("remote.refused"), p.refuseRemote(id, d)
}

func (p *PBX) webEndRemote(r *http.Request, _ login) (pages.Notice, error) {
	return good("remote.over"), p.remote.End(grant.SessionID(r.PostFormValue("session")), grant.CauseAdmin)
}

func (p *PBX) webPIN(r *http.Request, _ login) (pages.Notice, error) {
	if r.PostFormValue("void") == "yes" {
		p.remote.VoidPIN()
		return good("remote.pin.void"), nil
	}
	_, d := formDecision(r)
	pin, err := p.remote.NewPIN(minutes(d.Minutes))
	if err != nil {
		return pages.Notice{}, err
	}
	return good("remote.pin.made", pin[:4]+" "+pin[4:]), nil
}

func (p *PBX) webSetRemote(r *http.Request, _ login) (pages.Notice, error) {
	_, d := formDecision(r)
	targets, err := readTargets(r.PostFormValue("targets"))
	if err != nil {
		return pages.Notice{}, err
	}
	return good("saved"), p.setRemote(func(s *state.Remote) error {
		*s = state.Remote{Consent: state.Consent(r.PostFormValue("consent")), Minutes: d.Minutes, Targets: targets, Recording: strings.TrimSpace(r.PostFormValue("recording"))}
		return nil
	})
}

// targetLines writes a line for each target, for a form.
func targetLines(list []remote.Target) string {
	var b strings.Builder
	for _, t := range list {
		fmt.Fprintf(&b, "%s %s %s", t.Name, t.Service, t.Address)
		for _, k := range t.HostKeys {
			fmt.Fprintf(&b, ", %s", k)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// readTargets reads what targetLines writes.
func readTargets(text string) (list []remote.Target, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		parts := strings.Split(line, ",")
		f := strings.Fields(parts[0])
		if len(f) != 3 || slices.Contains(parts[1:], "") {
			pr := problem(http.StatusUnprocessableEntity, "invalid", "Some settings cannot be used.")
			pr.Errors = []FieldError{{"body.remote_targets", "a line is not name, service and host:port"}}
			return nil, pr
		}
		t := remote.Target{Name: f[0], Service: grant.Service(f[1]), Address: f[2]}
		for _, k := range parts[1:] {
			t.HostKeys = append(t.HostKeys, strings.TrimSpace(k))
		}
		list = append(list, t)
	}
	return list, nil
}
