package store

import "time"

// Firmware is an image that the operator has uploaded, for PBXs of all tenants.
type Firmware struct {
	ID         FirmwareID
	Model      string
	Version    string // unique for the model
	Manifest   []byte // JSON, as it is signed
	KeyID      string // that it is signed with
	Size       int64  // of the file, in bytes
	Uploaded   time.Time
	UploadedBy UserID
}

const firmwareColumns = "id, model, version, manifest, key_id, size, uploaded, uploaded_by"

func scanFirmware(s scanner) (v Firmware, err error) {
	var uploaded moment
	var manifest string
	err = s.Scan(&v.ID, &v.Model, &v.Version, &manifest, &v.KeyID, &v.Size, &uploaded, &v.UploadedBy)
	v.Manifest, v.Uploaded = []byte(manifest), uploaded.Time
	return v, err
}

// CreateFirmware adds an image. ErrConflict "version" where there is one of the model and
// version, or "id".
func (t *Tx) CreateFirmware(v Firmware) error {
	t.makes("", "firmware", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	c.time("Uploaded", v.Uploaded)
	if v.Model == "" || v.Version == "" {
		c.fail("Version", "is missing")
	}
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO firmwares ("+firmwareColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		v.ID, v.Model, v.Version, string(v.Manifest), v.KeyID, v.Size, v.Uploaded, optional(v.UploadedBy))
	return err
}

// Firmware gives one.
func (t *Tx) Firmware(id FirmwareID) (Firmware, error) {
	return row(t, scanFirmware, "SELECT "+firmwareColumns+" FROM firmwares WHERE id = $1", id)
}

// Firmwares gives all, the newest first.
func (t *Tx) Firmwares() ([]Firmware, error) {
	return rows(t, scanFirmware, "SELECT "+firmwareColumns+" FROM firmwares ORDER BY id DESC")
}

// DeleteFirmware removes one. ErrConflict "rollout" where one that has not ended brings it.
func (t *Tx) DeleteFirmware(id FirmwareID) error {
	n, err := row(t, value[int], "SELECT count(*) FROM rollouts WHERE firmware_id = $1 AND ended = 0", id)
	if err != nil {
		return err
	}
	if n > 0 {
		return &ConflictError{What: "rollout"}
	}
	return t.change("DELETE FROM firmwares WHERE id = $1", id)
}
