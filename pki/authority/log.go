package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"go.step.sm/crypto/keyutil"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// LogPublicFile is the file of the audit log's public key in the state directory.
const LogPublicFile = "log.pub"

const logKeyFile = "log.key"

// logOrigin names the audit log in its checkpoints.
func (c Config) logOrigin() string { return string(c.TrustDomain) + "/audit" }

// makeLogKey makes the key that signs the audit log's checkpoints. It is Ed25519, as
// verifiers of the format expect, which most key management systems have not: it stays
// in a file.
func (c Config) makeLogKey(pass []byte) (audit.Key, error) {
	key, err := keyutil.GenerateSigner("OKP", "Ed25519", 0)
	if err != nil {
		return "", err
	}
	public, err := audit.KeyFor(c.logOrigin(), key)
	if err != nil {
		return "", err
	}
	if err := c.writeKey(logKeyFile, key, pass); err != nil {
		return "", err
	}
	return public, c.writeLogPublic(public)
}

func (c Config) writeLogPublic(public audit.Key) error {
	return atomicfile.Write(c.file(LogPublicFile), []byte(string(public)+"\n"), 0o644)
}

// openLog opens the audit log. A state directory that is older than checkpoints gets
// a key now; one whose log has been signed does not, because a log has one key.
func (c Config) openLog(ctx context.Context, db store.DB) (*audit.Log, error) {
	pass, _, err := c.drawPassphrase()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.file(logKeyFile)); errors.Is(err, fs.ErrNotExist) {
		known, err := audit.KeyOf(ctx, db)
		if err != nil {
			return nil, err
		}
		if known != "" {
			return nil, fmt.Errorf("%w: %s is missing, with which the audit log is signed; restore it", ErrKeys, c.file(logKeyFile))
		}
		public, err := c.makeLogKey(pass)
		if err != nil {
			return nil, err
		}
		c.Logger.Info("the audit log has a key now", "file", c.file(logKeyFile), "public", string(public))
	}
	key, err := c.readKey(logKeyFile, pass)
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(ctx, db, c.logOrigin(), key)
	if errors.Is(err, audit.ErrKey) {
		err = fmt.Errorf("%w: %s: %w", ErrKeys, c.file(logKeyFile), err)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.file(LogPublicFile)); errors.Is(err, fs.ErrNotExist) {
		return log, c.writeLogPublic(log.Key())
	}
	return log, nil
}

// Audit gives the entries of the audit log after a sequence number, oldest first.
func (a *Authority) Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return audit.Entries(ctx, a.db, after)
}

// Log gives checkpoints and proofs of the audit log.
func (a *Authority) Log() *audit.Log { return a.log }
