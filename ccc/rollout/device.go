package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sealPurpose is what the changes of a system are sealed for; their id is that of the rollout
// and the system.
const sealPurpose = "rollout changes"

// kept is what is sealed about a system: what it had and gets.
type kept struct {
	Changes []Change `json:"changes"`
	Restart bool     `json:"restart,omitempty"` // it is needed for them
	// Of firmware: the settings of before, and that the PBX has started again while the image
	// came, which is sent once more then.
	Backup Values `json:"backup,omitempty"`
	Again  bool   `json:"again,omitempty"`
}

func encode(v any) []byte {
	text, _ := json.Marshal(v) // what this is called with has JSON
	return text
}

func sealID(d store.RolloutDevice) string { return string(d.Rollout) + " " + string(d.System) }

// keep seals what changes at a system, and names it so that systems with the same changes
// have the same name, which tells nothing about them.
func (s *Service) keep(d *store.RolloutDevice, k kept) (err error) {
	text := encode(k)
	if d.Sealed, err = s.cfg.Keys.Seal(sealPurpose, sealID(*d), text); err != nil {
		return err
	}
	d.Diff = ""
	if len(k.Changes) > 0 {
		d.Diff = hexOf(s.cfg.Keys.MAC("rollout diff", string(d.Rollout), encode(kept{Changes: k.Changes, Restart: k.Restart})))
	}
	return nil
}

// kept gives what is sealed about a system.
func (s *Service) kept(d store.RolloutDevice) (k kept, err error) {
	if len(d.Sealed) == 0 {
		return k, nil
	}
	text, err := s.cfg.Keys.Open(sealPurpose, sealID(d), d.Sealed)
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	return k, err
}

// Changes gives what changes at a system of a rollout, or has changed, and whether that takes
// a restart.
func (s *Service) Changes(d store.RolloutDevice) ([]Change, bool, error) {
	k, err := s.kept(d)
	return k.Changes, k.Restart, err
}

// Codes of systems that were not dealt with. A setting is named after a space.
const (
	codeNotPaired   = "not_paired"
	codeNoRight     = "no_right"     // of who lets the rollout change something
	codeChanged     = "changed"      // other settings than were shown
	codeUnreachable = "unreachable"  // though online
	codeAnswer      = "answer"       // nonsense
	codeVerify      = "verify"       // what was written is not what can be read
	codeNoReturn    = "not_returned" // from its restart
	codeInvalid     = "invalid"      // a value, for the PBX
	codeUnsupported = "unsupported"  // by its firmware
	codeBackup      = "backup"       // what it had does not open
)

// errLater: it is to be tried again.
var errLater = errors.New("to be tried again")

// errUnanswered: it is to be tried again a few times, with ever longer waits between.
var errUnanswered = errors.New("the PBX has not answered")

// errAway: it is to be tried when the PBX is back.
var errAway = errors.New("the PBX is away")

// errSkip: the rollout is not where it was, so that the system is left alone.
var errSkip = errors.New("not now")

// enter looks whether a system may be touched, and gives its pairing. Where begun it notes
// that its turn has come.
func (s *Service) enter(ctx context.Context, r store.Rollout, d *store.RolloutDevice, verb access.Verb, begun bool) (p store.Pairing, code string, err error) {
	run := s.cfg.update
	if !begun {
		run = s.cfg.Store.View
	}
	err = run(ctx, func(tx *store.Tx) error {
		code = ""
		is, err := tx.LeasedRollout(r.ID, s.owner, now())
		if err != nil {
			return err
		}
		if is.State != r.State {
			return errSkip
		}
		if *d, err = tx.RolloutDeviceOf(r.Tenant, r.ID, d.System); err != nil {
			return err // it is another tenant's now, or gone
		}
		p, err = tx.SystemPairing(r.Tenant, d.System)
		if errors.Is(err, store.ErrNotFound) {
			code = codeNotPaired
			return nil
		}
		if err != nil {
			return err
		}
		may, err := access.Load(tx, is.Acting, r.Tenant, now())
		if err != nil {
			return err
		}
		if !may.May(verb, access.Resource{Tenant: r.Tenant, Site: d.Site, System: d.System}) {
			code = codeNoRight
			return nil
		}
		if !begun || d.State == store.DeviceRunning {
			return nil
		}
		d.State, d.Changed = store.DeviceRunning, now()
		if d.Step == store.StepNone {
			d.Step = store.StepReading
		}
		return tx.SaveRolloutDevice(*d)
	})
	return p, code, err
}

// save keeps how far a system is, as long as this process has the lease.
func (s *Service) save(ctx context.Context, r store.Rollout, d *store.RolloutDevice, events ...store.Event) error {
	d.Changed = now()
	err := s.cfg.update(ctx, func(tx *store.Tx) error {
		if _, err := tx.LeasedRollout(r.ID, s.owner, d.Changed); err != nil {
			return err
		}
		for _, e := range events {
			if err := tx.AddEvent(e); err != nil {
				return err
			}
		}
		return tx.SaveRolloutDevice(*d)
	})
	s.cfg.Notify(r.Tenant)
	return err
}

// conclude ends a system's turn with a state and a code.
func (s *Service) conclude(ctx context.Context, r store.Rollout, d *store.RolloutDevice, state store.RolloutDeviceState, code string) (store.RolloutDevice, error) {
	d.State, d.Code = state, code
	var events []store.Event
	if state == store.DeviceDone || state == store.DeviceRolledBack {
		events = append(events, store.Event{
			Tenant: r.Tenant, System: d.System, Kind: "rollout_" + string(state), Actor: r.Acting, At: now(),
			Detail: map[string]string{"rollout": r.Name, "kind": string(r.Kind)},
		})
	}
	return *d, s.save(ctx, r, d, events...)
}

// verdict makes a state and a code of what a PBX has answered; final is false where it is to
// be asked again.
func verdict(err error) (state store.RolloutDeviceState, code string, final bool) {
	e, ok := errors.AsType[*pbxweb.Error](err)
	switch {
	case errors.Is(err, pbxweb.ErrAnswer):
		return store.DeviceFailed, codeAnswer, true
	case !ok:
		return store.DeviceFailed, codeUnreachable, false
	case e.Status == http.StatusPreconditionFailed:
		return store.DeviceConflict, codeChanged, true
	case e.Status == http.StatusUnprocessableEntity:
		names := make([]string, len(e.Fields))
		for i, f := range e.Fields {
			names[i] = f.Name
		}
		return store.DeviceRefused, strings.TrimSpace(codeInvalid + " " + strings.Join(names[:min(len(names), 10)], ",")), true
	case errors.Is(e, pbxweb.ErrRefused):
		if e.Code == "" {
			return store.DeviceRefused, "forbidden", true
		}
		return store.DeviceRefused, e.Code, true
	case e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed:
		return store.DeviceRefused, codeUnsupported, true
	}
	if e.Status == http.StatusConflict && e.Code != "" && e.Code != pbxBusy {
		return store.DeviceRefused, e.Code, true
	}
	return store.DeviceFailed, codeAnswer, false
}

// pbxBusy is the code of a PBX that does something else, which ends by itself.
const pbxBusy = "busy"

// answered deals with an error of a PBX: the system's turn is over, or it is tried again.
// What was begun stays noted. Offline it waits for the PBX, without counting tries.
func (s *Service) answered(ctx context.Context, r store.Rollout, d *store.RolloutDevice, err error, tries int) (store.RolloutDevice, error) {
	if ctx.Err() != nil {
		return *d, ctx.Err()
	}
	state, code, final := verdict(err)
	switch {
	case final || r.State != store.RolloutReverting && s.cfg.Online(d.Serial) && tries+1 >= s.cfg.Tries:
		if !final {
			s.log.Debug("a PBX does not answer", "serial", d.Serial, "error", err)
		}
		return s.conclude(ctx, r, d, state, code)
	case s.cfg.Online(d.Serial):
	case r.State == store.RolloutReverting:
		return *d, errAway
	default:
		return s.conclude(ctx, r, d, store.DeviceOffline, "")
	}
	return *d, errUnanswered
}

// check reads a system before the start, and keeps what would change.
func (s *Service) check(ctx context.Context, r store.Rollout, d store.RolloutDevice, tries int) (store.RolloutDevice, error) {
	p, code, err := s.enter(ctx, r, &d, access.ConfigRead, false)
	if err != nil {
		return d, ignore(err)
	}
	if code != "" {
		d.Checked = true
		return s.conclude(ctx, r, &d, store.DeviceRefused, code)
	}
	if !s.cfg.Online(d.Serial) {
		d.Checked = true
		return s.conclude(ctx, r, &d, store.DeviceOffline, "")
	}
	err = s.look(ctx, r, &d, s.cfg.Connect(p))
	if err == nil {
		d.Checked = true
		return d, s.save(ctx, r, &d)
	}
	after, err := s.checkFailed(ctx, r, d, err, tries)
	return after, err
}

// checkFailed is answered for a system that could not be read before the start.
func (s *Service) checkFailed(ctx context.Context, r store.Rollout, d store.RolloutDevice, err error, tries int) (store.RolloutDevice, error) {
	if _, _, final := verdict(err); final || tries+1 >= s.cfg.Tries || !s.cfg.Online(d.Serial) {
		d.Checked = true
	}
	return s.answered(ctx, r, &d, err, tries)
}

// look notes what a PBX has, and what would become of it.
func (s *Service) look(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) error {
	d.State, d.Code, d.Seen, d.Diff = store.DevicePending, "", "", ""
	if r.Kind == store.RolloutRestart {
		_, err := pbx.System(ctx)
		return err
	}
	if r.Kind == store.RolloutFirmware {
		return s.lookFirmware(ctx, r, d, pbx)
	}
	version, has, err := pbx.Settings(ctx)
	if err != nil {
		return err
	}
	k, err := s.compare(ctx, r, pbx, version, has)
	if err != nil {
		return err
	}
	d.Seen = version
	if len(k.Changes) == 0 {
		d.State = store.DeviceUnchanged
	}
	return s.keep(d, k)
}

// compare gives what has to change at a PBX, which says that it would take it.
func (s *Service) compare(ctx context.Context, r store.Rollout, pbx PBX, version string, has Values) (k kept, err error) {
	var want Values
	if err := json.Unmarshal(r.Settings, &want); err != nil {
		return k, err
	}
	k.Changes = changes(has, want)
	if len(k.Changes) > 0 {
		k.Restart, err = pbx.Try(ctx, version, wanted(k.Changes))
	}
	return k, err
}

// ignore makes no error of what only means that there is nothing to do.
func ignore(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
