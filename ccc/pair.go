package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pairing is one run of "ccc pair".
type pairing struct {
	app *cli.App
	cmd *cobra.Command

	url, ca, user string
	passwordFile  string
	name          string
	pbx           pbxFlags
	timeout       time.Duration
	detach        bool
}

func pairCommand(app *cli.App) *cobra.Command {
	p := &pairing{app: app}
	cmd := &cobra.Command{
		Use:   "pair SERIAL",
		Short: "Pair a PBX, as a browser would do it",
		Long: "Saves a serial in a running control centre, prints the token to type at the PBX,\n" +
			"and waits until the PBX is paired. With --pbx it also types the token into the\n" +
			"PBX's own API, as its administrator. Passwords come from files, or are asked for.\n\n" +
			"A system that is there already, and not paired, gets a new offer.\n" +
			"With --json each step is a line of JSON.",
		Example: "  ccc pair 0123456789 --url https://ccc.example.com --user anna@example.com\n" +
			"  ccc pair 0123456789 --url http://127.0.0.1:8080 --user admin@ccc.invalid --password-file first-admin \\\n" +
			"    --pbx http://127.0.0.1:9001 --pbx-user admin --pbx-password-file pbx/admin-password",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.cmd = cmd
			serial, err := identity.ParseSerial(args[0])
			if err != nil {
				return &cli.Hint{Err: err, Hint: "a serial is ten digits, with its leading zeros", ExitCode: cli.ExitUsage}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if p.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, p.timeout)
				defer cancel()
			}
			return p.hint(p.run(ctx, serial))
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.url, "url", "", "`address` of the control centre (needed)")
	f.StringVar(&p.ca, "ca-file", "", "PEM `file` with the roots that its certificate is checked against; default: those of the system")
	f.StringVar(&p.user, "user", "", "`e-mail` address of the account (needed)")
	f.StringVar(&p.passwordFile, "password-file", "", "`file` with its password, - for standard input; default: ask")
	f.StringVar(&p.name, "name", "", "`name` of the system; default: the serial")
	f.DurationVar(&p.timeout, "timeout", 0, "give up waiting after this `time`; 0: when the offer ends")
	f.BoolVar(&p.detach, "no-wait", false, "print the token and do not wait")
	f.StringVar(&p.pbx.url, "pbx", "", "`address` of the PBX's own API: type the token there, too")
	f.StringVar(&p.pbx.user, "pbx-user", "admin", "`name` of the PBX's administrator")
	f.StringVar(&p.pbx.passwordFile, "pbx-password-file", "", "`file` with the administrator's password, - for standard input; default: ask")
	f.StringVar(&p.pbx.ca, "pbx-ca-file", "", "PEM `file` with the roots that the PBX's certificate is checked against")
	cmd.MarkFlagsMutuallyExclusive("pbx", "no-wait")
	for _, needed := range []string{"url", "user"} {
		if err := cmd.MarkFlagRequired(needed); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

// step is one line of progress.
type step struct {
	Step   string     `json:"step"`
	System string     `json:"system"`
	Offer  *api.Offer `json:"offer,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

func (p *pairing) run(ctx context.Context, serial identity.Serial) error {
	ccc, err := newClient(p.url, p.ca)
	if err != nil {
		return &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
	}
	password, err := readPassword(p.cmd, p.passwordFile, "Password of "+p.user)
	if err != nil {
		return err
	}
	var pbx *pbxClient
	if p.pbx.url != "" {
		if pbx, err = p.pbx.open(p.cmd); err != nil {
			return err
		}
	}
	if err := ccc.do(ctx, http.MethodPost, api.Prefix+"/session", api.Credentials{Email: p.user, Password: password}, nil); err != nil {
		return err
	}
	// Ends the session also where the wait was interrupted.
	defer func() { _ = ccc.do(context.WithoutCancel(ctx), http.MethodDelete, api.Prefix+"/session", nil, nil) }()

	saved, err := p.save(ctx, ccc, serial)
	if err != nil {
		return err
	}
	if err := p.say(step{Step: "offered", System: saved.System.ID, Offer: &saved.Offer}); err != nil {
		return err
	}
	if p.detach {
		return nil
	}
	return p.wait(ctx, ccc, saved, pbx)
}

// save saves the serial, or makes a new offer where it is saved already.
func (p *pairing) save(ctx context.Context, ccc *client, serial identity.Serial) (api.SystemOffer, error) {
	name := cmp.Or(p.name, string(serial))
	once := func(r *http.Request) { r.Header.Set("Idempotency-Key", rand.Text()) }
	var saved api.SystemOffer
	err := ccc.do(ctx, http.MethodPost, api.Prefix+"/systems", api.NewSystem{Serial: string(serial), Name: name}, &saved, once)
	if !hasCode(err, string(api.CodeSerialTaken)) {
		return saved, err
	}
	var list api.SystemList
	if err := ccc.do(ctx, http.MethodGet, api.Prefix+"/systems?q="+url.QueryEscape(string(serial)), nil, &list); err != nil {
		return saved, err
	}
	for _, s := range list.Items {
		if s.Serial == string(serial) {
			saved.System = s
			err = ccc.do(ctx, http.MethodPost, api.Prefix+"/systems/"+url.PathEscape(s.ID)+"/offer", nil, &saved.Offer, once)
			return saved, err
		}
	}
	return saved, err
}

// errNotPaired: the wait has ended otherwise than hoped for.
var errNotPaired = errors.New("not paired")

// streamRetry is the wait before a stream of events that broke is opened again.
const streamRetry = 500 * time.Millisecond

// wait follows the system until it is paired, or will not be. Where the stream of events
// breaks, another one is opened.
func (p *pairing) wait(ctx context.Context, ccc *client, saved api.SystemOffer, pbx *pbxClient) error {
	w := &watch{pairing: p, ccc: ccc, saved: saved, pbx: pbx, state: store.StateOffered}
	for {
		// The state is looked at once the stream is open, so that nothing is missed.
		w.look = true
		err := ccc.stream(ctx, api.Prefix+"/events", func(event string, data []byte) bool {
			w.done, w.result = w.event(ctx, event, data)
			return !w.done && w.result == nil
		})
		switch {
		case w.done || w.result != nil:
			return w.result
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", errNotPaired, context.Cause(ctx))
		}
		if _, refused := errors.AsType[*problem](err); refused {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(streamRetry):
		}
	}
}

// watch is what the events have shown so far.
type watch struct {
	*pairing
	ccc    *client
	saved  api.SystemOffer
	pbx    *pbxClient
	state  store.State
	look   bool // at the state, with the next event
	typed  bool
	done   bool
	result error
}

// event takes one event. Done: the system is paired.
func (w *watch) event(ctx context.Context, event string, data []byte) (done bool, err error) {
	var s api.System
	switch {
	case event == "reset" || w.look:
		w.look = false
		err = w.ccc.do(ctx, http.MethodGet, api.Prefix+"/systems/"+url.PathEscape(w.saved.System.ID), nil, &s)
	case event == "system":
		err = json.Unmarshal(data, &s)
	case event == "removed":
		var r api.Removed
		if err := json.Unmarshal(data, &r); err == nil && r.ID == w.saved.System.ID {
			return false, fmt.Errorf("%w: the system was removed", errNotPaired)
		}
	}
	if err != nil || s.ID != w.saved.System.ID || s.State == w.state {
		return false, err
	}
	w.state = s.State
	return w.reached(ctx, s)
}

// reached tells of a state, and types the token when the PBX has the offer.
func (w *watch) reached(ctx context.Context, s api.System) (done bool, err error) {
	if err := w.say(step{Step: string(s.State), System: s.ID, Reason: s.ErrorCode}); err != nil {
		return false, err
	}
	switch s.State {
	case store.StatePaired:
		return true, nil
	case store.StateReceived:
		if w.pbx == nil || w.typed {
			return false, nil
		}
		w.typed = true
		if err := w.pbx.enable(ctx, w.saved.Offer); err != nil {
			return false, err
		}
		return false, w.say(step{Step: "typed", System: s.ID})
	case store.StateExpired, store.StateDeclined, store.StateLeft, store.StateError:
		return false, fmt.Errorf("%w: the state is %s %s", errNotPaired, s.State, s.ErrorCode)
	}
	return false, nil
}

// texts are the steps as people read them.
var texts = map[string]string{
	"received": "The PBX shows the offer. Compare the code, and type the token on its page CCC.",
	"typed":    "The token is typed at the PBX.",
	"proving":  "The PBX has made its user; the control centre signs in there.",
	"paired":   "Paired.",
	"expired":  "The offer has expired.",
	"declined": "The offer was refused at the PBX.",
	"left":     "The pairing has ended.",
	"error":    "The pairing has failed.",
}

// say prints a step.
func (p *pairing) say(s step) error {
	out := p.cmd.OutOrStdout()
	if p.app.JSON {
		return json.NewEncoder(out).Encode(s)
	}
	if s.Offer == nil {
		text, ok := texts[s.Step]
		if !ok {
			return nil
		}
		_, err := fmt.Fprintln(out, text)
		return err
	}
	_, err := fmt.Fprintf(out, "token    %s\ncode     %s   (the PBX has to show the same)\nexpires  %s\n",
		s.Offer.Token, s.Offer.Code, s.Offer.ExpiresAt.Local().Format(time.DateTime))
	return err
}

// hint says what to do about the usual failures.
func (p *pairing) hint(err error) error {
	if err == nil {
		return nil
	}
	for code, hint := range map[string]string{
		string(api.CodeBadCredentials): "check --user and the password",
		string(api.CodeLoginLimited):   "wait some minutes, and check the password",
		string(api.CodeForbidden):      "only administrators and owners pair; ask one",
		string(api.CodeState):          "it is paired; remove it first, or switch CCC off at the PBX",
		string(api.CodeQuotaOffers):    "wait, or withdraw offers that nobody needs",
	} {
		if hasCode(err, code) {
			return &cli.Hint{Err: err, Hint: hint}
		}
	}
	if errors.Is(err, errNotPaired) {
		return &cli.Hint{Err: err, Hint: "the same command makes a new offer"}
	}
	return err
}
