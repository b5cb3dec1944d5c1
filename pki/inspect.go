package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// inspectFlags are the flags of inspect.
type inspectFlags struct{ roots, connect, as, name, message string }

func (p *program) inspectCommand() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [FILE | DIR]",
		Short: "Show certificates, and explain what is wrong with them or with a handshake",
		Long: "Shows every certificate and certificate request of a PEM file, or the chain of a\n" +
			"credentials directory, and says in words what is wrong with it and what to do.\n" +
			"The contents of keys are never shown.\n\n" +
			"With --connect, makes a TLS handshake and explains it, as the endpoint of a\n" +
			"credentials directory (--as) or as nobody. With --error, explains the text of an\n" +
			"error from a log, a browser, curl or openssl.\n\n" +
			"Chains are verified against the roots of --roots, of the directory, or of the\n" +
			"state directory. While \"pki serve\" runs, it is asked whether the certificate is\n" +
			"blocked or superseded; everything else works without it.",
		Example: "  pki inspect /var/lib/auerproxy/credentials\n" +
			"  pki inspect --connect pki.example.com:8443 --as ./credentials\n" +
			"  pki inspect --error \"remote error: tls: bad certificate\"",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.inspect(cmd, args, f) },
	}
	cmd.Flags().StringVar(&f.roots, "roots", "", "trust bundle (PEM `file`) to verify against")
	cmd.Flags().StringVar(&f.connect, "connect", "", "make a TLS handshake with `host:port`")
	cmd.Flags().StringVar(&f.as, "as", "", "credentials `directory` to show to the other end")
	cmd.Flags().StringVar(&f.name, "name", "", "DNS `name` that the certificate has to have (with --connect: the host)")
	cmd.Flags().StringVar(&f.message, "error", "", "explain the `text` of a TLS error")
	return cmd
}

func (p *program) inspect(cmd *cobra.Command, args []string, f inspectFlags) error {
	given := len(args)
	for _, v := range []string{f.connect, f.message} {
		if v != "" {
			given++
		}
	}
	if given != 1 || f.as != "" && f.connect == "" {
		return &cli.Hint{
			Err: errors.New("nothing to inspect, or too much"), Hint: "give one of FILE, DIR, --connect HOST:PORT [--as DIR], --error TEXT", ExitCode: cli.ExitUsage,
		}
	}
	if f.message != "" {
		r, ok := explainError(f.message)
		if !ok {
			return &cli.Hint{Err: errors.New("this error is not known"), Hint: "inspect the certificates of both ends, or the connection with --connect"}
		}
		t := &cli.Table{}
		addReasons(t, []reason{r})
		return p.Print(cmd, r, t)
	}
	with := inspection{now: time.Now(), name: f.name, standing: p.standing(cmd)}
	path, key := "", ""
	if len(args) == 1 {
		path = args[0]
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if f.roots == "" {
				f.roots = filepath.Join(path, enrol.RootsFile)
			}
			path, key = filepath.Join(path, enrol.CertFile), filepath.Join(path, enrol.KeyFile)
		}
	}
	var err error
	if with.roots, err = p.roots(f); err != nil {
		return err
	}
	if f.connect != "" {
		return p.inspectConnection(cmd, f.connect, f.as, with)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if key != "" {
		if with.key, err = publicOf(key); err != nil {
			return err
		}
	}
	all, err := inspect(text, with)
	if err != nil {
		return &cli.Hint{Err: fmt.Errorf("%s: %w", path, err), Hint: "inspect reads PEM files"}
	}
	t := &cli.Table{}
	for i, one := range all {
		if i > 0 {
			t.Add("")
		}
		addFound(t, one)
	}
	return p.Print(cmd, all, t)
}

// roots gives the trust bundle to verify against: what is named, or for what stands
// alone, that of the state directory, if there is one.
func (p *program) roots(f inspectFlags) ([]*x509.Certificate, error) {
	path := f.roots
	if path == "" && f.as == "" {
		c, err := p.load()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(c.Authority.StateDir, enrol.RootsFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil, nil
		}
	}
	if path == "" {
		return nil, nil
	}
	bundle, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots, err := enrol.ParseCertificates(bundle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roots, nil
}

// standing gives a function that asks the running PKI, and gives nil where none
// runs.
func (p *program) standing(cmd *cobra.Command) func(serial string) (*authority.Standing, error) {
	return func(serial string) (*authority.Standing, error) {
		admin, _, err := p.admin()
		if err != nil {
			return nil, err
		}
		s, err := admin.Standing(cmd.Context(), serial)
		if errors.Is(err, server.ErrNotServed) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &s, nil
	}
}

func addFound(t *cli.Table, f found) {
	t.Add(f.Kind, f.Identity)
	addReasons(t, f.Reasons)
	for _, row := range []struct{ name, value string }{
		{"subject", f.Subject},
		{"issuer", f.Issuer},
		{"valid", validity(f)},
		{"DNS", strings.Join(f.DNS, " ")},
		{"IP", strings.Join(f.IPs, " ")},
		{"URI", strings.Join(f.URIs, " ")},
		{"chain", f.Chain},
		{"state", f.State},
		{"key", f.Key},
		{"SPKI SHA-256", f.SPKI},
		{"serial", f.Serial},
		{"fingerprint", f.Fingerprint},
	} {
		if row.value != "" {
			t.Add(row.name, row.value)
		}
	}
}

func addReasons(t *cli.Table, all []reason) {
	for _, r := range all {
		t.Add("problem", r.Problem)
		if r.Advice != "" {
			t.Add("advice", r.Advice)
		}
	}
}

func validity(f found) string {
	if f.NotAfter.IsZero() {
		return ""
	}
	return f.NotBefore.UTC().Format(time.DateTime) + " to " + f.NotAfter.UTC().Format(time.DateTime) + " UTC"
}
