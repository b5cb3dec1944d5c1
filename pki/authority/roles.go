package authority

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Endings of the files of an intermediate.
const (
	certExt = ".pem"
	keyExt  = ".key"
	csrExt  = ".csr"
)

// role is what an intermediate is for.
type role struct {
	// name is that of the files: <name>.pem is the first generation, <name>-<n>.pem
	// the nth.
	name string
	// template has everything but dates: what the root signs, and by its names what
	// an intermediate is known by.
	template *x509.Certificate
	// optional: a state directory may be without it, as those from before it was
	// there.
	optional bool
}

// roles lists what there are intermediates for. The names of servers must have been
// validated.
func (c Config) roles() (out []role) {
	for _, kind := range profile.SignedKinds() {
		tmpl := profile.Intermediate(c.TrustDomain, kind)
		var extra []string
		if kind != identity.KindDevice {
			extra = c.ExtraDNS
		}
		profile.Constrain(tmpl, c.TrustDomain, kind, extra...)
		out = append(out, role{name: kind.String(), template: tmpl})
	}
	if tmpl, err := profile.ServerIntermediate(c.TrustDomain, c.ServerNames...); err == nil {
		out = append(out, role{name: profile.ServerAuthority, template: tmpl, optional: true})
	}
	return out
}

// role finds a role by its name.
func (c Config) role(name string) (role, error) {
	var names []string
	for _, r := range c.roles() {
		if r.name == name {
			return r, nil
		}
		names = append(names, r.name)
	}
	return role{}, fmt.Errorf("%w: no intermediate for %q, there are: %s", enrol.ErrBadRequest, name, strings.Join(names, ", "))
}

// file is the name of a generation's files without an ending.
func (r role) file(generation int) string {
	if generation == 1 {
		return r.name
	}
	return r.name + "-" + strconv.Itoa(generation)
}

// generation reads what file makes; 0 is none of it.
func (r role) generation(file string) int {
	if file == r.name {
		return 1
	}
	text, ok := strings.CutPrefix(file, r.name+"-")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 2 || r.file(n) != file {
		return 0
	}
	return n
}

// generations lists the generations that have a file with the ending, oldest first.
func (c Config) generations(r role, ext string) (out []int, err error) {
	paths, err := filepath.Glob(filepath.Join(globEscape(c.StateDir), r.name+"*"+ext))
	for _, path := range paths {
		if n := r.generation(strings.TrimSuffix(filepath.Base(path), ext)); n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, err
}

// globEscape makes a path match itself only.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// fits tells whether a certificate, or a request for one, has the role's names.
func (r role) fits(subject string, uris []string) bool {
	return subject == r.template.Subject.String() && slices.Equal(uris, r.uris())
}

func (r role) uris() []string { return uriStrings(r.template) }

func uriStrings(c *x509.Certificate) (out []string) {
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	return out
}

// parent finds the root that signed an intermediate, whatever the date.
func parent(cert *x509.Certificate, roots []*x509.Certificate) *x509.Certificate {
	for _, r := range roots {
		if bytes.Equal(cert.RawIssuer, r.RawSubject) && cert.CheckSignatureFrom(r) == nil {
			return r
		}
	}
	return nil
}
