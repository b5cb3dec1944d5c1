package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// connection is how a command reaches a control centre, and as whom.
type connection struct {
	url, ca, user, passwordFile, codeFile string
	profile, tenant                       string

	cmd *cobra.Command
	*client.Client
	http *http.Client
	base *url.URL

	saved   profile // that the session comes from
	session string  // the name of that; empty: it is another's
	own     bool    // the session is this command's, and ends with it
}

// connectFlags are the names of the flags of a connection: no other flag of a command
// has one of them.
var connectFlags = []string{"url", "ca-file", "user", "password-file", "code-file", "profile", "tenant"}

// connectHelp is said in the help of each group of commands.
const connectHelp = "Who asks: with --user somebody signs in for this one command; else CCC_TOKEN has an API token;\n" +
	"else it is who has signed in with \"ccc login\". CCC_URL, CCC_TENANT and CCC_PROFILE stand for flags.\n\n" +
	"Exit codes: 0 done, 1 failed, 2 wrong use, 4 not signed in, 5 refused, 6 there is no such thing."

// newConnection gives a command its flags.
func newConnection(cmd *cobra.Command) *connection {
	k := &connection{cmd: cmd}
	f := cmd.Flags()
	f.StringVar(&k.url, "url", "", "`address` of the control centre; default: that of the profile")
	f.StringVar(&k.ca, "ca-file", "", "PEM `file` with the roots that its certificate is checked against; default: those of the system")
	f.StringVar(&k.user, "user", "", "`e-mail` address: sign in for this one command")
	f.StringVar(&k.passwordFile, "password-file", "", "`file` with the password, - for standard input; default: ask")
	f.StringVar(&k.codeFile, "code-file", "", "`file` with a code of the second factor, or a recovery code, where one is needed; default: ask")
	f.StringVar(&k.profile, "profile", "", "`name` under which \"ccc login\" keeps who is signed in; default: "+defaultProfile)
	f.StringVar(&k.tenant, "tenant", "", "`id` of the organisation that it is about; default: the own one")
	_ = cmd.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, err := profiles()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.RegisterFlagCompletionFunc("tenant", k.completeTenants)
	return k
}

// errWho: nothing says who asks.
var errWho = errors.New("nobody is signed in")

// open connects: after it the client can be used, until close.
func (k *connection) open(ctx context.Context) error {
	name := chosenProfile(k.profile)
	saved, err := loadProfile(name)
	switch {
	case errors.Is(err, errNoProfile) && (k.profile == "" || k.user != ""):
		err = nil
	case errors.Is(err, errNoProfile):
		return &cli.Hint{Err: fmt.Errorf("--profile %s: %w", name, err), Hint: "make it with: ccc login --profile " + name, ExitCode: cli.ExitUsage}
	case err == nil:
		k.saved = saved
	}
	if err != nil {
		return err
	}
	address := cmp.Or(k.url, os.Getenv("CCC_URL"), saved.URL)
	token := os.Getenv("CCC_TOKEN")
	switch {
	case address == "":
		return &cli.Hint{Err: errWho, Hint: "sign in with: ccc login --url https://… --user …", ExitCode: exitSignedOut}
	case k.user == "" && token == "" && address == saved.URL: // what a profile has is for its server alone
		token = saved.Token
	}
	if k.user != "" {
		token = ""
	}
	if err := k.make(address, cmp.Or(k.ca, saved.CA), token, cmp.Or(k.tenant, os.Getenv("CCC_TENANT"), saved.Tenant)); err != nil {
		return err
	}
	switch {
	case k.user != "":
		return k.signIn(ctx)
	case token != "":
		return nil
	case address == saved.URL && len(saved.Cookies) > 0:
		k.session = name
		k.restore(saved.Cookies)
		return nil
	}
	return &cli.Hint{Err: errWho, Hint: "sign in with: ccc login --url " + address + " --user …", ExitCode: exitSignedOut}
}

// make makes the client.
func (k *connection) make(address, caFile, token, tenant string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		var err error
		if transport.TLSClientConfig, err = rootsOf(caFile); err != nil {
			return err
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	k.http = &http.Client{Transport: transport, Jar: jar}
	k.Client, err = client.New(client.Config{URL: address, Token: token, Tenant: tenant, HTTP: k.http, UserAgent: "ccc/" + configs.Version()})
	if err != nil {
		return &cli.Hint{Err: fmt.Errorf("--url: %w", err), ExitCode: cli.ExitUsage}
	}
	k.base, err = url.Parse(address)
	return err
}

// restore puts the cookies of a session into the jar.
func (k *connection) restore(all []cookie) {
	cookies := make([]*http.Cookie, len(all))
	for i, c := range all {
		cookies[i] = &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: k.base.Scheme == "https"}
	}
	k.http.Jar.SetCookies(k.base, cookies)
}

// errEnrol: the account has no second factor, and needs one.
var errEnrol = errors.New("the account has to set up a second factor first, in a browser")

// signIn begins a session that ends with the command.
func (k *connection) signIn(ctx context.Context) error {
	password, err := readPassword(k.cmd, k.passwordFile, "Password of "+k.user)
	if err != nil {
		return err
	}
	me, err := k.Client.SignIn(ctx, client.Credentials{Email: k.user, Password: password})
	if err != nil {
		return err
	}
	k.own = true
	switch me.Proof.Need {
	case "":
		return nil
	case "second":
		code, err := readPassword(k.cmd, k.codeFile, "Code of the second factor, or a recovery code")
		if err == nil {
			_, err = k.Prove(ctx, secondFactor(code))
		}
		if err != nil {
			k.close(ctx)
		}
		return err
	default:
		k.close(ctx)
		return errEnrol
	}
}

// secondFactor: recovery codes are longer than those of an app.
func secondFactor(code string) client.SecondFactor {
	if len(code) > 8 {
		return client.SecondFactor{Recovery: code}
	}
	return client.SecondFactor{TOTP: code}
}

// close ends the command's own session, also after ctx has ended. That of a profile is
// kept as it is now.
func (k *connection) close(ctx context.Context) {
	if k.own {
		_ = k.SignOut(context.WithoutCancel(ctx)) // it ends by itself, too
		k.own = false
	}
	if k.session == "" {
		return
	}
	before := slices.Clone(k.saved.Cookies)
	if k.saved.keep(k.http.Jar.Cookies(k.base)); len(k.saved.Cookies) > 0 && !slices.Equal(before, k.saved.Cookies) {
		if err := k.saved.save(k.session); err != nil {
			_, _ = fmt.Fprintf(k.cmd.ErrOrStderr(), "the new cookie of the session could not be kept: %v\n", err)
		}
	}
}

// connected gives a command that needs the control centre its connection, for as long as
// it runs.
func connected(cmd *cobra.Command, run func(ctx context.Context, k *connection, args []string) error) {
	k := newConnection(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		if err := k.open(ctx); err != nil {
			return advise(err)
		}
		defer k.close(ctx)
		return advise(run(ctx, k, args))
	}
}

// rootsOf trusts the certificates in a file, and no others.
func rootsOf(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
