package ca

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// stepName is what step-ca's own certificate is for, which the intermediate for devices
// permits.
const stepName = "ca.pbx." + string(trustDomain)

// stepProvisioner is the name of step-ca's only provisioner.
const stepProvisioner = "bench"

// step is a stock step-ca.
type step struct {
	program string
	home    string
	key     jose.JSONWebKey // the provisioner's, private
	signer  jose.Signer
}

func newStep(_ context.Context, dir string) (contestant, error) {
	program, err := process.Find("STEP_CA", "step-ca")
	if err != nil {
		return nil, err
	}
	if program == "" {
		return nil, missingError{errors.New("not installed: step-ca (set STEP_CA)")}
	}
	s := &step{program: program, home: dir}
	_, err = authority.Init(authority.Config{StateDir: s.path("keys"), PlainKeys: true})
	switch {
	case errors.Is(err, authority.ErrInitialised):
		err = s.loadKey()
	case err == nil:
		err = s.makeKey()
	}
	if err != nil {
		return nil, err
	}
	s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, new(jose.SignerOptions).WithType("JWT"))
	return s, err
}

func (s *step) dir() string             { return s.home }
func (s *step) path(name string) string { return filepath.Join(s.home, name) }
func (s *step) file() string            { return s.path("step.db") }

// makeKey makes the provisioner's key, and loadKey reads it.
func (s *step) makeKey() error {
	s.key = jose.JSONWebKey{Key: pkitest.NewKey(), KeyID: rand.Text(), Algorithm: string(jose.ES256), Use: "sig"}
	text, err := json.Marshal(s.key)
	return errors.Join(err, os.WriteFile(s.path("provisioner.json"), text, 0o600))
}

func (s *step) loadKey() error {
	text, err := os.ReadFile(s.path("provisioner.json"))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &s.key)
}

var stepVersion = regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+[^\s]*`)

// version is what the program says, or where it was built by "go install" and says
// nothing, that of its module.
func (s *step) version(ctx context.Context) string {
	if info, err := buildinfo.ReadFile(s.program); err == nil {
		if v := stepVersion.FindString(info.Main.Version); v != "" {
			return v
		}
	}
	out, err := exec.CommandContext(ctx, s.program, "version").CombinedOutput() //nolint:gosec // what the user put there
	if err != nil {
		return "unknown"
	}
	return cmp.Or(stepVersion.FindString(string(out)), "unknown")
}

// evidence: tokens are made with the requests, as the CA does not know them before.
func (*step) evidence(context.Context, []device) error { return nil }

func (s *step) size() (int64, error) {
	info, err := os.Stat(s.file())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s *step) command(address string) (*exec.Cmd, error) {
	type section = map[string]any
	const month = "720h"
	text, err := json.Marshal(section{
		"root": s.path("keys/roots.pem"), "crt": s.path("keys/device.pem"), "key": s.path("keys/device.key"),
		"address": address, "dnsNames": []string{stepName},
		"db":  section{"type": "bbolt", "dataSource": s.file()},
		"crl": section{"enabled": true, "generateOnRevoke": true},
		"authority": section{
			"backdate": "1h",
			"provisioners": []section{{
				"type": "JWK", "name": stepProvisioner, "key": s.key.Public(),
				"claims": section{"maxTLSCertDuration": month, "defaultTLSCertDuration": month},
			}},
		},
	})
	if err != nil {
		return nil, err
	}
	path := s.path("ca.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(s.program, path) //nolint:gosec,noctx // what the user put there; stopped by Stop
	cmd.Env = append(os.Environ(), "STEPPATH="+s.path("home"), "STEP_CA_QUIET=1")
	return cmd, nil
}

func (s *step) client() (*tls.Config, error) { return trust(s.path("keys"), stepName) }

func (*step) health() string { return "/health" }

// token is a one-time token for a path of the API.
func (s *step) token(path, subject string, names []string) (string, error) {
	now := time.Now()
	return jwt.Signed(s.signer).Claims(jwt.Claims{
		Issuer: stepProvisioner, Subject: subject, Audience: jwt.Audience{"https://" + stepName + path}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}).Claims(map[string]any{"sans": names}).CompactSerialize()
}

func (s *step) ask(d device) (path string, body []byte, err error) {
	const sign = "/1.0/sign"
	token, err := s.token(sign, d.id.Name, append([]string{d.id.String()}, d.id.DNSNames()...))
	if err != nil {
		return "", nil, err
	}
	body, err = json.Marshal(map[string]string{"csr": string(d.csr), "ott": token})
	return sign, body, err
}

func (*step) answer(body []byte) ([]byte, error) {
	var signed struct {
		Certificate string `json:"crt"`
	}
	err := json.Unmarshal(body, &signed)
	return []byte(signed.Certificate), err
}

func (*step) crl() string { return "/1.0/crl" }

// revoke asks step-ca, which answers when it has made another list.
func (s *step) revoke(ctx context.Context, srv *instance, leaf *x509.Certificate) error {
	const revoke = "/1.0/revoke"
	serial := leaf.SerialNumber.String()
	token, err := s.token(revoke, serial, nil)
	if err != nil {
		return err
	}
	const keyCompromise = 1 // RFC 5280 §5.3.1
	body, err := json.Marshal(map[string]any{"serial": serial, "ott": token, "reasonCode": keyCompromise, "passive": true})
	if err != nil {
		return err
	}
	c := srv.client()
	defer c.CloseIdleConnections()
	_, err = srv.do(ctx, c, http.MethodPost, revoke, bytes.NewReader(body))
	return err
}

func (*step) backend() int { return 0 }
