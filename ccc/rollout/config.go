package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Service]. Store, Keys and Connect are needed. A zero value stands for the
// default.
type Config struct {
	// Calls is how many PBXs are called at once, for all rollouts. Default: 64.
	Calls int `yaml:"calls"`
	// Devices is how many systems one rollout has at most. Default: 10000.
	Devices int `yaml:"devices"`
	// Active is how many rollouts of one tenant may be there that have not ended.
	// Default: 50.
	Active int `yaml:"active"`
	// CallTimeout bounds one request to a PBX. Default: 20s.
	CallTimeout time.Duration `yaml:"call_timeout"`
	// Session is how long a login at a PBX is used again. Default: 5m.
	Session time.Duration `yaml:"session"`
	// ReturnTimeout is how long a PBX may take to come back from a restart. Default: 10m.
	ReturnTimeout time.Duration `yaml:"return_timeout"`
	// Tries is how often a PBX that is online and does not answer is asked. Default: 3.
	Tries int `yaml:"tries"`
	// Retry is the wait before the next try, and how often it is looked whether a PBX is
	// back. Default: 5s.
	Retry time.Duration `yaml:"retry"`
	// Lease is how long nobody else goes on with a rollout whose process says nothing.
	// Default: 30s.
	Lease time.Duration `yaml:"lease"`
	// Wait is how long a rollout waits for systems that are offline, where nobody says.
	// Default: 72h.
	Wait time.Duration `yaml:"wait"`
	// Keep is how long rollouts, and the old values in them, are kept after their end.
	// Default: 2160h, 90 days.
	Keep time.Duration `yaml:"keep"`
	// FirmwareDir is where the images of firmware are that the operator has uploaded. Several
	// processes on one database share it. Default: there are none, and no rollouts of them.
	FirmwareDir string `yaml:"firmware_dir"`
	// FirmwareKeys are files with the public keys by which images are signed, as made by
	// "ccc firmware key new". Needed with FirmwareDir.
	FirmwareKeys []string `yaml:"firmware_keys"`
	// FirmwareMaxSize is how large an image may be. Default: 512MiB.
	FirmwareMaxSize configs.Bytes `yaml:"firmware_max_size"`
	// Uploads is how many PBXs are sent an image at once, for all rollouts. Default: 16.
	Uploads int `yaml:"uploads"`
	// UploadTimeout is how long an image may take to come from a person, and to a PBX.
	// Default: 1h.
	UploadTimeout time.Duration `yaml:"upload_timeout"`
	// InstallTimeout is how long a PBX that has an image may take to come back with it, and how
	// long one is waited for that is at something else before. Default: 30m.
	InstallTimeout time.Duration `yaml:"install_timeout"`
	// RequireMaintenance: only PBXs whose maintenance is paid get firmware. Default: all do.
	RequireMaintenance bool `yaml:"require_maintenance"`

	Store *store.DB `yaml:"-"`
	// Keys seal what PBXs had and get.
	Keys *seal.Keyring `yaml:"-"`
	// Connect gives a PBX to talk to; see [Connect].
	Connect func(store.Pairing) PBX `yaml:"-"`
	// Online tells whether a PBX is connected. Nil: all are.
	Online func(identity.Serial) bool `yaml:"-"`
	// Notify is told that a rollout of a tenant has changed. It must not block. Nil: nobody.
	Notify func(store.TenantID) `yaml:"-"`
	// Logger; nil means silence. No value of a setting is logged.
	Logger hclog.Logger `yaml:"-"`

	// update replaces the store's, to fail in tests.
	update func(context.Context, func(*store.Tx) error) error
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Calls: 64, Devices: 10_000, Active: 50, CallTimeout: 20 * time.Second, Session: 5 * time.Minute, ReturnTimeout: 10 * time.Minute,
		Tries: 3, Retry: 5 * time.Second, Lease: 30 * time.Second, Wait: 72 * time.Hour, Keep: 90 * 24 * time.Hour,
		FirmwareMaxSize: 512 << 20, Uploads: 16, UploadTimeout: time.Hour, InstallTimeout: 30 * time.Minute,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Calls = cmp.Or(c.Calls, d.Calls)
	c.Devices = cmp.Or(c.Devices, d.Devices)
	c.Active = cmp.Or(c.Active, d.Active)
	c.CallTimeout = cmp.Or(c.CallTimeout, d.CallTimeout)
	c.Session = cmp.Or(c.Session, d.Session)
	c.ReturnTimeout = cmp.Or(c.ReturnTimeout, d.ReturnTimeout)
	c.Tries = cmp.Or(c.Tries, d.Tries)
	c.Retry = cmp.Or(c.Retry, d.Retry)
	c.Lease = cmp.Or(c.Lease, d.Lease)
	c.Wait = cmp.Or(c.Wait, d.Wait)
	c.Keep = cmp.Or(c.Keep, d.Keep)
	c.FirmwareMaxSize = cmp.Or(c.FirmwareMaxSize, d.FirmwareMaxSize)
	c.Uploads = cmp.Or(c.Uploads, d.Uploads)
	c.UploadTimeout = cmp.Or(c.UploadTimeout, d.UploadTimeout)
	c.InstallTimeout = cmp.Or(c.InstallTimeout, d.InstallTimeout)
	if c.Online == nil {
		c.Online = func(identity.Serial) bool { return true }
	}
	if c.Notify == nil {
		c.Notify = func(store.TenantID) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.update == nil && c.Store != nil {
		c.update = c.Store.Update
	}
	return c
}

// Validate checks what a file can set, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	for _, n := range []struct {
		key    string
		v, max int
	}{{"calls", c.Calls, 10_000}, {"devices", c.Devices, store.MaxPage}, {"active", c.Active, 10_000}, {"tries", c.Tries, 100}, {"uploads", c.Uploads, 10_000}} {
		if n.v < 1 || n.v > n.max {
			all = append(all, &configs.KeyError{Key: n.key, Problem: fmt.Sprintf("is not from 1 to %d", n.max)})
		}
	}
	for _, d := range []struct {
		key         string
		v, min, max time.Duration
	}{
		{"call_timeout", c.CallTimeout, time.Second, 10 * time.Minute},
		{"session", c.Session, time.Second, time.Hour},
		{"return_timeout", c.ReturnTimeout, time.Second, 24 * time.Hour},
		{"retry", c.Retry, 10 * time.Millisecond, time.Hour},
		{"lease", c.Lease, time.Second, time.Hour},
		{"wait", c.Wait, time.Minute, MaxWait},
		{"keep", c.Keep, 24 * time.Hour, 10 * 365 * 24 * time.Hour},
		{"upload_timeout", c.UploadTimeout, time.Second, 24 * time.Hour},
		{"install_timeout", c.InstallTimeout, time.Second, 24 * time.Hour},
	} {
		if d.v < d.min || d.v > d.max {
			all = append(all, &configs.KeyError{Key: d.key, Problem: fmt.Sprintf("is not from %v to %v", d.min, d.max)})
		}
	}
	if c.FirmwareMaxSize < 1<<10 || c.FirmwareMaxSize > firmware.MaxPayload {
		all = append(all, &configs.KeyError{Key: "firmware_max_size", Problem: "is not between 1KiB and 4GiB"})
	}
	if c.FirmwareDir != "" && len(c.FirmwareKeys) == 0 {
		all = append(all, &configs.KeyError{
			Key: "firmware_keys", Problem: "has no file", Hint: "images are taken only where a known key has signed them; make one with: ccc firmware key new --out FILE",
		})
	}
	return errors.Join(all...)
}
