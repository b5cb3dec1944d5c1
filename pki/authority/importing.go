package authority

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// columns of a device list; serial is required, the others may be left out, in any
// order.
var columns = []string{"serial", "model", "batch", "factory_spki_sha256", "secret", "secret_hash"}

// importBatch is how many devices go into the store at a time.
const importBatch = 1000

// Imported counts what an import did.
type Imported struct {
	Rows    int `json:"rows"`
	Added   int `json:"added"`
	Changed int `json:"changed"`
}

// ImportDevices puts the devices of a CSV list (RFC 4180, UTF-8, with a header line)
// on the list of devices. The columns:
//
//	serial               ten digits; the only one that is required
//	model, batch         the manufacturer's words, at most 64 bytes
//	factory_spki_sha256  of the factory certificate's public key, 64 hex digits
//	secret               factory secret in plain text, which is hashed here
//	secret_hash          or its argon2id hash in PHC format, which keeps the secret
//	                     at the manufacturer
//
// Everything is read and checked first; a list with a mistake changes nothing, and
// the error names its line. Then it is stored in batches, and progress is called
// after each with the rows so far. An import that broke off may be repeated. A field
// that is empty keeps what the device has. A factory key that contradicts the one
// that the device enrolled with is refused with [enrol.ErrConflict].
func (a *Authority) ImportDevices(ctx context.Context, list io.Reader, actor string, progress func(rows int)) (done Imported, err error) {
	rows, err := readDevices(list)
	if err != nil {
		return done, err
	}
	for batch := range slices.Chunk(rows, importBatch) {
		for i := range batch {
			if err := batch[i].hash(); err != nil {
				return done, err
			}
		}
		next := done
		err := a.db.Update(ctx, func(tx store.Tx) error {
			next = done
			now := time.Now().UTC()
			for _, r := range batch {
				if err := r.store(tx, now, &next); err != nil {
					return fmt.Errorf("line %d: %w", r.line, err)
				}
			}
			next.Rows += len(batch)
			return audit.Append(tx, audit.Entry{
				// Not of a device: its owner may read what is.
				Event: audit.EventImport, Actor: actor, Identity: a.serviceID().Path(),
				Reason: fmt.Sprintf("%d devices, %s to %s", len(batch), batch[0].Serial, batch[len(batch)-1].Serial),
			})
		})
		if err != nil {
			return done, err
		}
		done = next
		if progress != nil {
			progress(done.Rows)
		}
	}
	return done, nil
}

// row is one line of the list.
type row struct {
	Device
	plain string
	line  int
}

func (r *row) hash() (err error) {
	if r.plain != "" {
		r.Hash.PHC, err = hashSecret(r.plain)
	}
	return err
}

// store merges the row into what is known.
func (r row) store(tx store.Tx, now time.Time, n *Imported) error {
	d, err := listed(tx, r.Serial)
	switch {
	case errors.Is(err, enrol.ErrUnknown):
		n.Added++
		r.Added = now
		return r.Device.put(tx)
	case err != nil:
		return err
	case d.Factory != "" && r.Factory != "" && d.Factory != r.Factory:
		return fmt.Errorf("%w: %s has another factory key", enrol.ErrConflict, r.Serial)
	}
	before := d
	for _, f := range []struct {
		have *string
		want string
	}{{&d.Model, r.Model}, {&d.Batch, r.Batch}, {&d.Factory, r.Factory}} {
		if f.want != "" {
			*f.have = f.want
		}
	}
	if r.Hash.PHC != "" && r.Hash.PHC != d.Hash.PHC {
		d.Hash = r.Hash
	}
	if d == before {
		return nil
	}
	n.Changed++
	return d.put(tx)
}

// readDevices reads and checks the whole list. Errors wrap [enrol.ErrBadRequest].
func readDevices(list io.Reader) (rows []row, err error) {
	buffered := bufio.NewReader(list)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" { // as spreadsheets write it
		_, _ = buffered.Discard(3)
	}
	r := csv.NewReader(buffered)
	r.TrimLeadingSpace, r.ReuseRecord = true, true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: the list has no header line (want %s): %w", enrol.ErrBadRequest, strings.Join(columns, ","), err)
	}
	place, err := places(header)
	if err != nil {
		return nil, err
	}
	seen := make(map[identity.Serial]int)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
		}
		line, _ := r.FieldPos(0)
		d, err := readDevice(func(column string) string {
			if i, ok := place[column]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", enrol.ErrBadRequest, line, err)
		}
		if before := seen[d.Serial]; before != 0 {
			return nil, fmt.Errorf("%w: line %d: serial %s is in line %d already", enrol.ErrBadRequest, line, d.Serial, before)
		}
		seen[d.Serial], d.line = line, line
		rows = append(rows, d)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: the list has no devices", enrol.ErrBadRequest)
	}
	return rows, nil
}

// places finds the columns.
func places(header []string) (map[string]int, error) {
	place := make(map[string]int)
	for i, name := range header {
		name = strings.TrimSpace(name)
		if !slices.Contains(columns, name) {
			return nil, fmt.Errorf("%w: line 1: column %q is not one of %s", enrol.ErrBadRequest, name, strings.Join(columns, ", "))
		}
		if _, twice := place[name]; twice {
			return nil, fmt.Errorf("%w: line 1: column %q is there twice", enrol.ErrBadRequest, name)
		}
		place[name] = i
	}
	if _, ok := place["serial"]; !ok {
		return nil, fmt.Errorf("%w: line 1: column serial is missing", enrol.ErrBadRequest)
	}
	return place, nil
}

func readDevice(field func(string) string) (r row, err error) {
	if r.Serial, err = identity.ParseSerial(field("serial")); err != nil {
		return r, fmt.Errorf("serial: %w (ten digits; spreadsheets drop leading zeros: format the column as text)", err)
	}
	for name, to := range map[string]*string{"model": &r.Model, "batch": &r.Batch} {
		if *to = field(name); len(*to) > maxWord {
			return r, fmt.Errorf("%s: longer than %d bytes", name, maxWord)
		}
	}
	r.Factory = strings.ToLower(field("factory_spki_sha256"))
	if raw, err := hex.DecodeString(r.Factory); err != nil || (r.Factory != "" && len(raw) != 32) {
		return r, errors.New("factory_spki_sha256: want 64 hex digits")
	}
	r.plain, r.Hash.PHC = field("secret"), field("secret_hash")
	const least = 8
	switch {
	case r.plain != "" && r.Hash.PHC != "":
		return r, errors.New("has both secret and secret_hash")
	case r.plain != "" && (len(normal(r.plain)) < least || len(r.plain) > maxSecret):
		return r, fmt.Errorf("secret: want %d to %d characters", least, maxSecret)
	case r.Hash.PHC != "":
		p, _, _, err := argon2id.DecodeHash(r.Hash.PHC)
		if err != nil {
			return r, fmt.Errorf("secret_hash: want an argon2id hash in PHC format, as in $argon2id$v=19$m=19456,t=2,p=1$salt$hash: %w", err)
		}
		const mostMemory, mostPasses = 256 << 10, 10
		if p.Memory > mostMemory || p.Iterations > mostPasses {
			return r, fmt.Errorf("secret_hash: m=%d,t=%d would take too long to check; at most m=%d,t=%d", p.Memory, p.Iterations, mostMemory, mostPasses)
		}
	}
	return r, nil
}
