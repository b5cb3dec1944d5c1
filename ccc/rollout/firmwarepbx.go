package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
)

// FirmwareState is what a PBX does about its firmware.
type FirmwareState string

// The states.
const (
	FirmwareIdle       FirmwareState = "idle"
	FirmwareReceiving  FirmwareState = "receiving"
	FirmwareVerifying  FirmwareState = "verifying"
	FirmwareInstalling FirmwareState = "installing"
	FirmwareRestarting FirmwareState = "restarting"
	FirmwareFailed     FirmwareState = "failed"
)

// Firmware is what runs at a PBX, and what goes on.
type Firmware struct {
	Version  string        `json:"version"`
	Previous string        `json:"previous,omitempty"` // that it can go back to; "": none
	State    FirmwareState `json:"state"`
	Error    *struct {
		Code string `json:"code"`
	} `json:"error,omitempty"` // why the last image is not installed
}

// busy tells whether something goes on that ends by itself.
func (f Firmware) busy() bool { return f.State != FirmwareIdle && f.State != FirmwareFailed }

// Failed is the PBX's word for why the last image is not installed; "": it is, or there was
// none.
func (f Firmware) Failed() string {
	if f.State != FirmwareFailed || f.Error == nil {
		return ""
	}
	return f.Error.Code
}

func (p *remotePBX) Firmware(ctx context.Context) (f Firmware, err error) {
	if _, err = p.do(ctx, pbxweb.Request{Method: http.MethodGet, Path: "firmware", Out: &f}); err != nil {
		return f, err
	}
	switch f.State {
	case FirmwareIdle, FirmwareReceiving, FirmwareVerifying, FirmwareInstalling, FirmwareRestarting, FirmwareFailed:
	default:
		return f, pbxweb.ErrAnswer
	}
	for _, text := range []string{f.Version, f.Previous, f.Failed()} {
		if len(text) > maxVersionText || pbxweb.Line(text) != text {
			return f, pbxweb.ErrAnswer
		}
	}
	return f, nil
}

// maxVersionText bounds names and versions that a PBX tells, in bytes.
const maxVersionText = 64

// errLogin: the PBX does not take its own login for an image.
var errLogin = errors.New("the login has ended")

// Install sends an image. It has a call to itself, besides those of other requests, and as
// much time as images may take. Nothing is sent, nor begun, before there is such a call.
func (p *remotePBX) Install(ctx context.Context, image Image, downgrade bool) error {
	if err := p.images.Acquire(ctx, 1); err != nil {
		return err
	}
	defer p.images.Release(1)
	from, err := image.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", errImage, err)
	}
	defer func() { _ = from.Close() }() // it was only read
	if err := image.Begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.imageTimeout)
	defer cancel()
	s := p.known()
	if s == nil {
		if s, err = p.signIn(ctx); err != nil {
			return err
		}
	}
	path := "firmware"
	if downgrade {
		path += "?allow_downgrade=true"
	}
	_, err = s.Do(ctx, pbxweb.Request{Method: http.MethodPut, Path: path, Stream: io.NopCloser(from), Size: image.Size})
	if e, refused := errors.AsType[*pbxweb.Error](err); refused && e.Status == http.StatusUnauthorized {
		p.forget()
		return errLogin // another one is made with the next try
	}
	return err
}

func (p *remotePBX) Rollback(ctx context.Context) error {
	_, err := p.do(ctx, pbxweb.Request{Method: http.MethodPost, Path: "firmware/rollback"})
	return err
}
