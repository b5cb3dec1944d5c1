package rollout

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func hexOf(b []byte) string { return hex.EncodeToString(b[:16]) }

// apply is a system's turn. It goes on where a former one has ended, whatever ended it.
func (s *Service) apply(ctx context.Context, r store.Rollout, d store.RolloutDevice, tries int) (store.RolloutDevice, error) {
	p, code, err := s.enter(ctx, r, &d, Verb(r.Kind), true)
	if err != nil {
		return d, ignore(err)
	}
	if code != "" {
		return s.conclude(ctx, r, &d, store.DeviceRefused, code)
	}
	pbx := s.cfg.Connect(p)
	if r.Kind == store.RolloutSettings && d.Step != store.StepRestarting {
		if over, err := s.write(ctx, r, &d, pbx); err != nil {
			return s.answered(ctx, r, &d, err, tries)
		} else if over != "" {
			return s.conclude(ctx, r, &d, over, d.Code)
		}
		k, err := s.kept(d)
		if err != nil || !r.Plan.Restart || !k.Restart {
			return s.conclude(ctx, r, &d, store.DeviceDone, "")
		}
	}
	back, err := s.restart(ctx, r, &d, pbx)
	switch {
	case errors.Is(err, errNoReturn):
		return s.conclude(ctx, r, &d, store.DeviceFailed, codeNoReturn)
	case err != nil:
		return s.answered(ctx, r, &d, err, tries)
	case !back:
		return d, errLater
	}
	return s.conclude(ctx, r, &d, store.DeviceDone, "")
}

// write writes the settings, unless a former turn has. over: the system's turn has ended so,
// with the code in d.
func (s *Service) write(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (over store.RolloutDeviceState, err error) {
	version, has, err := pbx.Settings(ctx)
	if err != nil {
		return "", err
	}
	if d.Step == store.StepReading {
		if d.Seen != "" && d.Seen != version {
			d.Code = codeChanged
			return store.DeviceConflict, nil
		}
		k, err := s.compare(ctx, r, pbx, version, has)
		if err != nil {
			return "", err
		}
		if len(k.Changes) == 0 {
			d.Code = ""
			return store.DeviceUnchanged, nil
		}
		d.Step, d.Base = store.StepWriting, version
		if err := s.keep(d, k); err != nil {
			return "", err
		}
		if err := s.save(ctx, r, d); err != nil {
			return "", err
		}
	}
	k, err := s.kept(*d)
	if err != nil {
		d.Code = codeBackup
		return store.DeviceFailed, nil //nolint:nilerr // the code says it
	}
	want := wanted(k.Changes)
	if d.Step == store.StepWriting {
		switch {
		case version == d.Base:
			if _, err := pbx.Change(ctx, version, want); err != nil {
				return "", err
			}
		case len(changes(has, want)) > 0:
			d.Code = codeChanged // over another version: it was not this rollout
			return store.DeviceConflict, nil
		}
		d.Step = store.StepWritten
		if err := s.save(ctx, r, d); err != nil {
			return "", err
		}
	}
	if _, has, err = pbx.Settings(ctx); err != nil {
		return "", err
	}
	if bad := differing(has, want); len(bad) > 0 {
		d.Code = codeVerify + " " + strings.Join(bad[:min(len(bad), 10)], ",")
		return store.DeviceFailed, nil
	}
	return "", nil
}

// errNoReturn: a PBX has not come back from its restart.
var errNoReturn = errors.New("not returned")

// restart restarts a PBX, unless a former turn has, and waits for its next boot. back is
// false where it is to be looked at again later.
func (s *Service) restart(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (back bool, err error) {
	is, err := pbx.System(ctx)
	again := d.Step == store.StepRestarting
	switch {
	case err != nil && !again:
		return false, err
	case err == nil && again && is.Boot != d.Boot:
		return true, nil
	case err == nil && is.Boot == "":
		return false, pbxweb.ErrAnswer
	case err == nil:
		d.Step, d.Boot = store.StepRestarting, is.Boot
		if err := s.save(ctx, r, d); err != nil {
			return false, err
		}
		if err := pbx.Restart(ctx); err != nil {
			// What the PBX has answered it does not do; without an answer it may.
			_, answered := errors.AsType[*pbxweb.Error](err)
			if _, _, final := verdict(err); final || answered {
				return false, err
			}
		}
	}
	return s.awaitBoot(ctx, d, pbx)
}

// awaitBoot waits until a PBX has another boot.
func (s *Service) awaitBoot(ctx context.Context, d *store.RolloutDevice, pbx PBX) (bool, error) {
	deadline := time.NewTimer(s.cfg.ReturnTimeout)
	defer deadline.Stop()
	every := time.NewTicker(s.cfg.Retry)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-deadline.C:
			return false, errNoReturn
		case <-every.C:
		}
		if is, err := pbx.System(ctx); err == nil && is.Boot != "" && is.Boot != d.Boot {
			return true, nil
		}
	}
}
