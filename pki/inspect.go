package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func (p *program) inspectCommand() *cobra.Command {
	var rootsPath string
	cmd := &cobra.Command{
		Use:   "inspect FILE | DIR",
		Short: "Show what certificates, requests and bundles say",
		Long: "Shows every certificate and certificate request of a PEM file, or the chain of a\n" +
			"credentials directory. With a trust bundle (--roots, or roots.pem in the\n" +
			"directory) the chain is verified. The contents of keys are never shown.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if rootsPath == "" {
					rootsPath = filepath.Join(path, enrol.RootsFile)
				}
				path = filepath.Join(path, enrol.CertFile)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var roots []*x509.Certificate
			if rootsPath != "" {
				bundle, err := os.ReadFile(rootsPath)
				if err != nil {
					return err
				}
				if roots, err = enrol.ParseCertificates(bundle); err != nil {
					return fmt.Errorf("%s: %w", rootsPath, err)
				}
			}
			all, err := inspect(text, roots, time.Now())
			if err != nil {
				return &cli.Hint{Err: fmt.Errorf("%s: %w", path, err), Hint: "inspect reads PEM files"}
			}
			return p.Print(cmd, all, table(all))
		},
	}
	cmd.Flags().StringVar(&rootsPath, "roots", "", "trust bundle (PEM `file`) to verify against")
	return cmd
}

func table(all []found) *cli.Table {
	t := &cli.Table{}
	for i, f := range all {
		if i > 0 {
			t.Add("")
		}
		for _, row := range []struct{ name, value string }{
			{f.Kind, f.Identity},
			{"problem", f.Problem},
			{"subject", f.Subject},
			{"issuer", f.Issuer},
			{"valid", validity(f)},
			{"DNS", strings.Join(f.DNS, " ")},
			{"IP", strings.Join(f.IPs, " ")},
			{"URI", strings.Join(f.URIs, " ")},
			{"chain", f.Chain},
			{"key", f.Key},
			{"SPKI SHA-256", f.SPKI},
			{"serial", f.Serial},
			{"fingerprint", f.Fingerprint},
		} {
			if row.value != "" || row.name == f.Kind {
				t.Add(row.name, row.value)
			}
		}
	}
	return t
}

func validity(f found) string {
	if f.NotAfter.IsZero() {
		return ""
	}
	return f.NotBefore.UTC().Format(time.DateTime) + " to " + f.NotAfter.UTC().Format(time.DateTime) + " UTC"
}
