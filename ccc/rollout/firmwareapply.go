package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Codes of systems that did not get firmware.
const (
	codeModel       = "model"       // the image is for another one
	codeDowngrade   = "downgrade"   // the image is older, and the plan does not permit that
	codeMinVersion  = "min_version" // the image cannot be installed over the version that runs
	codeMaintenance = "maintenance" // is not paid
	codeSignature   = "signature"   // the PBX does not take it for one of the manufacturer's
	codeInstall     = "install"     // the PBX could not install it, and says why
	codeVersion     = "version"     // it is back, and another version runs
	codeImage       = "image"       // the control centre has no such image any more
	codeSize        = "too_large"   // for the PBX
)

// errBusy: the PBX is at something else, which ends by itself.
var errBusy = errors.New("the PBX is busy")

// errImage: the file of an image cannot be read.
var errImage = errors.New("the image cannot be read")

// firmwareKey is what a change of the firmware is called among changes.
const firmwareKey = "firmware"

// verdictOn is what becomes of a system; the empty state: nothing yet.
type verdictOn struct {
	state store.RolloutDeviceState
	code  string
}

// weigh says what would become of a PBX with an image: pending where it would be installed.
func (s *Service) weigh(ctx context.Context, r store.Rollout, d store.RolloutDevice, is System) (verdictOn, error) {
	var m firmware.Manifest
	var until *time.Time
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		v, err := tx.Firmware(r.Firmware)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(v.Manifest, &m); err != nil {
			return err
		}
		system, err := tx.System(r.Tenant, d.System)
		until = system.Maintenance
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return verdictOn{store.DeviceRefused, codeImage}, nil
	case err != nil:
		return verdictOn{}, err
	case is.Model != m.Model:
		return verdictOn{store.DeviceRefused, codeModel}, nil
	case is.Firmware == m.Version:
		return verdictOn{store.DeviceUnchanged, ""}, nil
	case firmware.Compare(m.Version, is.Firmware) <= 0 && !r.Plan.Downgrade:
		return verdictOn{store.DeviceRefused, codeDowngrade}, nil
	case m.MinVersion != "" && firmware.Compare(is.Firmware, m.MinVersion) < 0:
		return verdictOn{store.DeviceRefused, codeMinVersion}, nil
	case s.cfg.RequireMaintenance && (until == nil || !now().Before(*until)):
		return verdictOn{store.DeviceRefused, codeMaintenance}, nil
	}
	return verdictOn{store.DevicePending, ""}, nil
}

// firmwareChange is the change that people see.
func firmwareChange(from, to string) []Change {
	return []Change{{Key: firmwareKey, Old: encode(from), New: encode(to)}}
}

// lookFirmware notes what a PBX runs, and what would become of it.
func (s *Service) lookFirmware(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) error {
	is, err := pbx.System(ctx)
	if err != nil {
		return err
	}
	v, err := s.weigh(ctx, r, *d, is)
	if err != nil {
		return err
	}
	d.Seen, d.State, d.Code = is.Firmware, v.state, v.code
	if v.state != store.DevicePending {
		d.Sealed = nil
		return nil
	}
	return s.keep(d, kept{Changes: firmwareChange(is.Firmware, r.FirmwareVersion), Restart: true})
}

// bring is a system's turn in a rollout of firmware. It goes on where a former one has ended:
// an image is sent only to the boot that was noted before, and to none that has it.
func (s *Service) bring(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, tries int) (store.RolloutDevice, error) {
	for _, step := range []struct {
		at store.RolloutStep
		do func(context.Context, store.Rollout, *store.RolloutDevice, PBX) (verdictOn, error)
	}{{store.StepReading, s.secure}, {store.StepWriting, s.send}, {store.StepWritten, s.awaitFirmware}} {
		if d.Step != step.at {
			continue
		}
		v, err := step.do(ctx, r, d, pbx)
		switch {
		case errors.Is(err, errBusy):
			return *d, errLater
		case err != nil:
			return s.answered(ctx, r, d, err, tries)
		case v.state != "":
			return s.conclude(ctx, r, d, v.state, v.code)
		}
	}
	return *d, errLater
}

// secure looks again whether the PBX is to get the image, keeps its settings, and notes over
// what version and in which boot it is sent.
func (s *Service) secure(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	is, err := pbx.System(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	if is.Boot == "" {
		return verdictOn{}, pbxweb.ErrAnswer
	}
	v, err := s.weigh(ctx, r, *d, is)
	if err != nil || v.state != store.DevicePending {
		return v, err
	}
	if d.Seen != "" && d.Seen != is.Firmware {
		return verdictOn{store.DeviceConflict, codeChanged}, nil
	}
	has, err := pbx.Firmware(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	if has.busy() {
		return verdictOn{}, errBusy
	}
	_, settings, err := pbx.Settings(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	d.Step, d.Base, d.Boot = store.StepWriting, is.Firmware, is.Boot
	k := kept{Changes: firmwareChange(is.Firmware, r.FirmwareVersion), Restart: true, Backup: settings, Failed: has.Failed()}
	if err := s.keep(d, k); err != nil {
		return verdictOn{}, err
	}
	return verdictOn{}, s.save(ctx, r, d)
}

// tried are failures that a PBX tells of after it has begun to install an image; with others
// it has not.
var tried = []string{"install_failed", "interrupted"}

// send sends the image, unless a former turn has.
func (s *Service) send(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	is, err := pbx.System(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	has, err := pbx.Firmware(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	k, err := s.kept(*d)
	if err != nil {
		return verdictOn{store.DeviceFailed, codeBackup}, nil //nolint:nilerr // the code says it
	}
	switch {
	case is.Boot != d.Boot || has.State == FirmwareInstalling || has.State == FirmwareRestarting:
		// The answer to it was lost. What has come of it is seen when the PBX is back.
	case is.Firmware == r.FirmwareVersion:
		return verdictOn{store.DeviceUnchanged, ""}, nil
	case has.busy():
		return verdictOn{}, errBusy
	case slices.Contains(tried, has.Failed()) && has.Failed() != k.Failed:
		return verdictOn{store.DeviceFailed, codeInstall + " " + has.Failed()}, nil
	default:
		if v, err := s.install(ctx, r, pbx); err != nil || v.state != "" {
			return v, err
		}
	}
	d.Step = store.StepWritten
	return verdictOn{}, s.save(ctx, r, d)
}

// refusals of an image by a PBX, by its codes.
var refusals = map[string]verdictOn{
	"image_key":         {store.DeviceFailed, codeSignature},
	"image_signature":   {store.DeviceFailed, codeSignature},
	"image_payload":     {store.DeviceFailed, codeSignature},
	"image_format":      {store.DeviceFailed, codeSignature},
	"image_model":       {store.DeviceRefused, codeModel},
	"image_downgrade":   {store.DeviceRefused, codeDowngrade},
	"image_min_version": {store.DeviceRefused, codeMinVersion},
}

// install has a PBX take an image, and makes a verdict of a refusal.
func (s *Service) install(ctx context.Context, r store.Rollout, pbx PBX) (verdictOn, error) {
	var v store.Firmware
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		v, err = tx.Firmware(r.Firmware)
		return err
	})
	if err == nil {
		err = pbx.Install(ctx, s.image(v), r.Plan.Downgrade)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, errImage) {
		return verdictOn{store.DeviceFailed, codeImage}, nil
	}
	e, answered := errors.AsType[*pbxweb.Error](err)
	if !answered {
		return verdictOn{}, err
	}
	if v, known := refusals[e.Code]; known {
		return v, nil
	}
	switch {
	case e.Code == "busy" || e.Code == "image_current":
		return verdictOn{}, errBusy // it is looked at again
	case e.Status == http.StatusConflict && e.Code != "":
		return verdictOn{store.DeviceRefused, e.Code}, nil
	case e.Status == http.StatusRequestEntityTooLarge:
		return verdictOn{store.DeviceRefused, codeSize}, nil
	}
	return verdictOn{}, err
}

// awaitFirmware waits until a PBX that has an image is back, and looks what it runs.
func (s *Service) awaitFirmware(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	deadline := time.NewTimer(s.cfg.InstallTimeout)
	defer deadline.Stop()
	every := time.NewTicker(s.cfg.Retry)
	defer every.Stop()
	for {
		is, err := pbx.System(ctx)
		switch {
		case err != nil || is.Boot == "":
		case is.Boot != d.Boot && is.Firmware == r.FirmwareVersion:
			return verdictOn{store.DeviceDone, ""}, nil
		case is.Boot != d.Boot:
			return verdictOn{store.DeviceFailed, codeVersion}, nil
		default:
			if has, err := pbx.Firmware(ctx); err == nil && has.State == FirmwareFailed {
				return verdictOn{store.DeviceFailed, strings.TrimSpace(codeInstall + " " + has.Failed())}, nil
			}
		}
		select {
		case <-ctx.Done():
			return verdictOn{}, ctx.Err()
		case <-deadline.C:
			return verdictOn{store.DeviceFailed, codeNoReturn}, nil
		case <-every.C:
		}
	}
}

// revertFirmware has a PBX go back to the version that it had, where it runs the one that the
// rollout has brought. It looks at the version each time, so that it is not asked twice.
func (s *Service) revertFirmware(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, tries int) (store.RolloutDevice, error) {
	err := s.goBack(ctx, r, d, pbx)
	var v verdictOn
	switch {
	case errors.Is(err, errBusy):
		return *d, errLater
	case errors.Is(err, errForeign):
		v = verdictOn{store.DeviceConflict, codeChanged}
	case err != nil:
		state, code, final := verdict(err)
		if !final {
			return s.answered(ctx, r, d, err, tries)
		}
		v = verdictOn{state, code}
	default:
		v = verdictOn{store.DeviceRolledBack, ""}
	}
	return s.reverted(ctx, r, d, v.state, v.code)
}

// errForeign: it is not what the rollout has left there.
var errForeign = errors.New("somebody else was there")

// goBack gives no error where the old version runs, and errBusy where it will soon.
func (s *Service) goBack(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) error {
	is, err := pbx.System(ctx)
	if err != nil {
		return err
	}
	has, err := pbx.Firmware(ctx)
	switch {
	case err != nil:
		return err
	case has.busy():
		return errBusy
	case is.Firmware == d.Base:
		return nil
	case is.Firmware != r.FirmwareVersion || has.Previous != d.Base:
		return errForeign
	}
	err = pbx.Rollback(ctx)
	if e, ok := errors.AsType[*pbxweb.Error](err); err == nil || ok && e.Code == "busy" {
		return errBusy
	}
	return err
}
