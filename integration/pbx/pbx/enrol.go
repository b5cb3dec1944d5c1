package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// client makes the client of the PKI.
func (c *Config) client(clock *enrol.Clock, log hclog.Logger) (*enrol.Client, error) {
	p := &c.PKI
	client := &enrol.Client{
		URL: p.URL, TrustDomain: p.TrustDomain, RootFingerprint: p.Fingerprint, FactoryURL: p.FactoryURL,
		RecoveryURL: p.RecoveryURL, KeyFile: c.path("enrolling.key"), Clock: clock, Logger: log,
	}
	if p.Roots != "" {
		text, err := os.ReadFile(p.Roots)
		if err != nil {
			return nil, err
		}
		if client.Roots, err = enrol.ParseCertificates(text); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Roots, err)
		}
	}
	if p.FactoryDir != "" {
		var err error
		if client.Factory, err = enrol.LoadFactory(p.FactoryDir); err != nil {
			return nil, fmt.Errorf("factory certificate: %w", err)
		}
	}
	return client, nil
}

// credentials reads the device's credentials. Where there are none, the PBX enrols.
func (c *Config) credentials(ctx context.Context, client *enrol.Client) (*enrol.Credentials, error) {
	dir := c.path("credentials")
	creds, err := enrol.LoadCredentials(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return creds, err
	}
	if creds, err = c.PKI.enrol(ctx, client, dir); err != nil {
		return nil, err
	}
	if creds.ID().Kind != identity.KindDevice {
		return nil, fmt.Errorf("the certificate is for %s, which is not a device", creds.ID())
	}
	if err := creds.Save(dir); err != nil {
		return nil, err
	}
	client.Logger.Info("enrolled", "device", creds.ID(), "expires", creds.Leaf().NotAfter)
	if err := os.Remove(c.path("enrolling.key")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return creds, nil
}

// enrol gets the first certificate with what there is.
func (p *PKI) enrol(ctx context.Context, client *enrol.Client, dir string) (creds *enrol.Credentials, err error) {
	switch {
	case p.TokenFile != "":
		var token []byte
		if token, err = p.TokenFile.Read(); err == nil {
			creds, err = client.Enrol(ctx, strings.TrimSpace(string(token)), identity.ID{})
		}
	case p.FactoryDir != "":
		creds, err = client.EnrolFactory(ctx, identity.ID{})
	case p.SecretFile != "":
		creds, err = p.enrolSecret(ctx, client)
	default:
		return nil, &cli.Hint{
			Err:  fmt.Errorf("no credentials in %s", dir),
			Hint: "set pki.token_file, pki.factory_dir or pki.secret_file, so that the PBX can enrol",
		}
	}
	if err != nil {
		return nil, &cli.Hint{Err: fmt.Errorf("enrol: %w", err), Hint: enrolHint(err)}
	}
	return creds, nil
}

func (p *PKI) enrolSecret(ctx context.Context, client *enrol.Client) (*enrol.Credentials, error) {
	text, err := p.SecretFile.Read()
	if err != nil {
		return nil, err
	}
	name, secret, _ := strings.Cut(string(text), ":")
	serial, err := identity.ParseSerial(name)
	if err != nil {
		return nil, fmt.Errorf("%s: want serial:secret: %w", p.SecretFile, err)
	}
	return client.EnrolSecret(ctx, serial, secret)
}

func enrolHint(err error) string {
	switch {
	case errors.Is(err, enrol.ErrToken):
		return "a token works once and for a limited time; ask for a new one"
	case errors.Is(err, enrol.ErrSecret):
		return "a secret is good for one enrolment; ask for a new one"
	case errors.Is(err, enrol.ErrFingerprint):
		return "compare the fingerprint with the one that the PKI's operator tells you"
	default:
		return ""
	}
}

// instanceID reads the id that tells two holders of one certificate apart, or makes it.
func (c *Config) instanceID() ([]byte, error) {
	path := c.path("instance-id")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := agent.NewInstanceID()
		tmp := path + ".new"
		if err := os.WriteFile(tmp, []byte(hex.EncodeToString(id)+"\n"), 0o600); err != nil {
			return nil, err
		}
		return id, os.Rename(tmp, path)
	}
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(id) != tunnel.IDLen {
		return nil, fmt.Errorf("%s does not hold %d bytes in hex; remove it to have a new one made", path, tunnel.IDLen)
	}
	return id, nil
}

// tlsEnd has the key for the account at the PKI's ACME server come from the PKI, where none
// is in a file.
func (c *Config) tlsEnd(client *enrol.Client, creds *enrol.Credentials) tlsend.Config {
	t := c.TLS
	if c.PKI.URL != "" {
		t.Key = func(ctx context.Context) (keyID, hmacKey string, err error) {
			key, err := client.ACMEKey(ctx, creds)
			return key.KeyID, key.HMACKey, err
		}
	}
	return t
}
