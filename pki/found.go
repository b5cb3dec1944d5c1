package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// found is what inspect tells about one block of a file.
type found struct {
	Kind        string    `json:"kind"` // certificate, request or key
	Identity    string    `json:"identity,omitempty"`
	Problem     string    `json:"problem,omitempty"` // why there is no identity, or no good chain
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
	Key         string    `json:"key,omitempty"`
	SPKI        string    `json:"spki_sha256,omitempty"`
	Fingerprint string    `json:"fingerprint_sha256,omitempty"`
}

// inspect reads every block of the text. roots may be nil.
func inspect(text []byte, roots []*x509.Certificate, now time.Time) (all []found, err error) {
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
		f := &all[places[i]]
		switch {
		case now.Before(c.NotBefore):
			f.Problem = join(f.Problem, "not valid yet")
		case now.After(c.NotAfter):
			f.Problem = join(f.Problem, "expired")
		}
		if roots != nil && !c.IsCA {
			verify(f, c, certs, roots, now)
		}
	}
	return all, nil
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
	id, err := identity.FromCert(c)
	switch {
	case err == nil:
		f.Identity = id.String()
	case !c.IsCA: // a root has none
		f.Problem = err.Error()
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

// verify builds the chain from the certificates of the file to a root.
func verify(f *found, leaf *x509.Certificate, file, roots []*x509.Certificate, now time.Time) {
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
		f.Problem = join(f.Problem, err.Error())
		return
	}
	var names []string
	for _, c := range chains[0][1:] {
		names = append(names, c.Subject.CommonName)
	}
	f.Chain = strings.Join(names, " < ")
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}
