package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/ceremony"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// rites are the flags that the steps of a ceremony share.
type rites struct {
	program *program
	signers []string
	notes   []string
	entropy string
	out     string
}

func (p *program) ceremonyCommand() *cobra.Command {
	r := &rites{program: p}
	cmd := &cobra.Command{
		Use:   "ceremony",
		Short: "Make keys with a printed protocol, the root's on a machine without a network",
		Long: "Makes the keys of a PKI in steps on two machines. The root's key never leaves the\n" +
			"offline one, the keys of the intermediates never leave the PKI's:\n\n" +
			"  offline  pki ceremony root --state ROOT\n" +
			"  PKI      pki ceremony request --out DIR\n" +
			"  offline  pki ceremony sign DIR --state ROOT\n" +
			"  PKI      pki ceremony install DIR --root FINGERPRINT\n\n" +
			"Each step writes a protocol as JSON and as a page to print and sign. Later the same\n" +
			"steps, without the first, make the next generation of intermediates; a running\n" +
			"server takes it over at once.",
	}
	cmd.PersistentFlags().StringArrayVar(&r.signers, "signed-by", []string{"Operator", "Witness"}, "`name` for a signature on the protocol; may be repeated")
	cmd.PersistentFlags().StringArrayVar(&r.notes, "note", nil, "`text` for the protocol; may be repeated")
	cmd.AddCommand(r.rootCommand(), r.requestCommand(), r.signCommand(), r.installCommand(), r.crossCommand(), r.intermediatesCommand())
	return cmd
}

// begin starts the protocol of a step.
func (r *rites) begin(step string, c config) (*ceremony.Record, error) {
	machine, err := ceremony.ThisMachine()
	return &ceremony.Record{
		Step: step, TrustDomain: string(c.Authority.TrustDomain), Time: time.Now().UTC(), Machine: machine,
		Command: os.Args, Notes: r.notes, Signatures: r.signers,
	}, err
}

// end writes the protocol to dir and prints it.
func (r *rites) end(cmd *cobra.Command, record *ceremony.Record, dir string) error {
	path, err := record.Save(dir)
	if err != nil {
		return err
	}
	if r.program.JSON {
		return r.program.Print(cmd, record, nil)
	}
	if err := record.Print(cmd.OutOrStdout()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), "protocol:", path)
	return err
}

// warnOnline tells of a network where there should be none.
func warnOnline(cmd *cobra.Command, record *ceremony.Record) error {
	if record.Machine.Offline() {
		return nil
	}
	_, err := fmt.Fprintln(cmd.ErrOrStderr(), "warning: this machine has a network, and the protocol says so; a root's key belongs on one without")
	return err
}

func (r *rites) rootCommand() *cobra.Command {
	var label string
	cmd := &cobra.Command{
		Use:     "root",
		Short:   "Make a root's key and certificate (offline)",
		Example: "  pki ceremony root --state /media/usb/root --set authority.trust_domain=cloud.example.com --label 2026",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			record, err := r.begin("root", c)
			if err != nil {
				return err
			}
			if err := warnOnline(cmd, record); err != nil {
				return err
			}
			root, err := authority.MakeRoot(c.Authority, label)
			if err != nil {
				return explain(err, c)
			}
			record.Entropy = ceremony.Entropy(r.entropy)
			record.AddRootKey(root, c.Authority.KeyFile("root"))
			record.AddCertificate(enrol.RootsFile, root)
			if err := record.AddFile(filepath.Join(c.Authority.StateDir, enrol.RootsFile)); err != nil {
				return err
			}
			return r.end(cmd, record, c.Authority.StateDir)
		},
	}
	cmd.Flags().StringVar(&label, "label", time.Now().UTC().Format("2006-01"), "`text` that sets the root's name apart from those of other roots")
	r.entropyFlag(cmd)
	return cmd
}

func (r *rites) entropyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.entropy, "entropy", "", "`text` for the protocol about the machine's source of randomness")
}

func (r *rites) requestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request [ROLE...] --out DIR",
		Short: "Make keys for the next intermediates, and requests for the root",
		Long: "Makes keys in the state directory, or in the key management system, and writes\n" +
			"requests for their certificates to a directory, which goes to the machine with the\n" +
			"root's key. Keys that wait for a certificate are used again. It can run while the\n" +
			"PKI serves.",
		Example: "  pki ceremony request --out /media/usb/requests\n  pki ceremony request device --out /media/usb/requests",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			record, err := r.begin("request", c)
			if err != nil {
				return err
			}
			requests, err := authority.RequestIntermediates(c.Authority, args...)
			if err != nil {
				return explain(err, c)
			}
			record.Entropy = ceremony.Entropy(r.entropy)
			if err := os.MkdirAll(r.out, 0o755); err != nil {
				return err
			}
			for _, q := range requests {
				path := filepath.Join(r.out, q.Name+csrExt)
				if err := atomicfile.Write(path, q.CSR, 0o644); err != nil {
					return err
				}
				csr, err := enrol.ParseRequest(q.CSR)
				if err != nil {
					return err
				}
				record.AddKey(q.Name, csr, c.Authority.KeyFile(q.Name))
				if err := record.AddFile(path); err != nil {
					return err
				}
			}
			return r.end(cmd, record, r.out)
		},
	}
	r.outFlag(cmd)
	r.entropyFlag(cmd)
	return cmd
}

func (r *rites) outFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.out, "out", "", "`directory` to write to")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
}

// Endings of the files that go between the machines.
const (
	csrExt  = ".csr"
	certExt = ".pem"
)

func (r *rites) signCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "sign DIR",
		Short:   "Sign the requests in a directory with the root's key (offline)",
		Example: "  pki ceremony sign /media/usb/requests --state /media/usb/root",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			dir := args[0]
			record, err := r.begin("sign", c)
			if err != nil {
				return err
			}
			if err := warnOnline(cmd, record); err != nil {
				return err
			}
			paths, err := withExt(dir, csrExt)
			if err != nil {
				return err
			}
			root, err := authority.SigningRoot(c.Authority)
			if err != nil {
				return explain(err, c)
			}
			record.AddCertificate(enrol.RootsFile, root)
			if err := atomicfile.Write(filepath.Join(dir, enrol.RootsFile), enrol.EncodeCertificates(root), 0o644); err != nil {
				return err
			}
			for _, path := range paths {
				if err := r.sign(c, record, path); err != nil {
					return explain(err, c)
				}
			}
			return r.end(cmd, record, dir)
		},
	}
}

// sign makes the certificate for one request, beside it.
func (r *rites) sign(c config, record *ceremony.Record, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(path), csrExt)
	cert, err := authority.SignRequest(c.Authority, authority.Request{Name: name, CSR: text})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	out := filepath.Join(filepath.Dir(path), name+certExt)
	if err := atomicfile.Write(out, enrol.EncodeCertificates(cert), 0o644); err != nil {
		return err
	}
	record.AddCertificate(name+certExt, cert)
	return errors.Join(record.AddFile(path), record.AddFile(out))
}

// withExt lists the files of a directory with an ending, of which there must be one.
func withExt(dir, ext string) (out []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ext && e.Name() != enrol.RootsFile {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, &cli.Hint{Err: fmt.Errorf("%s has no file *%s", dir, ext), Hint: "is it the directory of the step before?"}
	}
	return out, nil
}

func (r *rites) installCommand() *cobra.Command {
	var fingerprint string
	cmd := &cobra.Command{
		Use:   "install DIR",
		Short: "Put signed certificates to their keys, and use them",
		Long: "Puts the certificates of a directory to the keys that \"request\" made. Certificates\n" +
			"of endpoints come from the new intermediates from then on, also from a server that\n" +
			"is running; those below a root that is not active wait for \"pki bundle activate\".\n" +
			"In a state directory without a root the first is installed too, if it has the\n" +
			"fingerprint of the protocol.",
		Example: "  pki ceremony install /media/usb/requests --root 3f5a…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			dir := args[0]
			record, err := r.begin("install", c)
			if err != nil {
				return err
			}
			paths, err := withExt(dir, certExt)
			if err != nil {
				return err
			}
			var certs []*x509.Certificate
			for _, path := range paths {
				one, err := readCertificates(path)
				if err != nil {
					return err
				}
				certs = append(certs, one[0])
				if err := record.AddFile(path); err != nil {
					return err
				}
			}
			if fingerprint != "" {
				if err := installRoot(c, dir, fingerprint); err != nil {
					return explain(err, c)
				}
			}
			names, err := authority.Install(c.Authority, certs...)
			if err != nil {
				return explain(err, c)
			}
			for i, cert := range certs {
				record.AddCertificate(names[i]+certExt, cert)
			}
			if err := r.end(cmd, record, dir); err != nil {
				return err
			}
			return r.use(cmd)
		},
	}
	cmd.Flags().StringVar(&fingerprint, "root", "", "`fingerprint` of the root, from its protocol, for a new PKI")
	return cmd
}

func installRoot(c config, dir, fingerprint string) error {
	roots, err := readCertificates(filepath.Join(dir, enrol.RootsFile))
	if err != nil {
		return err
	}
	return authority.InstallRoot(c.Authority, roots[0], fingerprint)
}

// use makes a running server take over what was installed.
func (r *rites) use(cmd *cobra.Command) error {
	admin, c, err := r.program.admin()
	if err != nil {
		return err
	}
	t, err := admin.Reload(cmd.Context())
	if errors.Is(err, server.ErrNotServed) {
		_, err = fmt.Fprintln(cmd.ErrOrStderr(), "installed; \"pki serve\" uses it when it starts")
		return err
	}
	if err != nil {
		return explain(err, c)
	}
	var active []string
	for _, i := range t.Issuers {
		if i.Active {
			active = append(active, fmt.Sprintf("%s generation %d", i.Role, i.Generation))
		}
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), "the server issues from:", strings.Join(active, ", "))
	return err
}

func (r *rites) crossCommand() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use:   "cross-sign ROOT --out DIR",
		Short: "Certify a newer root with the key of an older one (offline)",
		Long: "Makes the cross certificate by which those who trust the older root may trust the\n" +
			"newer one. ROOT is the certificate of the newer; the state directory is that of\n" +
			"the older. Make one with each root that endpoints may still hold on to.",
		Example: "  pki ceremony cross-sign /media/usb/root-2/roots.pem --state /media/usb/root-1 --out /media/usb/cross",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			record, err := r.begin("cross-sign", c)
			if err != nil {
				return err
			}
			if err := warnOnline(cmd, record); err != nil {
				return err
			}
			newer, err := readCertificates(args[0])
			if err != nil {
				return err
			}
			var end time.Time
			if until != "" {
				if end, err = time.Parse(time.DateOnly, until); err != nil {
					return &cli.Hint{Err: fmt.Errorf("--until: %w", err), ExitCode: cli.ExitUsage, Hint: "write a date, as in 2036-01-31"}
				}
			}
			cross, err := authority.CrossSign(c.Authority, newer[0], end)
			if err != nil {
				return explain(err, c)
			}
			if err := os.MkdirAll(r.out, 0o755); err != nil {
				return err
			}
			path := filepath.Join(r.out, "cross"+certExt)
			if err := atomicfile.Write(path, enrol.EncodeCertificates(cross), 0o644); err != nil {
				return err
			}
			record.AddCertificate(filepath.Base(args[0]), newer[0])
			record.AddCertificate(filepath.Base(path), cross)
			if err := record.AddFile(path); err != nil {
				return err
			}
			return r.end(cmd, record, r.out)
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "`date` of expiry, if it is before that of the roots")
	r.outFlag(cmd)
	return cmd
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := enrol.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

func (r *rites) intermediatesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "intermediates [ROLE...]",
		Short: "Make the next intermediates at once, with the root's key in the state directory",
		Long: "Does request, sign and install on one machine, for a PKI whose root key is in its\n" +
			"state directory, or has been brought back for the purpose.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.program.load()
			if err != nil {
				return err
			}
			record, err := r.begin("intermediates", c)
			if err != nil {
				return err
			}
			certs, names, err := authority.RenewIntermediates(c.Authority, args...)
			if err != nil {
				return explain(err, c)
			}
			record.Entropy = ceremony.Entropy(r.entropy)
			for i, cert := range certs {
				record.AddCertificate(names[i]+certExt, cert)
			}
			if err := r.end(cmd, record, c.Authority.StateDir); err != nil {
				return err
			}
			return r.use(cmd)
		},
	}
	r.entropyFlag(cmd)
	return cmd
}
