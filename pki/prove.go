package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

func (p *program) auditProveCommand() *cobra.Command {
	var saved, out string
	remote := &remoteLog{}
	cmd := &cobra.Command{
		Use:   "prove CERT.pem",
		Short: "Check that the issue of a certificate is in the log",
		Long: "Checks by the log's public key alone that the log has an entry for the\n" +
			"certificate, the first in the file. The proof comes from the PKI, or with --proof\n" +
			"from a file that --out saved, and then nothing is asked over the network. A\n" +
			"certificate that is not in the log was issued in silence, or elsewhere.",
		Example: "  pki audit prove cert.pem --out cert.tlog-proof\n" +
			"  pki audit prove cert.pem --proof cert.tlog-proof --key log.pub\n" +
			"  pki audit prove cert.pem --url https://pki.example.com:8443 --key log.pub --credentials state/device",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cert, err := firstCertificate(args[0])
			if err != nil {
				return err
			}
			log, c, err := p.openLog(remote)
			if err != nil {
				return err
			}
			var proof audit.Proof
			if saved != "" {
				proof, err = readProof(saved)
			} else {
				proof, err = log.Certificate(cmd.Context(), cert)
			}
			if err != nil {
				return explainLog(err, c)
			}
			head, entry, err := proof.Certificate(log.Key, cert)
			if err != nil {
				return explainLog(err, c)
			}
			if out != "" {
				if err := atomicfile.Write(out, proof.Marshal(), 0o644); err != nil {
					return err
				}
			}
			t := &cli.Table{}
			t.Add("in the log", fmt.Sprintf("entry %d of %d, signed with %s", entry.Seq, head.Size, log.Key))
			t.Add("issued", entry.Time.UTC().Format(time.DateTime)+" UTC")
			t.Add("to", entry.Identity)
			t.Add("method", entry.Method)
			t.Add("by", entry.Actor)
			return p.Print(cmd, proof, t)
		},
	}
	cmd.Flags().StringVar(&saved, "proof", "", "check the proof in this `file`")
	cmd.Flags().StringVar(&out, "out", "", "save the proof in this `file`, by custom .tlog-proof")
	remote.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("proof", "url")
	return cmd
}

func firstCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := enrol.ParseCertificates(text)
	if err != nil {
		return nil, &cli.Hint{Err: fmt.Errorf("%s: %w", path, err), Hint: "give a certificate as PEM"}
	}
	return certs[0], nil
}

func readProof(path string) (audit.Proof, error) {
	text, err := readBounded(path, audit.MaxProof)
	if err != nil {
		return audit.Proof{}, err
	}
	proof, err := audit.ParseProof(text)
	if err != nil {
		return proof, fmt.Errorf("%s: %w", path, err)
	}
	return proof, nil
}

// remoteLog are the flags for a log that is not that of the PKI on this machine.
type remoteLog struct{ url, key, roots, credentials string }

func (r *remoteLog) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.key, "key", "", "public key of the log, or a `file` with it; default: log.pub in the state directory")
	f.StringVar(&r.url, "url", "", "ask the PKI at this `URL`, not the one on this machine")
	f.StringVar(&r.roots, "roots", "", "trust bundle for --url (PEM `file`)")
	f.StringVar(&r.credentials, "credentials", "", "`directory` with certificate, key and trust bundle for --url")
	cmd.MarkFlagsMutuallyExclusive("roots", "credentials")
}

// openLog gives the log behind the socket, or that at the URL.
func (p *program) openLog(r *remoteLog) (*audit.Client, config, error) {
	admin, c, err := p.admin()
	if err != nil {
		return nil, c, err
	}
	key, err := p.logKey(r.key, c)
	if err != nil {
		return nil, c, err
	}
	if r.url == "" {
		return admin.Log(key), c, nil
	}
	tlsConfig, err := r.tls(key)
	if err != nil {
		return nil, c, err
	}
	client := &http.Client{Timeout: enrol.DefaultTimeout, Transport: &http.Transport{
		TLSClientConfig: tlsConfig, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
	}}
	return &audit.Client{URL: r.url, HTTP: client, Key: key}, c, nil
}

// tls gives the configuration for --url: mutual with credentials. Whoever has no
// configuration has the trust domain in the log's key.
func (r *remoteLog) tls(key audit.Key) (*tls.Config, error) {
	if r.credentials != "" {
		creds, err := enrol.LoadCredentials(r.credentials)
		if err != nil {
			return nil, err
		}
		pki := identity.Service(creds.ID().TrustDomain, enrol.ServiceName)
		return creds.ClientConfig(pki.DNSName(), identity.Exactly(pki)), nil
	}
	if r.roots == "" {
		return nil, &cli.Hint{
			Err: errors.New("--url needs --roots or --credentials"), ExitCode: cli.ExitUsage,
			Hint: "the trust bundle is roots.pem beside every certificate of the PKI",
		}
	}
	text, err := os.ReadFile(r.roots)
	if err != nil {
		return nil, err
	}
	roots, err := enrol.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.roots, err)
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	domain, _, _ := strings.Cut(string(key), "/")
	pki := identity.Service(identity.TrustDomain(domain), enrol.ServiceName)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: pki.DNSName(),
		VerifyConnection: identity.VerifyPeer(identity.Exactly(pki)),
	}, nil
}

// logKey reads the log's public key: as given, from the file that is given, or from
// the state directory.
func (p *program) logKey(given string, c config) (audit.Key, error) {
	if key, err := audit.ParseKey(given); err == nil {
		return key, nil
	}
	path := given
	if path == "" {
		path = filepath.Join(c.Authority.StateDir, authority.LogPublicFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &cli.Hint{
			Err:  fmt.Errorf("public key of the log: %w", err),
			Hint: "give it with --key; \"pki init\" printed it, and \"pki audit head\" shows it",
		}
	}
	key, err := audit.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
