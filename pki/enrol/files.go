package enrol

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

// The files of a credentials directory.
const (
	CertFile  = "cert.pem"  // chain, leaf first
	KeyFile   = "key.pem"   // PKCS #8
	RootsFile = "roots.pem" // trusted roots

	// VersionFile has the version of the trust bundle as a decimal number, where
	// the roots came with one.
	VersionFile = "bundle-version"
)

// A credentials directory that Save has written:
//
//	live      -> gen-<n>            the current generation; swapped by one rename
//	gen-<n>/    cert.pem key.pem roots.pem
//	cert.pem  -> live/cert.pem      for people and for programs like curl
//	key.pem   -> live/key.pem
//	roots.pem -> live/roots.pem
//
// A reader that follows live once sees certificate, key and roots of one
// generation, whenever the power went.
const (
	liveLink  = "live"
	genPrefix = "gen-"
)

// LoadCredentials reads a credentials directory: one that [Credentials.Save]
// wrote, or three plain files with the same names. A key that others may read
// (mode & 007) is refused. A directory without credentials gives an error that
// wraps fs.ErrNotExist.
func LoadCredentials(dir string) (*Credentials, error) {
	const tries = 3 // Save may remove the generation that is being read
	var err error
	for range tries {
		var c *Credentials
		if c, err = load(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return nil, err
}

func load(dir string) (*Credentials, error) {
	if gen, err := os.Readlink(filepath.Join(dir, liveLink)); err == nil {
		dir = filepath.Join(dir, gen)
	}
	cert, err := loadPair(dir)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, RootsFile))
	if err != nil {
		return nil, fmt.Errorf("load credentials: %w", err)
	}
	roots, err := ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, RootsFile), err)
	}
	version, err := loadVersion(filepath.Join(dir, VersionFile))
	if err != nil {
		return nil, fmt.Errorf("load credentials: %w", err)
	}
	return newCredentials(cert, roots, version)
}

func loadVersion(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	version, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: want the version of a trust bundle: %w", path, err)
	}
	return version, nil
}

// LoadFactory reads a device's factory certificate from the files cert.pem (leaf
// first, then intermediates) and key.pem of a directory. A key that others may read
// is refused.
func LoadFactory(dir string) (tls.Certificate, error) { return loadPair(dir) }

func loadPair(dir string) (cert tls.Certificate, err error) {
	keyPath := filepath.Join(dir, KeyFile)
	info, err := os.Stat(keyPath)
	if err != nil {
		return cert, fmt.Errorf("load credentials: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return cert, fmt.Errorf("%w: %s has mode %04o: others may read the key; chmod 0600 it",
			ErrCredentials, keyPath, info.Mode().Perm())
	}
	cert, err = tls.LoadX509KeyPair(filepath.Join(dir, CertFile), keyPath)
	if err != nil {
		return cert, fmt.Errorf("load credentials: %w", err)
	}
	return cert, nil
}

// Save writes the credentials to dir, which it makes if need be. It is atomic:
// after a crash at any point dir holds the old set or the new one, never a
// mixture. dir must be on a file system with symbolic links.
func (c *Credentials) Save(dir string) error { return c.save(dir, func(string) {}) }

// save calls step before everything that changes the disk, where a test cuts the
// power.
func (c *Credentials) save(dir string, step func(what string)) error {
	m := c.cur.Load()
	key, err := x509.MarshalPKCS8PrivateKey(m.cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	step("make the directory")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	step("make the generation")
	gen, err := os.MkdirTemp(dir, genPrefix) // mode 0700
	if err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	files := []file{
		{CertFile, encodeChain(m.cert.Certificate)},
		{KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
		{RootsFile, EncodeCertificates(m.roots...)},
	}
	if m.version > 0 {
		files = append(files, file{VersionFile, strconv.AppendUint(nil, m.version, 10)})
	}
	if err := publish(dir, filepath.Base(gen), files, step); err != nil {
		return errors.Join(fmt.Errorf("save credentials: %w", err), os.RemoveAll(gen))
	}
	return sweep(dir, filepath.Base(gen), step)
}

// file is one file of a generation.
type file struct {
	name string
	data []byte
}

// publish fills the generation and makes it the live one.
func publish(dir, gen string, files []file, step func(string)) error {
	for _, f := range files {
		step("write " + f.name)
		if err := writeSync(filepath.Join(dir, gen, f.name), f.data); err != nil {
			return err
		}
	}
	step("sync the generation")
	if err := atomicfile.SyncDir(filepath.Join(dir, gen)); err != nil {
		return err
	}
	if err := relink(dir, liveLink, gen, step); err != nil {
		return err
	}
	for _, f := range files {
		if err := relink(dir, f.name, filepath.Join(liveLink, f.name), step); err != nil {
			return err
		}
	}
	step("sync the directory")
	return atomicfile.SyncDir(dir)
}

// relink points dir/name at target in one step, unless it does already.
func relink(dir, name, target string, step func(string)) error {
	path := filepath.Join(dir, name)
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	tmp := path + ".new"
	step("clear the way for " + name)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	step("link " + name)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	step("rename " + name)
	return os.Rename(tmp, path)
}

// sweep removes the generations that are not live.
func sweep(dir, live string, step func(string)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), genPrefix) && e.Name() != live {
			step("remove an old generation")
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
