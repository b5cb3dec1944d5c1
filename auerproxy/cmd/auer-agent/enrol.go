package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// enrolFlags are the flags of "auer-agent enrol".
type enrolFlags struct {
	pki, token, tokenFile, roots, fingerprint, serial string
	force                                             bool
}

func enrolCommand(app *cli.App) *cobra.Command {
	var f enrolFlags
	cmd := &cobra.Command{
		Use:   "enrol",
		Short: "Make the device's key and get its first certificate",
		Long: `Make the device's key and get its first certificate: for a one-time token, or with
what the device left the factory with, if the configuration has it
(pki.factory_dir, pki.secret_file).

The key never leaves the device. The PKI is known by its root certificate
(--roots) or by the root's SHA-256 (--fingerprint); one of them is needed.
A token on the command line can be seen by other users of the machine while the
command runs; --token-file avoids that, and "-" reads standard input.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEnrol(cmd, app, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.pki, "pki", "", "`address` of the PKI (default: pki.url of the configuration)")
	flags.StringVar(&f.token, "token", "", "one-time `token`")
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with the token; - for standard input")
	flags.StringVar(&f.roots, "roots", "", "PEM `file` with the PKI's root certificate (default: pki.roots)")
	flags.StringVar(&f.fingerprint, "fingerprint", "", "SHA-256 of the root certificate, in `hex` (default: pki.fingerprint)")
	flags.StringVar(&f.serial, "serial", "", "`serial` that the certificate must be for")
	flags.BoolVar(&f.force, "force", false, "replace credentials that are there already")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
	cmd.MarkFlagsMutuallyExclusive("roots", "fingerprint")
	return cmd
}

// enrolled is what the command prints.
type enrolled struct {
	Identity string `json:"identity"`
	Expires  string `json:"expires"`
	Dir      string `json:"dir"`
}

func runEnrol(cmd *cobra.Command, app *cli.App, f enrolFlags) error {
	var cfg looseConfig
	cfg.Config = Default()
	if err := app.Load(&cfg); err != nil {
		return err
	}
	p := &cfg.PKI
	p.URL = cmp.Or(f.pki, p.URL)
	if f.roots != "" || f.fingerprint != "" {
		p.Roots, p.Fingerprint = f.roots, f.fingerprint
	}
	byToken := f.token != "" || f.tokenFile != ""
	switch {
	case !byToken && !p.enrols():
		return usage("there is nothing to enrol with", "give --token-file, or pki.factory_dir or pki.secret_file in the configuration")
	case p.Roots == "" && p.Fingerprint == "":
		return usage("nothing tells the PKI from others", "give --roots or --fingerprint, or pki.roots or pki.fingerprint in the configuration")
	case p.URL == "" && (byToken || p.FactoryDir == "" || p.Roots == ""):
		return usage("the address of the PKI is not known", "give --pki https://host:port, or pki.url in the configuration")
	}
	clock := enrol.OpenClock(enrol.ClockConfig{File: cfg.clockFile()})
	client, err := p.client(clock, cfg.logger(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	client.KeyFile = cfg.enrollingFile()
	var want identity.ID
	if f.serial != "" {
		serial, err := identity.ParseSerial(f.serial)
		if err != nil {
			return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
		}
		want = identity.Device(cfg.PKI.TrustDomain, serial)
	}
	dir := cfg.credentialsDir()
	if _, err := enrol.LoadCredentials(dir); !errors.Is(err, fs.ErrNotExist) && !f.force {
		return &cli.Hint{Err: fmt.Errorf("%s holds credentials already", dir), Hint: "--force replaces them; the old certificate stays valid until it expires or is revoked"}
	}
	get := func() (*enrol.Credentials, error) { return p.enrol(cmd.Context(), client, want) }
	if byToken {
		token, err := readToken(cmd.InOrStdin(), f)
		if err != nil {
			return err
		}
		get = func() (*enrol.Credentials, error) { return client.Enrol(cmd.Context(), token, want) }
	}
	creds, err := get()
	if err != nil {
		return &cli.Hint{Err: fmt.Errorf("enrol: %w", err), Hint: enrolHint(err)}
	}
	if err := keep(&cfg.Config, creds); err != nil {
		return err
	}
	out := enrolled{creds.ID().String(), creds.Leaf().NotAfter.UTC().Format("2006-01-02 15:04 MST"), dir}
	t := &cli.Table{}
	t.Add("enrolled", out.Identity)
	t.Add("expires", out.Expires)
	t.Add("kept in", out.Dir)
	return app.Print(cmd, out, t)
}

func usage(problem, hint string) error {
	return &cli.Hint{Err: errors.New(problem), Hint: hint, ExitCode: cli.ExitUsage}
}

// keep saves what an enrolment gave.
func keep(cfg *Config, creds *enrol.Credentials) error {
	if creds.ID().Kind != identity.KindDevice {
		return fmt.Errorf("the certificate is for %s, which is not a device", creds.ID())
	}
	if err := writeInstanceID(cfg.instanceFile(), agent.NewInstanceID()); err != nil {
		return err
	}
	if err := creds.Save(cfg.credentialsDir()); err != nil {
		return err
	}
	if err := os.Remove(cfg.enrollingFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// looseConfig is a configuration of which only the PKI and the state directory
// matter: a device may be enrolled before its relays are known.
type looseConfig struct {
	Config `yaml:",inline"`
}

// Validate replaces the check of the whole configuration.
func (c *looseConfig) Validate() error {
	if c.StateDir == "" {
		return &configs.KeyError{Key: "state_dir", Problem: "is required"}
	}
	return nil
}

func readToken(stdin io.Reader, f enrolFlags) (string, error) {
	switch f.tokenFile {
	case "":
		return f.token, nil
	case "-":
		text, err := io.ReadAll(io.LimitReader(stdin, enrol.MaxBody))
		return strings.TrimSpace(string(text)), err
	default:
		text, err := configs.SecretFile(f.tokenFile).Read()
		return strings.TrimSpace(string(text)), err
	}
}

func enrolHint(err error) string {
	switch {
	case errors.Is(err, enrol.ErrToken):
		return "a token works once and for a limited time; ask for a new one"
	case errors.Is(err, enrol.ErrSecret):
		return "a secret is good for one enrolment; ask for a new one"
	case errors.Is(err, enrol.ErrConflict):
		return "another box has this serial; the PKI's operator can tell which"
	case errors.Is(err, enrol.ErrUnknown):
		return "the PKI's operator puts devices on the list"
	case errors.Is(err, enrol.ErrFingerprint):
		return "compare the fingerprint with the one that the PKI's operator tells you"
	default:
		return ""
	}
}

// writeInstanceID keeps the id that tells two holders of one certificate apart.
func writeInstanceID(path string, id []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(hex.EncodeToString(id)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// instanceID reads the id, or makes it where the credentials came without one.
func instanceID(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := agent.NewInstanceID()
		return id, writeInstanceID(path, id)
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
