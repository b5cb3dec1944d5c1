package rollout

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// revertTries is how often the settings of a PBX are read anew that others change at the same
// time.
const revertTries = 3

// revert sets a system back. Doing it twice does nothing more.
func (s *Service) revert(ctx context.Context, r store.Rollout, d store.RolloutDevice, tries int) (store.RolloutDevice, error) {
	if !s.cfg.Online(d.Serial) {
		return d, errAway
	}
	p, code, err := s.enter(ctx, r, &d, Verb(r.Kind), false)
	if err != nil {
		return d, ignore(err)
	}
	if code != "" {
		return s.reverted(ctx, r, &d, store.DeviceRefused, code)
	}
	switch d.Step {
	case store.StepWriting, store.StepWritten, store.StepRestarting, store.StepRestoring, store.StepReturning:
	case store.StepNone, store.StepReading, store.StepReverted:
		return d, nil // nothing was done to it, or it had its turn
	}
	pbx := s.cfg.Connect(p)
	if r.Kind == store.RolloutFirmware {
		return s.revertFirmware(ctx, r, &d, pbx, tries)
	}
	k, err := s.kept(d)
	if err != nil {
		return s.reverted(ctx, r, &d, store.DeviceFailed, codeBackup)
	}
	state, code, err := s.setBack(ctx, r, &d, pbx, k)
	if err != nil {
		final := errors.Is(err, errNoReturn)
		if state, code = store.DeviceFailed, codeNoReturn; !final {
			state, code, final = verdict(err)
		}
		if !final {
			return s.answered(ctx, r, &d, err, tries)
		}
	}
	return s.reverted(ctx, r, &d, state, code)
}

// reverted ends the turn of a system that was to be set back: it has no other.
func (s *Service) reverted(ctx context.Context, r store.Rollout, d *store.RolloutDevice, state store.RolloutDeviceState, code string) (store.RolloutDevice, error) {
	d.Step = store.StepReverted
	return s.conclude(ctx, r, d, state, code)
}

// setBack goes on where a former turn has ended: it writes the old values, restarts the PBX
// where they take that, and looks what it has then.
func (s *Service) setBack(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, k kept) (state store.RolloutDeviceState, code string, err error) {
	if d.Step != store.StepReturning {
		if err := s.restore(ctx, r, d, pbx, k.Changes); err != nil {
			return "", "", err
		}
	}
	if d.Step == store.StepReturning || d.Step == store.StepRestoring && r.Plan.Restart && k.Restart {
		if err := s.restart(ctx, r, d, pbx, store.StepReturning); err != nil {
			return "", "", err
		}
	}
	_, has, err := pbx.Settings(ctx)
	if err != nil {
		return "", "", err
	}
	old, foreign := divideBack(has, k.Changes)
	switch {
	case len(old) > 0:
		return store.DeviceFailed, about(codeVerify, old.Keys()), nil
	case len(foreign) > 0:
		return store.DeviceConflict, about(codeChanged, foreign), nil
	}
	return store.DeviceRolledBack, "", nil
}

// divideBack gives the old values of those settings that still have the new one, and the keys of
// those that have neither.
func divideBack(has Values, all []Change) (old Values, foreign []string) {
	old = Values{}
	for _, c := range all {
		switch {
		case bytes.Equal(has[c.Key], c.Old):
		case bytes.Equal(has[c.Key], c.New) && c.Old != nil:
			old[c.Key] = c.Old
		default:
			foreign = append(foreign, c.Key)
		}
	}
	return old, foreign
}

// restore writes the old value of each setting that still has the new one. Before that it
// notes it: whoever goes on knows then that it was this rollout.
func (s *Service) restore(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, all []Change) error {
	for range revertTries {
		version, has, err := pbx.Settings(ctx)
		if err != nil {
			return err
		}
		old, _ := divideBack(has, all)
		if len(old) == 0 {
			return nil
		}
		if d.Step != store.StepRestoring {
			d.Step = store.StepRestoring
			if err := s.save(ctx, r, d); err != nil {
				return err
			}
		}
		_, err = pbx.Change(ctx, version, old)
		if e, ok := errors.AsType[*pbxweb.Error](err); !ok || e.Status != http.StatusPreconditionFailed {
			return err
		}
	}
	return &pbxweb.Error{Status: http.StatusPreconditionFailed, Code: codeChanged}
}
