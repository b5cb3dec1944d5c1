package rollout

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// revertTries is how often the settings of a PBX are read anew that others change at the same
// time.
const revertTries = 3

// revert sets a system back. Doing it twice does nothing more.
func (s *Service) revert(ctx context.Context, r store.Rollout, d store.RolloutDevice, tries int) (store.RolloutDevice, error) {
	if !s.cfg.Online(d.Serial) {
		return d, errLater
	}
	p, code, err := s.enter(ctx, r, &d, Verb(r.Kind), false)
	if err != nil {
		return d, ignore(err)
	}
	if code != "" {
		return s.conclude(ctx, r, &d, store.DeviceConflict, code)
	}
	switch d.Step {
	case store.StepWriting, store.StepWritten, store.StepRestarting:
	default:
		return d, nil // nothing was done to it
	}
	k, err := s.kept(d)
	if err != nil {
		return s.conclude(ctx, r, &d, store.DeviceConflict, codeBackup)
	}
	pbx := s.cfg.Connect(p)
	wrote, foreign, err := restore(ctx, pbx, k.Changes)
	if err != nil {
		if _, code, final := verdict(err); final {
			return s.conclude(ctx, r, &d, store.DeviceConflict, code)
		}
		return s.answered(ctx, r, &d, err, tries)
	}
	if r.Plan.Restart && k.Restart && wrote {
		// Best effort: the settings are back, and take effect with the next restart anyway.
		if err := pbx.Restart(ctx); err != nil {
			s.log.Debug("a PBX that was set back does not restart", "serial", d.Serial, "error", err)
		}
	}
	if len(foreign) > 0 {
		return s.conclude(ctx, r, &d, store.DeviceConflict, codeChanged+" "+strings.Join(foreign[:min(len(foreign), 10)], ","))
	}
	return s.conclude(ctx, r, &d, store.DeviceRolledBack, "")
}

// restore writes the old value of each setting that still has the new one, tells whether there
// was any, and gives the keys of those that have neither.
func restore(ctx context.Context, pbx PBX, all []Change) (wrote bool, foreign []string, err error) {
	for range revertTries {
		version, has, err := pbx.Settings(ctx)
		if err != nil {
			return false, nil, err
		}
		old := Values{}
		foreign = nil
		for _, c := range all {
			switch {
			case bytes.Equal(has[c.Key], c.Old):
			case bytes.Equal(has[c.Key], c.New) && c.Old != nil:
				old[c.Key] = c.Old
			default:
				foreign = append(foreign, c.Key)
			}
		}
		if len(old) == 0 {
			return false, foreign, nil
		}
		_, err = pbx.Change(ctx, version, old)
		if e, ok := errors.AsType[*pbxweb.Error](err); !ok || e.Status != http.StatusPreconditionFailed {
			return err == nil, foreign, err
		}
	}
	return false, nil, &pbxweb.Error{Status: http.StatusPreconditionFailed, Code: codeChanged}
}
