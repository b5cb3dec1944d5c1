package rollout

import (
	"bytes"
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
	if r.Kind == store.RolloutFirmware {
		return s.bring(ctx, r, &d, pbx, tries)
	}
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
	err = s.restart(ctx, r, &d, pbx, store.StepRestarting)
	if err == nil && r.Kind == store.RolloutSettings {
		if code, err = s.survived(ctx, d, pbx); code != "" {
			return s.conclude(ctx, r, &d, store.DeviceFailed, code)
		}
	}
	switch {
	case errors.Is(err, errNoReturn):
		return s.conclude(ctx, r, &d, store.DeviceFailed, codeNoReturn)
	case err != nil:
		return s.answered(ctx, r, &d, err, tries)
	}
	return s.conclude(ctx, r, &d, store.DeviceDone, "")
}

// survived looks whether a PBX has after a restart what was written before it; otherwise it
// gives a code.
func (s *Service) survived(ctx context.Context, d store.RolloutDevice, pbx PBX) (code string, err error) {
	k, err := s.kept(d)
	if err != nil {
		return codeBackup, nil //nolint:nilerr // the code says it
	}
	return verify(ctx, pbx, wanted(k.Changes))
}

// verify gives a code where a PBX has not what was written.
func verify(ctx context.Context, pbx PBX, want Values) (code string, err error) {
	_, has, err := pbx.Settings(ctx)
	if err != nil {
		return "", err
	}
	return about(codeVerify, differing(has, want)), nil
}

// about names settings beside a code; without any there is none.
func about(code string, keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return code + " " + strings.Join(keys[:min(len(keys), 10)], ",")
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
		if d.Code = s.shown(*d, k); d.Code != "" {
			return store.DeviceConflict, nil
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
	code, err := verify(ctx, pbx, want)
	if code != "" {
		d.Code = code
		return store.DeviceFailed, nil
	}
	return "", err
}

// shown gives a code where something else would be written than was shown: a PBX may have the
// same version again with other values, or another firmware that knows other settings.
func (s *Service) shown(d store.RolloutDevice, k kept) (code string) {
	if d.Seen == "" {
		return ""
	}
	was, err := s.kept(d)
	switch {
	case err != nil:
		return codeBackup
	case !bytes.Equal(encode(was), encode(k)):
		return codeChanged
	}
	return ""
}

// errNoReturn: a PBX has not come back from its restart.
var errNoReturn = errors.New("not returned")

// restart restarts a PBX, unless a former turn has, and waits for its next boot. The step is
// kept with the boot of before.
func (s *Service) restart(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, step store.RolloutStep) error {
	is, err := pbx.System(ctx)
	again := d.Step == step
	switch {
	case err != nil && !again:
		return err
	case err == nil && is.Boot == "":
		return pbxweb.ErrAnswer
	case err == nil && again && is.Boot != d.Boot:
		return nil
	case err == nil:
		d.Step, d.Boot = step, is.Boot
		if err := s.save(ctx, r, d); err != nil {
			return err
		}
		if err := pbx.Restart(ctx); err != nil {
			// What the PBX has answered it does not do; without an answer it may.
			_, answered := errors.AsType[*pbxweb.Error](err)
			if _, _, final := verdict(err); final || answered {
				return err
			}
		}
	}
	return s.awaitBoot(ctx, d, pbx)
}

// awaitBoot waits until a PBX has another boot.
func (s *Service) awaitBoot(ctx context.Context, d *store.RolloutDevice, pbx PBX) error {
	deadline := time.NewTimer(s.cfg.ReturnTimeout)
	defer deadline.Stop()
	every := time.NewTicker(s.cfg.Retry)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errNoReturn
		case <-every.C:
		}
		if is, err := pbx.System(ctx); err == nil && is.Boot != "" && is.Boot != d.Boot {
			return nil
		}
	}
}
