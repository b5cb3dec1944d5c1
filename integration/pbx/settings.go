package pbx

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// errUnchanged: there is nothing to write.
var errUnchanged = errors.New("nothing changes")

// tag is the ETag (RFC 9110 §8.8.3) of a version of the settings.
func tag(s *state.State) string { return `"` + strconv.FormatInt(s.SettingsVersion, 10) + `"` }

func (p *PBX) apiSettings(w http.ResponseWriter, _ *http.Request, _ login) error {
	s := p.store.View()
	w.Header().Set("ETag", tag(s))
	writeJSON(w, http.StatusOK, s.Settings)
	return nil
}

// Field is a setting as the API describes it.
type Field struct {
	settings.Field
	// Min and Max are left out where they say nothing.
	Min *int `json:"min,omitempty"`
	Max *int `json:"max,omitempty"`
	// Labels name it in each of [pages.Languages].
	Labels map[string]string `json:"labels"`
}

func (p *PBX) apiSchema(w http.ResponseWriter, _ *http.Request, _ login) error {
	all := make([]Field, 0, len(settings.Fields()))
	for _, f := range settings.Fields() {
		labels := make(map[string]string, len(pages.Languages))
		for _, lang := range pages.Languages {
			labels[lang] = pages.Text(lang, "settings."+f.Key)
		}
		one := Field{Field: f, Labels: labels}
		if f.Type != settings.Boolean {
			one.Min, one.Max = &f.Min, &f.Max
		}
		all = append(all, one)
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// Changes is the answer to a change of settings, one that was only tried too.
type Changes struct {
	Changes []settings.Change `json:"changes"`
	// RestartNeeded tells that one of them takes effect with the next restart.
	RestartNeeded bool `json:"restart_needed"`
}

// baseKey is where a change of settings has the values that its sender has seen.
const baseKey = "base"

// apiSetSettings changes what the body names, if the settings are still those of If-Match.
func (p *PBX) apiSetSettings(w http.ResponseWriter, r *http.Request, l login) error {
	var values map[string]json.RawMessage
	if err := readJSON(r, &values); err != nil {
		return err
	}
	var base map[string]json.RawMessage
	if raw, ok := values[baseKey]; ok {
		if err := json.Unmarshal(raw, &base); err != nil {
			return wrongSettings([]settings.Wrong{{Key: baseKey, Problem: "is not an object of settings"}})
		}
		delete(values, baseKey)
	}
	dry := r.URL.Query().Get("dry_run") == "true"
	match := r.Header.Get("If-Match")
	switch {
	case match == "" && !dry:
		return problem(http.StatusPreconditionRequired, "version_required", "If-Match has to name the version that is changed.")
	case p.cfg.Fault == FaultRefuse && !dry:
		return errFaulty
	}
	set := func(s *settings.Settings) error { return wrongSettings(settings.Apply(s, values)) }
	changes, err := p.setSettings(set, p.change(r, l, state.DoneSettings), dry, func(s *state.State) error {
		w.Header().Set("ETag", tag(s))
		if match == "" || match == tag(s) {
			return nil
		}
		pr := problem(http.StatusPreconditionFailed, "version", "Somebody else has changed the settings meanwhile.")
		seen := s.Settings.Clone()
		settings.Apply(&seen, base) // what it does not know is no difference
		pr.Changed = settings.Diff(&seen, &s.Settings)
		return pr
	})
	if err != nil {
		return err
	}
	if !dry {
		w.Header().Set("ETag", tag(p.store.View()))
	}
	writeJSON(w, http.StatusOK, Changes{changes, settings.RestartNeeded(changes)})
	return nil
}

// setSettings changes the settings of now, if check lets it. With dry nothing is written.
func (p *PBX) setSettings(set func(*settings.Settings) error, by state.Change, dry bool, check func(*state.State) error) (changes []settings.Change, err error) {
	err = p.update(func(s *state.State) error {
		if err := check(s); err != nil {
			return err
		}
		next := s.Settings.Clone()
		if err := set(&next); err != nil {
			return err
		}
		changes = s.SetSettings(next, by)
		if dry || len(changes) == 0 {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return changes, nil
	}
	p.wake(false) // the time without contact may have changed
	return changes, err
}

// wrongSettings is nil where nothing is wrong.
func wrongSettings(wrong []settings.Wrong) error {
	if len(wrong) == 0 {
		return nil
	}
	bad := problem(http.StatusUnprocessableEntity, "invalid", "Some settings cannot be used.")
	for _, one := range wrong {
		bad.Errors = append(bad.Errors, FieldError{"body." + one.Key, one.Problem})
	}
	return bad
}

func (p *PBX) webSettings(_ *http.Request, _ login, pg *pages.Page) {
	s := p.store.View()
	pg.Data = pages.Settings{
		Settings: s.Settings, Version: s.SettingsVersion, Changes: s.Changes, RestartNeeded: p.restartNeeded(),
		Firmware: p.firmware(),
	}
}

// errOverwritten: the settings are no longer those that the form was filled with.
var errOverwritten = problem(http.StatusConflict, "version", "Somebody else has changed the settings meanwhile.")

func (p *PBX) webSetSettings(r *http.Request, l login) (pages.Notice, error) {
	set := func(s *settings.Settings) error {
		for _, f := range settings.Fields() {
			f.SetText(s, r.PostFormValue(f.Key))
		}
		return wrongSettings(settings.Check(s))
	}
	_, err := p.setSettings(set, p.change(r, l, state.DoneSettings), false, func(s *state.State) error {
		if fmt.Sprint(s.SettingsVersion) != r.PostFormValue("version") {
			return errOverwritten
		}
		return nil
	})
	return good("saved"), err
}

func (p *PBX) webRestart(r *http.Request, l login) (pages.Notice, error) {
	if r.PostFormValue("sure") != "yes" {
		return pages.Notice{}, nil
	}
	return good("restart.done"), p.restart(r, l)
}

func (p *PBX) webRollback(r *http.Request, l login) (pages.Notice, error) {
	if r.PostFormValue("sure") != "yes" {
		return pages.Notice{}, nil
	}
	return good("restart.done"), p.rollback(r, l)
}
