package authority

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ErrFactory: the factory's roots or block list cannot be used.
var ErrFactory = errors.New("unusable factory roots or block list")

// Factory is whose factory certificates are taken for an enrolment.
type Factory struct {
	// Roots of the manufacturers.
	Roots []*x509.Certificate

	auth *Authority
	path string // of the block list; empty: none
	log  hclog.Logger

	mu     sync.Mutex // guards what follows
	stamp  stamp
	blocks map[string]bool // by line, normalised
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// Factory reads the manufacturers' roots and the block list of factory certificates.
// It gives nil where no roots are configured. Errors wrap [ErrFactory].
func (a *Authority) Factory() (*Factory, error) {
	if len(a.cfg.FactoryRoots) == 0 {
		return nil, nil //nolint:nilnil // documented: there is no factory
	}
	f := &Factory{auth: a, path: a.cfg.FactoryBlocklist, log: a.cfg.Logger}
	for _, path := range a.cfg.FactoryRoots {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFactory, err)
		}
		roots, err := enrol.ParseCertificates(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFactory, path, err)
		}
		if slices.ContainsFunc(roots, a.own) {
			return nil, fmt.Errorf("%w: %s has a root or intermediate of this PKI, whose certificates would then pass for a factory's", ErrFactory, path)
		}
		f.Roots = append(f.Roots, roots...)
	}
	if f.path != "" {
		if err := f.load(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFactory, err)
		}
	}
	return f, nil
}

func (a *Authority) own(c *x509.Certificate) bool {
	k := a.keys.Load()
	for _, r := range k.bundle.Roots {
		if enrol.SameKey(r.Certificate.PublicKey, c.PublicKey) {
			return true
		}
	}
	return slices.ContainsFunc(k.issuers, func(i *Issuer) bool { return enrol.SameKey(i.Certificate.PublicKey, c.PublicKey) })
}

// Enrol is [Authority.EnrolFactory] for a factory certificate that is not on the block
// list.
func (f *Factory) Enrol(ctx context.Context, chain []*x509.Certificate, csr *x509.CertificateRequest) (enrol.Issued, error) {
	return f.auth.enrolFactory(ctx, chain, csr, f.Check)
}

// Check refuses, with [enrol.ErrBlocked], a factory certificate that is on the block
// list. The file is read again when it has changed; one that cannot be read leaves
// the list as it was, and says so in the log.
func (f *Factory) Check(leaf *x509.Certificate) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return nil
	}
	if err := f.load(); err != nil {
		f.log.Error("block list of factory certificates not read; the one before counts", "error", err)
	}
	for _, line := range []string{
		"fingerprint " + enrol.Fingerprint(leaf),
		"certificate " + serialOf(leaf),
		"device " + leaf.Subject.SerialNumber,
	} {
		if f.blocks[line] {
			return fmt.Errorf("%w: factory certificate: %s", enrol.ErrBlocked, line)
		}
	}
	return nil
}

// load reads the file if it has changed.
func (f *Factory) load() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	now := stamp{info.ModTime(), info.Size()}
	if f.blocks != nil && now == f.stamp {
		return nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	blocks, err := parseBlocklist(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.blocks, f.stamp = blocks, now
	return nil
}

// parseBlocklist reads lines of a word and a value; # begins a comment:
//
//	fingerprint <SHA-256 of the certificate in hex, colons allowed>
//	certificate <serial number of the certificate in hex>
//	device      <serial of the box>
func parseBlocklist(text []byte) (map[string]bool, error) {
	blocks := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: %d words, want a kind and a value", n, len(words))
		}
		value := strings.ToLower(strings.ReplaceAll(words[1], ":", ""))
		var err error
		switch words[0] {
		case "fingerprint":
			var sum []byte
			if sum, err = hex.DecodeString(value); err == nil && len(sum) != 32 {
				err = fmt.Errorf("%d bytes, want the 32 of SHA-256", len(sum))
			}
		case "certificate":
			value = strings.TrimLeft(value, "0")
			if strings.Trim(value, "0123456789abcdef") != "" {
				err = errors.New("not a number in hex")
			}
		case "device":
			_, err = identity.ParseSerial(value)
		default:
			err = errors.New("want fingerprint, certificate or device")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", n, words[0], err)
		}
		blocks[words[0]+" "+value] = true
	}
	return blocks, lines.Err()
}
