package authority

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Device is one entry of the list of devices. A serial that is not on the list gets
// no certificate, whatever else it shows. It comes onto the list by
// [Authority.ImportDevices], or because the administrator makes a token or a
// certificate for it.
type Device struct {
	Serial identity.Serial `json:"serial"`
	// Model and Batch are the manufacturer's words. A factory certificate that
	// names another model (its subject's OU) is refused.
	Model string `json:"model,omitempty"`
	Batch string `json:"batch,omitempty"`
	// Factory pins the box: the SHA-256, in hex, of the public key
	// (SubjectPublicKeyInfo) of its factory certificate. It comes with the import,
	// or from the first enrolment with one.
	Factory string `json:"factory_spki_sha256,omitempty"`
	// Added is when the serial came onto the list, Enrolled when the device last
	// enrolled; renewals do not count.
	Added    time.Time `json:"added"`
	Enrolled time.Time `json:"enrolled,omitzero"`
	// State is active, blocked or retired, and derived when reading.
	State string `json:"state,omitempty"`
	// Secret tells about the factory secret: none, armed or used. Derived when
	// reading.
	Secret string `json:"secret,omitempty"`

	Hash secret `json:"secret_record,omitzero"`
}

// StateRetired is the state of a device, and of its certificates, that has ended for
// good. The other states of a device are [StateActive] and [StateBlocked].
const StateRetired = "retired"

// maxWord bounds model and batch, in bytes.
const maxWord = 64

// listed gives the device's entry, and refuses one that is not on the list.
func listed(tx store.Tx, serial identity.Serial) (Device, error) {
	d, ok, err := get[Device](tx, bucketDevices, []byte(serial))
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s", enrol.ErrUnknown, serial)
	}
	return d, err
}

func (d Device) put(tx store.Tx) error {
	d.State, d.Secret = "", ""
	return put(tx, bucketDevices, []byte(d.Serial), d)
}

// register puts a device that the administrator vouches for on the list.
func register(tx store.Tx, id identity.ID, now time.Time) error {
	if id.Kind != identity.KindDevice {
		return nil
	}
	known, err := tx.Get(bucketDevices, []byte(id.Name))
	if err != nil || known != nil {
		return err
	}
	return Device{Serial: id.Serial(), Added: now}.put(tx)
}

// admit checks that the device may have one more certificate now.
func (a *Authority) admit(tx store.Tx, app *application, now time.Time) error {
	if app.id.Kind != identity.KindDevice {
		return nil
	}
	d, err := listed(tx, app.id.Serial())
	if err != nil {
		return err
	}
	if app.method == MethodIssue { // the administrator, who may
		return nil
	}
	if err := a.limitIssues(tx, app.id, now); err != nil {
		return err
	}
	if app.method == MethodRenew || app.method == MethodRecover {
		return nil
	}
	d.Enrolled = now
	return d.put(tx)
}

// limitIssues keeps a device that has gone mad, or a thief with its key, from
// filling the store.
func (a *Authority) limitIssues(tx store.Tx, id identity.ID, now time.Time) error {
	const day = 24 * time.Hour
	prefix, hour := within(id.Path()), uint64(max(0, now.Add(-time.Hour).UnixMilli()))
	inHour, inDay := 0, 0
	from := binary.BigEndian.AppendUint64(within(id.Path()), uint64(max(0, now.Add(-day).UnixMilli())))
	err := tx.Scan(bucketIndex, prefix, from, func(k, _ []byte) (bool, error) {
		inDay++
		if issued := k[len(prefix):]; len(issued) > 8 && binary.BigEndian.Uint64(issued) > hour {
			inHour++
		}
		return true, nil
	})
	switch {
	case err != nil:
		return err
	case above(inHour, a.cfg.Limits.PerHour):
		return fmt.Errorf("%w: %d certificates for %s within an hour (authority.limits.per_hour)", enrol.ErrRateLimit, inHour, id)
	case above(inDay, a.cfg.Limits.PerDay):
		return fmt.Errorf("%w: %d certificates for %s within a day (authority.limits.per_day)", enrol.ErrRateLimit, inDay, id)
	}
	return nil
}

// above tells whether one more than n exceeds the limit; a negative one is none.
func above(n, limit int) bool { return limit >= 0 && n >= limit }

// conflictError is an enrolment for a serial by another box than the one that has
// it.
type conflictError struct{ error }

func (e conflictError) Unwrap() error { return e.error }

// EnrolFactory issues for the holder of a factory certificate (IEEE 802.1AR IDevID).
// chain is a verified chain of the connection (VerifiedChains[0]), to a root that the
// caller trusts for this. The serial is the leaf's subject serialNumber. The first
// enrolment pins the factory certificate's key to the serial; another key is then
// refused with [enrol.ErrConflict], and noted as an alarm.
func (a *Authority) EnrolFactory(ctx context.Context, chain []*x509.Certificate, csr *x509.CertificateRequest) (enrol.Issued, error) {
	return a.enrolFactory(ctx, chain, csr, func(*x509.Certificate) error { return nil })
}

// enrolFactory is [Authority.EnrolFactory] for a factory certificate that check takes.
func (a *Authority) enrolFactory(ctx context.Context, chain []*x509.Certificate, csr *x509.CertificateRequest, check func(*x509.Certificate) error) (enrol.Issued, error) {
	serial, err := FactorySerial(chain)
	if err != nil {
		return enrol.Issued{}, err
	}
	leaf := chain[0]
	app := application{
		id: identity.Device(a.cfg.TrustDomain, serial), csr: csr,
		method: MethodFactory, actor: "factory certificate " + serialOf(leaf) + " of " + leaf.Issuer.CommonName,
	}
	return a.decide(ctx, &app, func(tx store.Tx) error {
		d, err := listed(tx, serial)
		if err != nil {
			return err
		}
		if err := check(leaf); err != nil {
			return err
		}
		if ou := leaf.Subject.OrganizationalUnit; d.Model != "" && len(ou) > 0 && ou[0] != d.Model {
			return conflictError{fmt.Errorf("%w: the factory certificate is for a %q, %s is a %q", enrol.ErrConflict, ou[0], serial, d.Model)}
		}
		switch pin := spki(leaf.RawSubjectPublicKeyInfo); d.Factory {
		case pin:
			return nil
		case "":
			d.Factory = pin
			return d.put(tx)
		default:
			return conflictError{fmt.Errorf("%w: %s has enrolled with another factory key", enrol.ErrConflict, serial)}
		}
	})
}

// FactorySerial reads the serial from a factory certificate's subject serialNumber
// (2.5.4.5).
func FactorySerial(chain []*x509.Certificate) (identity.Serial, error) {
	if len(chain) == 0 {
		return "", fmt.Errorf("%w: no factory certificate", enrol.ErrForbidden)
	}
	serial, err := identity.ParseSerial(chain[0].Subject.SerialNumber)
	if err != nil {
		return "", fmt.Errorf("%w: subject serialNumber of the factory certificate: %w", enrol.ErrForbidden, err)
	}
	return serial, nil
}

// Retire ends a device for good: like [Authority.Block], but what it ends comes back
// only by [Authority.Reinstate].
func (a *Authority) Retire(ctx context.Context, serial identity.Serial, reason, actor string) (epoch uint64, err error) {
	return a.changeBlocks(ctx, identity.Device(a.cfg.TrustDomain, serial), audit.EventRetire, reason, actor)
}

// Reinstate takes back a retirement that was a mistake.
func (a *Authority) Reinstate(ctx context.Context, serial identity.Serial, reason, actor string) (epoch uint64, err error) {
	return a.changeBlocks(ctx, identity.Device(a.cfg.TrustDomain, serial), audit.EventReinstate, reason, actor)
}

// Device gives one device, or an error that wraps [enrol.ErrUnknown].
func (a *Authority) Device(ctx context.Context, serial identity.Serial) (d Device, err error) {
	err = a.db.View(ctx, func(tx store.Tx) error {
		if d, err = listed(tx, serial); err != nil {
			return err
		}
		return d.derive(tx)
	})
	return d, err
}

// Devices gives at most limit devices whose serial begins with prefix and comes
// after another, in the order of the serials. An empty state means any.
func (a *Authority) Devices(ctx context.Context, prefix string, after identity.Serial, state string, limit int) (list []Device, err error) {
	from := []byte(nil)
	if after != "" {
		from = append([]byte(after), 0)
	}
	err = a.db.View(ctx, func(tx store.Tx) error {
		list = make([]Device, 0)
		return tx.Scan(bucketDevices, []byte(prefix), from, func(_, v []byte) (bool, error) {
			d, err := parse[Device](v)
			if err != nil {
				return false, err
			}
			if err := d.derive(tx); err != nil {
				return false, err
			}
			if state == "" || d.State == state {
				list = append(list, d)
			}
			return len(list) < limit, nil
		})
	})
	return list, err
}

// derive fills the fields that are not stored, and leaves the secret's hash out.
func (d *Device) derive(tx store.Tx) error {
	b, ok, err := get[Block](tx, bucketBlocks, []byte("device/"+string(d.Serial)))
	d.State = StateActive
	if ok {
		d.State = b.state()
	}
	d.Secret, d.Hash = d.Hash.state(), secret{}
	return err
}

// ResetSecret gives the device a new factory secret, which replaces the one before,
// and forgets the wrong tries. The device must be on the list. The secret is shown
// once; only its hash is kept.
func (a *Authority) ResetSecret(ctx context.Context, serial identity.Serial, actor string) (plain string, err error) {
	plain = newToken()
	hash, err := hashSecret(plain)
	if err != nil {
		return "", err
	}
	return plain, a.db.Update(ctx, func(tx store.Tx) error {
		d, err := listed(tx, serial)
		if err != nil {
			return err
		}
		d.Hash = secret{PHC: hash}
		if err := d.put(tx); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{Event: audit.EventSecret, Actor: actor, Identity: "device/" + string(serial)})
	})
}

// adopt puts the devices of a store that had no list yet on it.
func adopt(tx store.Tx) error {
	if done, err := tx.Get(bucketMeta, keyListed); err != nil || done != nil {
		return err
	}
	now := time.Now().UTC()
	for _, b := range []store.Bucket{bucketIndex, bucketBlocks} {
		prefix := []byte("device/")
		err := tx.Scan(b, prefix, nil, func(k, _ []byte) (bool, error) {
			name, _, _ := strings.Cut(string(k[len(prefix):]), "\x00")
			return true, register(tx, identity.ID{Kind: identity.KindDevice, Name: name}, now)
		})
		if err != nil {
			return err
		}
	}
	return tx.Put(bucketMeta, keyListed, []byte(now.Format(time.RFC3339)))
}
