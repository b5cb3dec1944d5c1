package pairing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// What the service asks the PBX's own interface for, in the call "web".
const (
	webService   = "web"
	webLogin     = "http://web/api/v1/login"
	webSystem    = "http://web/api/v1/system"
	webCookie    = "ctx_sessionid"
	maxWebAnswer = 64 << 10
)

// Results of a proof, as metrics name them.
const (
	proofRight   = "ok"
	proofRefused = "refused"
	proofFailed  = "failed" // not reached, or not answered as expected
)

// errRefused: the PBX does not let its own user in, or is not the PBX that it should be.
var errRefused = errors.New("refused")

// prove signs in at the PBX as the user that it has made. The pairing is proved then, or
// dissolved where the PBX refuses for good. It tells whether to try again.
func (s *Service) prove(ctx context.Context, p store.Pairing) (again bool) {
	err := s.login(ctx, p)
	result := proofRight
	switch {
	case err == nil:
		err = s.update(ctx, func(w *work) error { return s.proved(w, p.ID) })
	case errors.Is(err, errRefused):
		result = proofRefused
		late := now().Sub(p.Paired) >= s.cfg.ProofGrace
		if s.proofs.refused(p.ID, late) >= s.cfg.ProofTries {
			s.log.Warn("PBX refuses its own user", "serial", p.Serial, "error", err)
			err = s.dissolveIf(ctx, p.ID, wire.ReasonProofFailed)
		}
	default:
		result = proofFailed
	}
	s.metrics.proofs.WithLabelValues(result).Inc()
	if err != nil {
		s.log.Debug("login not proved", "serial", p.Serial, "error", err)
	}
	return err != nil
}

// proved notes that the login was right, if the pairing is still alive.
func (s *Service) proved(w *work, id store.PairingID) error {
	p, err := w.Pairing(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && p.Proved != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.SetProved(id, w.now); err != nil {
		return err
	}
	if err := w.step(p.Tenant, p.System, stepProve); err != nil {
		return err
	}
	sys, err := w.System(p.Tenant, p.System)
	if err != nil {
		return err
	}
	w.proved = append(w.proved, id)
	w.tell(p.Tenant, p.System, StepProved)
	return w.event(sys, EventPaired, "")
}

// login tries user and password. The error is errRefused where they are not good, or the
// PBX says that it has another serial.
func (s *Service) login(ctx context.Context, p store.Pairing) error {
	user, err1 := s.cfg.Keys.Open(purposeUser, string(p.ID), p.UserSealed)
	password, err2 := s.cfg.Keys.Open(purposePassword, string(p.ID), p.PasswordSealed)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	client := wire.HTTPClient(s.dial(p.Serial, webService))

	login, err := http.NewRequestWithContext(ctx, http.MethodPost, webLogin, http.NoBody)
	if err != nil {
		return err
	}
	login.SetBasicAuth(string(user), string(password))
	resp, err := client.Do(login)
	if err != nil {
		return err
	}
	cookies := resp.Cookies()
	if err := answered(resp, nil); err != nil {
		return fmt.Errorf("login: %w", err)
	}

	system, err := http.NewRequestWithContext(ctx, http.MethodGet, webSystem, http.NoBody)
	if err != nil {
		return err
	}
	for _, c := range cookies {
		if c.Name == webCookie {
			system.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	if resp, err = client.Do(system); err != nil {
		return err
	}
	var facts struct {
		Serial identity.Serial `json:"serial"`
	}
	if err := answered(resp, &facts); err != nil {
		return fmt.Errorf("system: %w", err)
	}
	if facts.Serial != p.Serial {
		return fmt.Errorf("system: %w: it is another PBX", errRefused)
	}
	return nil
}

// answered reads a JSON answer into out, if that is not nil, and closes it.
func answered(resp *http.Response, out any) error {
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w with status %d", errRefused, resp.StatusCode)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return fmt.Errorf("unexpected status %d", resp.StatusCode)
	case out == nil:
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxWebAnswer)).Decode(out); err != nil {
		return errors.New("the answer is not the JSON that was expected")
	}
	return nil
}
