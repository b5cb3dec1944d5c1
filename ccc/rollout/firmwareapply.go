package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	codeBusy        = "busy"        // for longer than an installation may take
)

// errBusy: the PBX is at something else for too long.
var errBusy = errors.New("the PBX is busy")

// errAtWork: the PBX has begun something else meanwhile. It is tried again a few times.
var errAtWork = errors.New("the PBX has begun something else")

// errNotSent: there is a verdict without the image.
var errNotSent = errors.New("not sent")

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
	}{{store.StepWriting, s.resume}, {store.StepReading, s.send}, {store.StepWritten, s.awaitImage}} {
		if d.Step != step.at {
			continue
		}
		v, err := step.do(ctx, r, d, pbx)
		switch {
		case errors.Is(err, errSkip):
			return *d, err
		case errors.Is(err, errBusy):
			return s.conclude(ctx, r, d, store.DeviceFailed, codeBusy)
		case err != nil:
			return s.answered(ctx, r, d, err, tries)
		case v.state != "":
			return s.conclude(ctx, r, d, v.state, v.code)
		}
	}
	return *d, errLater
}

// rest waits until a PBX is at nothing, or at one of some things. errBusy: it is at others for
// longer than an installation may take.
func (s *Service) rest(ctx context.Context, pbx PBX, or ...FirmwareState) error {
	deadline := time.NewTimer(s.cfg.InstallTimeout)
	defer deadline.Stop()
	every := time.NewTicker(s.cfg.Retry)
	defer every.Stop()
	for {
		has, err := pbx.Firmware(ctx)
		if err != nil || !has.busy() || slices.Contains(or, has.State) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errBusy
		case <-every.C:
		}
	}
}

// wants looks whether a PBX is to get the image: pending where it is.
func (s *Service) wants(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (is System, v verdictOn, err error) {
	if is, err = pbx.System(ctx); err != nil {
		return is, v, err
	}
	switch {
	case is.Boot == "":
		return is, v, pbxweb.ErrAnswer
	case d.Step == store.StepWriting && is.Boot != d.Boot:
		return is, v, errAtWork // what has come of it is looked at first
	}
	v, err = s.weigh(ctx, r, *d, is)
	if err == nil && v.state == store.DevicePending && d.Seen != "" && d.Seen != is.Firmware {
		v = verdictOn{store.DeviceConflict, codeChanged}
	}
	return is, v, err
}

// send sends the image. It may wait long until it is this PBX's turn to be sent one: only then
// is it noted, and only where the PBX may still be touched.
func (s *Service) send(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	if err := s.rest(ctx, pbx); err != nil {
		return verdictOn{}, err
	}
	if _, v, err := s.wants(ctx, r, d, pbx); err != nil || v.state != store.DevicePending {
		return v, err
	}
	var image store.Firmware
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		image, err = tx.Firmware(r.Firmware)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return verdictOn{store.DeviceFailed, codeImage}, nil
	}
	if err != nil {
		return verdictOn{}, err
	}
	var v verdictOn
	begun, sent := false, s.image(image)
	sent.Begin = func(ctx context.Context) (err error) {
		if err := s.still(ctx, r, d); err != nil {
			return err
		}
		if v, err = s.secure(ctx, r, d, pbx); err == nil && v.state != "" {
			err = errNotSent
		}
		begun = err == nil
		return err
	}
	err = pbx.Install(ctx, sent, r.Plan.Downgrade)
	switch {
	case begun && err != nil:
		return refusal(err)
	case begun:
		d.Step = store.StepWritten
		return verdictOn{}, s.save(ctx, r, d)
	case errors.Is(err, errNotSent):
		return v, nil
	case errors.Is(err, errImage):
		return verdictOn{store.DeviceFailed, codeImage}, nil
	}
	return verdictOn{}, err
}

// still looks after a wait whether a system may be touched as when its turn came.
func (s *Service) still(ctx context.Context, r store.Rollout, d *store.RolloutDevice) error {
	_, code, err := s.enter(ctx, r, d, Verb(r.Kind), false)
	at := now()
	if err != nil || code != "" || !open(r.Plan.Window, at) || r.Deadline != nil && !at.Before(*r.Deadline) {
		return errSkip
	}
	return nil
}

// secure looks again whether the PBX is to get the image, keeps its settings, and notes over
// what version and to which boot it is sent.
func (s *Service) secure(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	is, v, err := s.wants(ctx, r, d, pbx)
	if err != nil || v.state != store.DevicePending {
		return v, err
	}
	has, err := pbx.Firmware(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	if has.busy() {
		return verdictOn{}, errAtWork
	}
	_, settings, err := pbx.Settings(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	k, err := s.kept(*d)
	if err != nil {
		return verdictOn{store.DeviceFailed, codeBackup}, nil //nolint:nilerr // the code says it
	}
	k = kept{Changes: firmwareChange(is.Firmware, r.FirmwareVersion), Restart: true, Backup: settings, Again: k.Again}
	d.Step, d.Base, d.Boot = store.StepWriting, is.Firmware, is.Boot
	if err := s.keep(d, k); err != nil {
		return verdictOn{}, err
	}
	if err := s.save(ctx, r, d); err != nil {
		return verdictOn{}, fmt.Errorf("%w: %w", errSkip, err)
	}
	return verdictOn{}, nil
}

// tried are failures that a PBX tells of after it has begun to install an image; with others
// it has not.
var tried = []string{"install_failed", "interrupted"}

// resume sees what has come of an image that a former turn may have sent, without knowing
// whether it has come whole. Where it has not it is sent again; to another boot only once.
func (s *Service) resume(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	if err := s.rest(ctx, pbx, FirmwareInstalling); err != nil {
		return verdictOn{}, err
	}
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
	other := is.Boot != d.Boot
	switch {
	case is.Boot == "":
		return verdictOn{}, pbxweb.ErrAnswer
	case other && is.Firmware != d.Base, !other && has.State == FirmwareInstalling:
		// The answer was lost. What has come of it is seen when the PBX is back.
		d.Step = store.StepWritten
		return verdictOn{}, s.save(ctx, r, d)
	case has.busy():
		return verdictOn{}, cmp.Or(s.rest(ctx, pbx), errAtWork)
	case slices.Contains(tried, has.Failed()):
		// It may have failed so before, but no image is installed twice.
		return verdictOn{store.DeviceFailed, codeInstall + " " + has.Failed()}, nil
	case !other:
		return s.send(ctx, r, d, pbx)
	case k.Again:
		return verdictOn{store.DeviceFailed, codeVersion}, nil
	}
	k.Again, d.Step = true, store.StepReading
	if err := s.keep(d, k); err != nil {
		return verdictOn{}, err
	}
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
	"image_current":     {store.DeviceUnchanged, ""}, // another name of the same version
}

// refusal makes a verdict of the error with which an image was sent.
func refusal(err error) (verdictOn, error) {
	e, answered := errors.AsType[*pbxweb.Error](err)
	if !answered {
		return verdictOn{}, err
	}
	if v, known := refusals[e.Code]; known {
		return v, nil
	}
	switch {
	case e.Status == http.StatusConflict && e.Code != "" && e.Code != pbxBusy:
		return verdictOn{store.DeviceRefused, e.Code}, nil
	case e.Status == http.StatusRequestEntityTooLarge:
		return verdictOn{store.DeviceRefused, codeSize}, nil
	}
	return verdictOn{}, err
}

// awaitImage waits until a PBX that has an image is back with it.
func (s *Service) awaitImage(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX) (verdictOn, error) {
	return s.awaitFirmware(ctx, d, pbx, r.FirmwareVersion)
}

// awaitFirmware waits until a PBX is back that is to run another version then: done where it
// does.
func (s *Service) awaitFirmware(ctx context.Context, d *store.RolloutDevice, pbx PBX, version string) (verdictOn, error) {
	deadline := time.NewTimer(s.cfg.InstallTimeout)
	defer deadline.Stop()
	every := time.NewTicker(s.cfg.Retry)
	defer every.Stop()
	for {
		is, err := pbx.System(ctx)
		switch {
		case err != nil || is.Boot == "":
		case is.Boot != d.Boot && is.Firmware == version:
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
// rollout has brought.
func (s *Service) revertFirmware(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, tries int) (store.RolloutDevice, error) {
	v, err := s.goBack(ctx, r, d, pbx, tries)
	switch {
	case errors.Is(err, errBusy):
		v = verdictOn{store.DeviceFailed, codeBusy}
	case err != nil:
		state, code, final := verdict(err)
		if !final {
			return s.answered(ctx, r, d, err, tries)
		}
		v = verdictOn{state, code}
	case v.state == store.DeviceDone:
		v.state = store.DeviceRolledBack
	}
	return s.reverted(ctx, r, d, v.state, v.code)
}

// goBack is done where the old version runs. The boot that is to end is noted before the PBX
// is told to go back: it is not told again in another one, and in the same one only where the
// answer was lost or it was busy, a few times.
func (s *Service) goBack(ctx context.Context, r store.Rollout, d *store.RolloutDevice, pbx PBX, tries int) (verdictOn, error) {
	if err := s.rest(ctx, pbx); err != nil {
		return verdictOn{}, err
	}
	is, err := pbx.System(ctx)
	if err != nil {
		return verdictOn{}, err
	}
	has, err := pbx.Firmware(ctx)
	told := d.Step == store.StepReturning
	switch {
	case err != nil:
		return verdictOn{}, err
	case is.Boot == "":
		return verdictOn{}, pbxweb.ErrAnswer
	case is.Firmware == d.Base:
		return verdictOn{store.DeviceDone, ""}, nil
	case told && is.Boot != d.Boot:
		return verdictOn{store.DeviceFailed, codeVersion}, nil
	case told && has.State == FirmwareFailed:
		return verdictOn{store.DeviceFailed, strings.TrimSpace(codeInstall + " " + has.Failed())}, nil
	case told && tries >= s.cfg.Tries:
		return verdictOn{store.DeviceFailed, codeAnswer}, nil
	case is.Firmware != r.FirmwareVersion || has.Previous != d.Base:
		return verdictOn{store.DeviceConflict, codeChanged}, nil
	}
	d.Step, d.Boot = store.StepReturning, is.Boot
	if err := s.save(ctx, r, d); err != nil {
		return verdictOn{}, err
	}
	if err := pbx.Rollback(ctx); err != nil {
		return verdictOn{}, err
	}
	return s.awaitFirmware(ctx, d, pbx, d.Base)
}
