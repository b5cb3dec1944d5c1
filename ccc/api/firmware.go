package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

const tagFirmware = "firmware"

// Firmware is a signed image, for PBXs of one model.
type Firmware struct {
	ID         string            `json:"id"`
	Model      string            `json:"model" doc:"Of the PBXs that it is for" example:"COMtrexx Business"`
	Version    string            `json:"version" example:"2.1.0"`
	MinVersion string            `json:"min_version,omitempty" doc:"The oldest version that it can be installed over"`
	Released   string            `json:"released" format:"date" example:"2026-11-26"`
	Notes      map[string]string `json:"notes" nullable:"false" doc:"What is new, by language; the manufacturer's own words"`
	Size       int64             `json:"size" doc:"Of the file, in bytes"`
	SHA256     string            `json:"sha256" doc:"Of its contents"`
	KeyID      string            `json:"key_id" doc:"Names the public key by which it is signed"`
	UploadedAt time.Time         `json:"uploaded_at"`
}

// FirmwareList is all images, the newest first.
type FirmwareList struct {
	Items []Firmware `json:"items" nullable:"false"`
}

// FirmwarePath is the image in an address.
type FirmwarePath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the image"`
}

// FirmwareRef is what a rollout of firmware brings.
type FirmwareRef struct {
	ID      string `json:"id" doc:"Of the image, which may be gone once the rollout has ended"`
	Model   string `json:"model"`
	Version string `json:"version"`
}

// registerFirmware is the table of the operations about images of firmware.
func (a *API) registerFirmware() {
	const all, one, operators = "/firmware", "/firmware/{id}", "Only in the tenant that runs the control centre. "
	add(a, operation{
		id: "listFirmware", method: http.MethodGet, path: all, tag: tagFirmware, rule: inParts(access.ConfigRead),
		summary: "Images of firmware, the newest first", description: "They are the operator's, for PBXs of all tenants.",
		codes: []Code{CodeFirmwareOff},
	}, a.listFirmware)
	add(a, operation{
		id: "uploadFirmware", method: http.MethodPost, path: all, tag: tagFirmware, rule: inTenant(access.FirmwareWrite), status: http.StatusCreated,
		body: a.firmwareLimit(), summary: "Upload an image of firmware",
		description: operators + "The body is the file that \"ccc firmware pack\" makes. It counts once it is whole and its signature is that of a known key; otherwise nothing of it is kept.",
		codes: []Code{
			CodeOperatorOnly, CodeFirmwareOff, CodeFirmwareFormat, CodeFirmwareKey, CodeFirmwareSignature, CodeFirmwarePayload, CodeFirmwareExists,
			CodeMalformed, CodeMediaType, CodeTooLarge, CodeTimeout,
		},
	}, a.uploadFirmware)
	a.huma.OpenAPI().Paths[all].Post.RequestBody = imageBody
	add(a, operation{
		id: "getFirmware", method: http.MethodGet, path: one, tag: tagFirmware, rule: inParts(access.ConfigRead),
		summary: "Get an image's manifest", codes: []Code{CodeFirmwareOff},
	}, a.getFirmware)
	add(a, operation{
		id: "removeFirmware", method: http.MethodDelete, path: one, tag: tagFirmware, rule: inTenant(access.FirmwareWrite), status: http.StatusNoContent,
		summary: "Remove an image of firmware", description: operators + "PBXs that have it keep it. Not while a rollout that has not ended brings it.",
		codes: []Code{CodeOperatorOnly, CodeFirmwareOff, CodeFirmwareInUse},
	}, a.removeFirmware)
}

// firmwareLimit is how large an image may be.
func (a *API) firmwareLimit() configs.Bytes {
	if a.cfg.Rollouts == nil {
		return rollout.DefaultConfig().FirmwareMaxSize // of the document alone
	}
	return a.cfg.Rollouts.FirmwareLimit()
}

// mayKeepFirmware looks whether the actor is of the operator, and in its own tenant: the
// right to bring firmware to PBXs is not that to say which firmware there is.
func (a actor) mayKeepFirmware() error {
	if a.tenant.Kind != store.KindOperator || a.tenant.ID != a.user.Tenant {
		return problem(CodeOperatorOnly, "")
	}
	return nil
}

func firmwareOf(v store.Firmware) (Firmware, error) {
	var m firmware.Manifest
	if err := json.Unmarshal(v.Manifest, &m); err != nil {
		return Firmware{}, err
	}
	if m.Notes == nil {
		m.Notes = map[string]string{}
	}
	return Firmware{
		ID: string(v.ID), Model: m.Model, Version: m.Version, MinVersion: m.MinVersion, Released: m.Released, Notes: m.Notes, Size: v.Size, SHA256: m.SHA256,
		KeyID: v.KeyID, UploadedAt: v.Uploaded,
	}, nil
}

func (a *API) listFirmware(ctx context.Context, _ *nothing) (*body[FirmwareList], error) {
	if err := a.cfg.Rollouts.HasFirmware(); err != nil {
		return nil, err
	}
	out := &body[FirmwareList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Firmwares()
		if err != nil {
			return err
		}
		out.Body.Items = make([]Firmware, len(all))
		for i, v := range all {
			if out.Body.Items[i], err = firmwareOf(v); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func (a *API) getFirmware(ctx context.Context, in *FirmwarePath) (*body[Firmware], error) {
	if err := a.cfg.Rollouts.HasFirmware(); err != nil {
		return nil, err
	}
	out := &body[Firmware]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		v, err := tx.Firmware(store.FirmwareID(in.ID))
		if err == nil {
			out.Body, err = firmwareOf(v)
		}
		return err
	})
	return out, err
}

func (a *API) removeFirmware(ctx context.Context, in *FirmwarePath) (*nothing, error) {
	if _, err := a.getFirmware(ctx, in); err != nil {
		return nil, err // that there is none is no secret
	}
	if err := mustActor(ctx).mayKeepFirmware(); err != nil {
		return nil, err
	}
	return nil, a.cfg.Rollouts.RemoveFirmware(ctx, store.FirmwareID(in.ID))
}

func (a *API) uploadFirmware(ctx context.Context, in *imageInput) (*created[Firmware], error) {
	who := mustActor(ctx)
	if err := who.mayKeepFirmware(); err != nil {
		return nil, err
	}
	if err := in.isImage(); err != nil {
		return nil, err
	}
	v, err := a.cfg.Rollouts.Upload(ctx, who.user.ID, in.from(a.cfg.Limits.AnswerTimeout, a.cfg.Rollouts.UploadTimeout()))
	in.over(a.cfg.Limits.AnswerTimeout)
	if broken := in.broken(); err != nil && broken != nil {
		return nil, broken
	}
	if err != nil {
		return nil, err
	}
	out, err := firmwareOf(v)
	return &created[Firmware]{Location: Prefix + "/firmware/" + url.PathEscape(out.ID), Body: out}, err
}
