package world

import (
	"crypto/ed25519"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
)

// What maintenance of a world's PBXs takes: a restart, and an installation before it.
const (
	pbxRestart = time.Second
	pbxInstall = time.Second
)

// FirmwareKey is the file with the private key by which firmware for the PBXs of this
// world is signed, as in "ccc firmware pack --key"; FirmwareKeys has the public one, which
// the PBXs and the control centre know. Both are made with the world that has one of these,
// and are worth nothing outside of it.
func (w *World) FirmwareKey() string { return w.path("firmware.pem") }

// FirmwareKeys is the file with the public key for [World.FirmwareKey].
func (w *World) FirmwareKeys() string { return w.path("firmware.pem.pub") }

// makeFirmwareKey makes the key of a world that needs one, and has none yet.
func (w *World) makeFirmwareKey() error {
	if !w.cfg.Centre && !slices.ContainsFunc(w.cfg.Devices, func(d DeviceConfig) bool { return d.PBX }) {
		return nil
	}
	if _, err := os.Stat(w.FirmwareKey()); err == nil {
		return nil
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	publicText, err1 := firmware.EncodePublic(public)
	privateText, err2 := firmware.EncodePrivate(private)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	// The private one last: where it is there, both are.
	return errors.Join(os.WriteFile(w.FirmwareKeys(), publicText, 0o600), os.WriteFile(w.FirmwareKey(), privateText, 0o600))
}
