package main

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// found is what inspect tells about one block of a file.
type found struct {
	Kind        string    `json:"kind"` // certificate, request or key
	Identity    string    `json:"identity,omitempty"`
	Reasons     []reason  `json:"reasons,omitempty"` // what is wrong
	Subject     string    `json:"subject,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	Serial      string    `json:"serial,omitempty"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	DNS         []string  `json:"dns,omitempty"`
	IPs         []string  `json:"ips,omitempty"`
	URIs        []string  `json:"uris,omitempty"`
	CA          bool      `json:"ca,omitempty"`
	Chain       string    `json:"chain,omitempty"` // path of identities to the root
	State       string    `json:"state,omitempty"` // as the running PKI knows it
	Key         string    `json:"key,omitempty"`
	SPKI        string    `json:"spki_sha256,omitempty"`
	Fingerprint string    `json:"fingerprint_sha256,omitempty"`
}

// inspection is what is known besides the text; see [facts].
type inspection struct {
	now, peer time.Time
	roots     []*x509.Certificate // nil: chains are not verified
	name      string
	key       crypto.PublicKey
	// standing asks the running PKI about a certificate; it gives nil where none
	// runs.
	standing func(serial string) (*authority.Standing, error)
}

// inspect reads every block of the text.
func inspect(text []byte, with inspection) (all []found, err error) {
	var certs []*x509.Certificate
	var places []int // of certs in all
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("block %d: %w", len(all)+1, err)
			}
			certs, places = append(certs, c), append(places, len(all))
			all = append(all, ofCertificate(c))
		case block.Type == "CERTIFICATE REQUEST":
			f, err := ofRequest(pem.EncodeToMemory(block))
			if err != nil {
				return nil, fmt.Errorf("block %d: %w", len(all)+1, err)
			}
			all = append(all, f)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			all = append(all, found{Kind: "key", Key: strings.ToLower(block.Type)})
		default:
			return nil, fmt.Errorf("block %d is a %q", len(all)+1, block.Type)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no PEM block in it")
	}
	for i, c := range certs {
		if err := with.explain(&all[places[i]], c, certs, i == 0); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// explain adds what is wrong with one certificate of a file. Name and key are
// those of the first.
func (with inspection) explain(f *found, c *x509.Certificate, file []*x509.Certificate, first bool) (err error) {
	known := facts{now: with.now, peer: with.peer, leaf: c, chain: file, roots: with.roots}
	if first {
		known.name, known.key = with.name, with.key
	} else {
		known.peer = time.Time{} // the clock is said once
		if !with.peer.IsZero() {
			known.now = with.peer
		}
	}
	if with.standing != nil && !c.IsCA {
		if known.standing, err = with.standing(f.Serial); err != nil {
			return err
		}
		if s := known.standing; s != nil && s.Certificate != nil {
			f.State = s.Certificate.State
		}
	}
	f.Reasons = explainCertificate(known)
	if with.roots != nil && !c.IsCA {
		chain, err := verify(c, file, with.roots, known.clock())
		f.Chain = chain
		if err != nil && len(f.Reasons) == 0 {
			f.Reasons = []reason{{Problem: err.Error()}}
		}
	}
	return nil
}

// publicOf reads the public half of a private key file; nil where it is encrypted.
func publicOf(path string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: the key cannot sign", path)
	}
	return signer.Public(), nil
}

func ofCertificate(c *x509.Certificate) found {
	f := found{
		Kind: "certificate", Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, DNS: c.DNSNames, CA: c.IsCA,
		Key: c.PublicKeyAlgorithm.String(), SPKI: sum(c.RawSubjectPublicKeyInfo), Fingerprint: enrol.Fingerprint(c),
	}
	for _, ip := range c.IPAddresses {
		f.IPs = append(f.IPs, ip.String())
	}
	for _, u := range c.URIs {
		f.URIs = append(f.URIs, u.String())
	}
	if id, err := identity.FromCert(c); err == nil { // a root has none
		f.Identity = id.String()
	}
	return f
}

func ofRequest(text []byte) (found, error) {
	csr, err := enrol.ParseRequest(text)
	if err != nil {
		return found{}, err
	}
	f := found{
		Kind: "request", Subject: csr.Subject.String(), DNS: csr.DNSNames,
		Key: csr.PublicKeyAlgorithm.String(), SPKI: sum(csr.RawSubjectPublicKeyInfo),
	}
	for _, ip := range csr.IPAddresses {
		f.IPs = append(f.IPs, ip.String())
	}
	for _, u := range csr.URIs {
		f.URIs = append(f.URIs, u.String())
	}
	return f, nil
}

// verify builds the chain from the certificates of the file to a root, and gives the
// names in it.
func verify(leaf *x509.Certificate, file, roots []*x509.Certificate, now time.Time) (string, error) {
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	for _, c := range file {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		_, err = identity.FromChain(chains[0])
	}
	if err != nil {
		return "", err
	}
	var names []string
	for _, c := range chains[0][1:] {
		names = append(names, c.Subject.CommonName)
	}
	return strings.Join(names, " < "), nil
}

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}
