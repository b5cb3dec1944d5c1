// Package ceremony writes the protocol of a key ceremony: what was done to the keys
// of a PKI, by whom, on which machine and with what result, as JSON and as a page to
// print, to sign and to keep in the safe.
//
// A ceremony has steps on two machines; each has a protocol of its own. What a
// protocol says about certificates and files is read from these when it is written.
// The page ends with the hash of the JSON text, so that the signatures on paper hold
// for the file as well.
//
// The package is not covered by the compatibility promise.
package ceremony

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

// Record is the protocol of one step.
type Record struct {
	// Step is what was done: root, request, sign, cross-sign or install.
	Step        string    `json:"step"`
	TrustDomain string    `json:"trust_domain"`
	Time        time.Time `json:"time"`
	Machine     Machine   `json:"machine"`
	// Command is the command line.
	Command []string `json:"command"`
	// Entropy tells where the randomness of new keys comes from. Empty if there
	// are none.
	Entropy string `json:"entropy,omitempty"`
	// Keys that were made.
	Keys []Key `json:"keys,omitempty"`
	// Certificates that were made, or installed.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Files that were written or taken over.
	Files []File `json:"files,omitempty"`
	// Notes by those who were there.
	Notes []string `json:"notes,omitempty"`
	// Signatures are the names of those who sign.
	Signatures []string `json:"signatures"`
}

// Key is a new key. Nothing of the private part is in it.
type Key struct {
	Name string `json:"name"`
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo in hex.
	SPKI      string `json:"spki_sha256"`
	Algorithm string `json:"algorithm"`
	// Kept tells where.
	Kept string `json:"kept"`
}

// Certificate is what a certificate says.
type Certificate struct {
	File        string    `json:"file"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"` // hex
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	PathLength  int       `json:"path_length"` // certificates of authorities that may follow
	Constraints []string  `json:"name_constraints,omitempty"`
	SPKI        string    `json:"spki_sha256"`
	Fingerprint string    `json:"fingerprint_sha256"`
}

// File is a file with the SHA-256 of its content in hex.
type File struct {
	Name   string `json:"name"`
	Size   int    `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// AddKey notes a key that was made.
func (r *Record) AddKey(name string, csr *x509.CertificateRequest, kept string) {
	r.Keys = append(r.Keys, Key{name, hash(csr.RawSubjectPublicKeyInfo), csr.PublicKeyAlgorithm.String(), kept})
}

// AddRootKey notes the key of a root that was made.
func (r *Record) AddRootKey(root *x509.Certificate, kept string) {
	r.Keys = append(r.Keys, Key{"root", hash(root.RawSubjectPublicKeyInfo), root.PublicKeyAlgorithm.String(), kept})
}

// AddCertificate notes a certificate, by the name of its file.
func (r *Record) AddCertificate(file string, c *x509.Certificate) {
	r.Certificates = append(r.Certificates, Certificate{
		File: file, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, PathLength: c.MaxPathLen,
		Constraints: constraints(c), SPKI: hash(c.RawSubjectPublicKeyInfo), Fingerprint: enrol.Fingerprint(c),
	})
}

// AddFile notes a file as it is on the disk.
func (r *Record) AddFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.Files = append(r.Files, File{filepath.Base(path), len(data), hash(data)})
	return nil
}

func constraints(c *x509.Certificate) (out []string) {
	for _, list := range []struct {
		what  string
		names []string
	}{
		{"permitted URI host ", c.PermittedURIDomains},
		{"permitted DNS ", c.PermittedDNSDomains},
		{"excluded URI host ", c.ExcludedURIDomains},
		{"excluded DNS ", c.ExcludedDNSDomains},
	} {
		for _, n := range list.names {
			out = append(out, list.what+n)
		}
	}
	for _, n := range c.PermittedIPRanges {
		out = append(out, "permitted IP "+n.String())
	}
	for _, n := range c.ExcludedIPRanges {
		out = append(out, "excluded IP "+n.String())
	}
	return out
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Save writes the protocol to dir as ceremony-<step>-<time>.json and .txt, and gives
// the path of the latter.
func (r *Record) Save(dir string) (string, error) {
	data, err := r.encode()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ceremony-"+r.Step+"-"+r.Time.UTC().Format("20060102T150405Z"))
	if err := atomicfile.Write(path+".json", data, 0o644); err != nil {
		return "", err
	}
	var page strings.Builder
	if err := r.Print(&page); err != nil {
		return "", err
	}
	return path + ".txt", atomicfile.Write(path+".txt", []byte(page.String()), 0o644)
}

func (r *Record) encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// Print writes the page.
func (r *Record) Print(w io.Writer) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	p := page{w: w}
	p.head("Key ceremony: " + r.Step)
	p.row("trust domain", r.TrustDomain)
	p.row("time", r.Time.UTC().Format(time.DateTime)+" UTC")
	p.row("machine", r.Machine.Host+", "+r.Machine.System)
	p.row("user", r.Machine.User)
	p.row("network", r.Machine.network())
	p.row("program", r.Machine.Program)
	p.row("SHA-256", r.Machine.ProgramSHA256)
	p.row("command", strings.Join(r.Command, " "))
	p.row("entropy", r.Entropy)
	for _, k := range r.Keys {
		p.head("New key: " + k.Name)
		p.row("algorithm", k.Algorithm)
		p.row("kept", k.Kept)
		p.row("SPKI SHA-256", grouped(k.SPKI))
	}
	for _, c := range r.Certificates {
		p.head("Certificate: " + c.File)
		p.row("subject", c.Subject)
		p.row("issuer", c.Issuer)
		p.row("serial", c.Serial)
		p.row("valid", c.NotBefore.UTC().Format(time.DateTime)+" to "+c.NotAfter.UTC().Format(time.DateTime)+" UTC")
		p.row("path length", fmt.Sprint(c.PathLength))
		for _, n := range c.Constraints {
			p.row("constraint", n)
		}
		p.row("SPKI SHA-256", grouped(c.SPKI))
		p.row("fingerprint", grouped(c.Fingerprint))
	}
	if len(r.Files) > 0 {
		p.head("Files")
		for _, f := range r.Files {
			p.row(f.Name, fmt.Sprintf("%d bytes", f.Size))
			p.row("SHA-256", f.SHA256)
		}
	}
	if len(r.Notes) > 0 {
		p.head("Notes")
		for _, n := range r.Notes {
			p.line("- " + n)
		}
	}
	p.head("Signatures")
	for _, s := range r.Signatures {
		p.line("")
		p.line(fmt.Sprintf("%-30s date ______________  signature ______________________", s))
	}
	p.line("")
	p.line("SHA-256 of this protocol as JSON:")
	p.line(hash(data))
	return p.err
}

// grouped makes a fingerprint easier to compare by eye.
func grouped(hex string) string {
	var groups []string
	for ; len(hex) > 8; hex = hex[8:] {
		groups = append(groups, hex[:8])
	}
	return strings.Join(append(groups, hex), " ")
}

// page writes lines until the first error.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, text)
	}
}

func (p *page) head(text string) {
	p.line("")
	p.line(text)
	p.line(strings.Repeat("-", len(text)))
}

func (p *page) row(name, value string) {
	if value != "" {
		p.line(fmt.Sprintf("%-14s %s", name, value))
	}
}
