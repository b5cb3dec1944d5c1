package authority

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"go.step.sm/crypto/kms"
	"go.step.sm/crypto/kms/apiv1"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

// kmsExt is the ending of a file that names a key in the key management system
// instead of having it.
const kmsExt = ".kms"

// kmsSchemes are the key management systems, each with the build tag that links it
// and the names of its keys, if there is a default. Softkms is the files of this
// package.
var kmsSchemes = []struct {
	scheme apiv1.Type
	tag    string
	key    string
}{
	{apiv1.SoftKMS, "", ""},
	{apiv1.PKCS11, "pkcs11", "pkcs11:id={id};object={name}"},
	{apiv1.AmazonKMS, "awskms", "{name}"},
	{apiv1.AzureKMS, "azurekms", ""},
	{apiv1.CloudKMS, "cloudkms", ""},
}

// external tells whether new keys are made outside the state directory.
func (c Config) external() bool {
	return c.KMS != "" && !strings.HasPrefix(c.KMS, string(apiv1.SoftKMS))
}

// checkKMS refuses what this program cannot open.
func (c Config) checkKMS() error {
	if c.KMS == "" {
		return nil
	}
	scheme, _, _ := strings.Cut(c.KMS, ":")
	for _, s := range kmsSchemes {
		if string(s.scheme) != scheme {
			continue
		}
		if _, linked := apiv1.LoadKeyManagerNewFunc(s.scheme); !linked {
			hint := "build it with: go build -tags " + s.tag + " ./pki"
			if s.scheme == apiv1.PKCS11 {
				hint = "build it with: CGO_ENABLED=1 go build -tags " + s.tag + " ./pki"
			}
			return &configs.KeyError{Key: "kms", Problem: "this program is built without " + scheme, Hint: hint}
		}
		if s.scheme != apiv1.SoftKMS && s.key == "" && !strings.Contains(c.KMSKey, "{name}") {
			return &configs.KeyError{Key: "kms_key", Problem: "is required with " + scheme + ", with {name} in it", Hint: "as in azurekms:vault=my-vault;name={name}"}
		}
		return nil
	}
	var known []string
	for _, s := range kmsSchemes {
		known = append(known, string(s.scheme))
	}
	return &configs.KeyError{Key: "kms", Problem: "is the URI of no key management system known here", Hint: "one of " + strings.Join(known, ", ")}
}

// openKMS opens the key management system at its first call.
func (c Config) openKMS() func() (apiv1.KeyManager, error) {
	return sync.OnceValues(func() (apiv1.KeyManager, error) {
		m, err := kms.New(context.Background(), apiv1.Options{URI: c.KMS})
		if err != nil {
			return nil, fmt.Errorf("%w: key management system: %w", ErrKeys, err)
		}
		return m, nil
	})
}

// makeExternalKey makes a P-256 key in the key management system and writes down its
// name there. Each key has a name that no other has.
func (c Config) makeExternalKey(stem string) (crypto.Signer, error) {
	m, err := c.keys()
	if err != nil {
		return nil, err
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	pattern := c.KMSKey
	for _, s := range kmsSchemes {
		if pattern == "" && strings.HasPrefix(c.KMS, string(s.scheme)) {
			pattern = s.key
		}
	}
	name := strings.NewReplacer("{name}", "pki-"+stem+"-"+id, "{id}", id).Replace(pattern)
	made, err := m.CreateKey(&apiv1.CreateKeyRequest{Name: name, SignatureAlgorithm: apiv1.ECDSAWithSHA256})
	if err != nil {
		return nil, fmt.Errorf("make the key %s: %w", name, err)
	}
	key, err := m.CreateSigner(&made.CreateSignerRequest)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", made.Name, err)
	}
	return key, atomicfile.Write(c.file(stem+kmsExt), []byte(made.Name+"\n"), 0o600)
}

// readExternalKey gives nil where the key is not in the key management system.
func (c Config) readExternalKey(stem string) (crypto.Signer, error) {
	text, err := os.ReadFile(c.file(stem + kmsExt))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !c.external() {
		return nil, fmt.Errorf("%w: %s names a key in a key management system; set authority.kms", ErrKeys, c.file(stem+kmsExt))
	}
	m, err := c.keys()
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(string(text))
	key, err := m.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: name})
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrKeys, name, err)
	}
	return key, nil
}
