package pbx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// firmwarePath is where firmware is, firmwareNew the file of an image that is coming.
const (
	firmwarePath = apiPrefix + "firmware"
	firmwareNew  = "firmware.new"
)

// uploadTime bounds the coming of an image, besides requestTimeout for each part of it.
const uploadTime = time.Hour

// upkeep is the firmware that is coming. What is left of it after a power cut is in the
// state; see [state.Firmware].
type upkeep struct {
	install chan struct{} // has the image of the state installed; holds one

	mu      sync.Mutex // guards what follows
	busy    bool       // an image comes or is installed
	state   pages.FirmwareState
	got     int64 // bytes of size
	size    int64
	since   time.Time // of the installation
	failure *pages.FirmwareError
}

// take begins; ok: nobody else has.
func (u *upkeep) take() (ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy {
		return false
	}
	u.busy, u.state, u.got, u.size, u.failure = true, pages.FirmwareReceiving, 0, 0, nil
	return true
}

// over ends what take began; err is what it ended with.
func (u *upkeep) over(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy, u.state = false, ""
	if err == nil {
		return
	}
	u.failure = &pages.FirmwareError{Code: "internal", Detail: "The system cannot do this now."}
	if pr, ok := errors.AsType[*Problem](err); ok {
		u.failure = &pages.FirmwareError{Code: pr.Code, Detail: pr.Title}
	}
}

func (u *upkeep) isBusy() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.busy
}

func (u *upkeep) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

// failures say what became of the last installation.
var failures = map[state.Failure]string{
	state.FailInterrupted: "The installation was interrupted; the previous version runs.",
	state.FailInstall:     "The image could not be installed; the previous version runs.",
}

// firmware is what runs, and what is going on.
func (p *PBX) firmware() pages.Firmware {
	s := p.store.View()
	v := pages.Firmware{Version: p.firmwareVersion(), State: pages.FirmwareIdle}
	if s.Firmware.Previous != nil {
		v.Previous = s.Firmware.Previous.Version
	}
	u := &p.upkeep
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case p.life.isLeaving():
		v.State, v.Progress = pages.FirmwareRestarting, 100
	case u.busy && u.state == pages.FirmwareInstalling:
		v.State, v.Progress = u.state, int(min(100, 100*time.Since(u.since)/p.cfg.Limits.Install))
	case u.busy:
		v.State, v.Progress = u.state, int(100*u.got/max(u.size, 1))
	case u.failure != nil:
		v.State, v.Error = pages.FirmwareFailed, u.failure
	case s.Firmware.Failure != "":
		v.State, v.Error = pages.FirmwareFailed, &pages.FirmwareError{Code: string(s.Firmware.Failure), Detail: failures[s.Firmware.Failure]}
	}
	return v
}

func (p *PBX) apiFirmware(w http.ResponseWriter, _ *http.Request, _ login) error {
	writeJSON(w, http.StatusOK, p.firmware())
	return nil
}

// openFirmware removes what no version needs: images that came and were not installed, and
// such that have had their day.
func (p *PBX) openFirmware() error {
	names, err := p.disk.List()
	if err != nil {
		return err
	}
	needed := p.store.View().Firmware.Files()
	for _, name := range names {
		if name == firmwareNew || state.IsImage(name) && !slices.Contains(needed, name) {
			if err := p.disk.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refusals of firmware images.
var (
	errImageType    = problem(http.StatusUnsupportedMediaType, "content_type", "An image is sent as application/octet-stream.")
	errImageModel   = problem(http.StatusUnprocessableEntity, "image_model", "The image is for another model.")
	errImageOld     = problem(http.StatusUnprocessableEntity, "image_downgrade", "The image is older than what runs.")
	errImageSame    = problem(http.StatusConflict, "image_current", "The image is what runs already.")
	errImageNeeds   = problem(http.StatusUnprocessableEntity, "image_min_version", "The image cannot be installed over the version that runs.")
	errNoPrevious   = problem(http.StatusConflict, "no_previous", "There is no previous firmware.")
	errImageBroken  = problem(http.StatusBadRequest, "bad_request", "The image has not come whole.")
	imageErrorCodes = []struct {
		err  error
		code string
	}{
		{firmware.ErrFormat, "image_format"},
		{firmware.ErrKey, "image_key"},
		{firmware.ErrSignature, "image_signature"},
		{firmware.ErrPayload, "image_payload"},
	}
)

// apiSetFirmware takes an image. The answer comes when it is whole, verified and on the
// disk; the installation and the restart follow.
func (p *PBX) apiSetFirmware(w http.ResponseWriter, r *http.Request, l login) (err error) {
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case p.cfg.Fault == FaultRefuse:
		return errFaulty
	case kind != "application/octet-stream":
		return errImageType
	case p.life.isLeaving() || !p.upkeep.take():
		return errBusy
	}
	defer func() {
		if err != nil {
			p.upkeep.over(err)
		}
	}()
	img, err := p.receive(w, r)
	if err != nil {
		return errors.Join(err, p.disk.Remove(firmwareNew))
	}
	if err := p.takeImage(r, l, img); err != nil {
		return err
	}
	p.upkeep.set(func() { p.upkeep.state, p.upkeep.since = pages.FirmwareInstalling, time.Now() })
	writeJSON(w, http.StatusAccepted, p.firmware())
	p.upkeep.install <- struct{}{}
	return nil
}

// receive writes an image to firmwareNew and verifies it on the way.
func (p *PBX) receive(w http.ResponseWriter, r *http.Request) (img *firmware.Image, err error) {
	limit := p.cfg.Limits.MaxFirmware
	tooLarge := problem(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("An image has at most %d bytes.", limit))
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	file, err := p.disk.Create(firmwareNew)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	body := &patient{from: http.MaxBytesReader(w, r.Body, limit), conn: http.NewResponseController(w), end: time.Now().Add(uploadTime), upkeep: &p.upkeep}
	img, err = firmware.Open(io.TeeReader(body, file), p.cfg.FirmwareKeys)
	if err == nil {
		err = p.wants(img, r.URL.Query().Get("allow_downgrade") == "true")
	}
	if err == nil && img.HeaderLen+img.Manifest.Size > limit {
		err = tooLarge
	}
	if err == nil {
		p.upkeep.set(func() { p.upkeep.size = img.HeaderLen + img.Manifest.Size })
		_, err = io.Copy(io.Discard, img)
	}
	if err == nil {
		return img, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge
	}
	for _, k := range imageErrorCodes {
		if errors.Is(err, k.err) {
			return nil, problem(http.StatusUnprocessableEntity, k.code, err.Error())
		}
	}
	if body.err != nil && !errors.Is(body.err, io.EOF) {
		return nil, errImageBroken
	}
	return nil, err
}

// wants tells whether the image is one for this PBX.
func (p *PBX) wants(img *firmware.Image, downgrade bool) error {
	m, runs := &img.Manifest, p.firmwareVersion()
	newer := firmware.Compare(m.Version, runs)
	switch {
	case m.Model != p.cfg.Model:
		return errImageModel
	case m.Version == runs:
		return errImageSame
	case newer <= 0 && !downgrade:
		return errImageOld
	case m.MinVersion != "" && firmware.Compare(runs, m.MinVersion) < 0:
		return errImageNeeds
	}
	return nil
}

// takeImage makes firmwareNew the image that is to be installed. Who has sent it may have
// lost the right to do so meanwhile.
func (p *PBX) takeImage(r *http.Request, l login, img *firmware.Image) error {
	p.upkeep.set(func() { p.upkeep.state = pages.FirmwareVerifying })
	now, ok := p.signedIn(r)
	err := error(errUnauthenticated)
	if ok && now.Name == l.Name {
		err = p.admits(configurers, r, now)
	}
	if err != nil {
		return errors.Join(err, p.disk.Remove(firmwareNew))
	}
	one := state.Image{Version: img.Manifest.Version, SHA256: img.Manifest.SHA256}
	if err := errors.Join(p.disk.Rename(firmwareNew, one.File()), p.disk.Sync()); err != nil {
		return err
	}
	change := p.change(r, l, state.DoneFirmware)
	change.Version = one.Version
	err = p.update(func(s *state.State) error {
		if err := s.Install(one); err != nil {
			return err
		}
		s.Note(change)
		return nil
	})
	if errors.Is(err, state.ErrInstalling) {
		return errBusy
	}
	return err
}

// install ends an installation; restart: it is to be run.
func (p *PBX) install(ctx context.Context) (restart bool) {
	if !pause(ctx, p.cfg.Limits.Install) {
		return false // the next start finds that it was interrupted
	}
	fails := p.cfg.Fault == FaultInstall
	err := p.update(func(s *state.State) error {
		if fails {
			s.FailInstall(state.FailInstall)
		} else {
			s.Installed(p.cfg.Firmware)
		}
		return nil
	})
	if err == nil {
		err = p.openFirmware()
	}
	if err != nil {
		p.log.Error("install firmware", "error", err)
		p.upkeep.over(err)
		return false
	}
	if fails {
		p.upkeep.over(nil)
	}
	return !fails
}

// rollback has the PBX restart with the firmware of before.
func (p *PBX) rollback(r *http.Request, l login) error {
	switch {
	case p.cfg.Fault == FaultRefuse:
		return errFaulty
	case p.life.isLeaving() || p.upkeep.isBusy():
		return errBusy
	}
	err := p.update(func(s *state.State) error {
		if err := s.Rollback(p.cfg.Firmware); err != nil {
			return err
		}
		change := p.change(r, l, state.DoneRollback)
		change.Version = s.Firmware.Running(p.cfg.Firmware).Version
		s.Note(change)
		return nil
	})
	switch {
	case errors.Is(err, state.ErrNoPrevious):
		return errNoPrevious
	case errors.Is(err, state.ErrInstalling):
		return errBusy
	case err != nil:
		return err
	}
	p.leave()
	return nil
}

func (p *PBX) apiRollback(w http.ResponseWriter, r *http.Request, l login) error {
	if err := p.rollback(r, l); err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, p.firmware())
	return nil
}

// patient reads a body that may take longer than a request usually does, as long as it
// goes on.
type patient struct {
	from   io.Reader
	conn   *http.ResponseController
	end    time.Time
	upkeep *upkeep
	err    error // of the last Read
}

// Read implements [io.Reader].
func (b *patient) Read(data []byte) (n int, err error) {
	until := time.Now().Add(requestTimeout)
	if b.end.Before(until) {
		until = b.end
	}
	// Some writers have no deadline, those in memory.
	_, _ = b.conn.SetReadDeadline(until), b.conn.SetWriteDeadline(until.Add(requestTimeout))
	n, b.err = b.from.Read(data)
	b.upkeep.set(func() { b.upkeep.got += int64(n) })
	return n, b.err
}
