package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pairing is one run of "ccc pair".
type pairing struct {
	app *cli.App
	cmd *cobra.Command
	ccc *connection

	name    string
	pbx     pbxFlags
	timeout time.Duration
	detach  bool
}

func pairCommand(app *cli.App) *cobra.Command {
	p := &pairing{app: app}
	cmd := &cobra.Command{
		Use: "pair SERIAL", GroupID: groupClient,
		Short: "Pair a PBX, as a browser would do it",
		Long: "Saves a serial in a running control centre, prints the token to type at the PBX,\n" +
			"and waits until the PBX is paired. With --pbx it also types the token into the\n" +
			"PBX's own API, as its administrator. Passwords come from files, or are asked for.\n\n" +
			"A system that is there already, and not paired, gets a new offer.\n" +
			"With --json each step is a line of JSON.\n\n" + connectHelp,
		Example: "  ccc login --url https://ccc.example.com --user anna@example.com && ccc pair 0123456789\n" +
			"  ccc pair 0123456789 --url http://127.0.0.1:8080 --user admin@ccc.invalid --password-file first-admin \\\n" +
			"    --pbx http://127.0.0.1:9001 --pbx-user admin --pbx-password-file pbx/admin-password",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return err
			}
			_, err := serialOf(args[0])
			return err
		},
	}
	connected(cmd, func(ctx context.Context, k *connection, args []string) error {
		p.cmd, p.ccc = cmd, k
		serial, err := serialOf(args[0])
		if err != nil {
			return err
		}
		if p.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, p.timeout)
			defer cancel()
		}
		return p.hint(p.run(ctx, serial))
	})
	f := cmd.Flags()
	f.StringVar(&p.name, "name", "", "`name` of the system; default: the serial")
	f.DurationVar(&p.timeout, "timeout", 0, "give up waiting after this `time`; 0: when the offer ends")
	f.BoolVar(&p.detach, "no-wait", false, "print the token and do not wait")
	f.StringVar(&p.pbx.url, "pbx", "", "`address` of the PBX's own API: type the token there, too")
	f.StringVar(&p.pbx.user, "pbx-user", "admin", "`name` of the PBX's administrator")
	f.StringVar(&p.pbx.passwordFile, "pbx-password-file", "", "`file` with the administrator's password, - for standard input; default: ask")
	f.StringVar(&p.pbx.ca, "pbx-ca-file", "", "PEM `file` with the roots that the PBX's certificate is checked against")
	cmd.MarkFlagsMutuallyExclusive("pbx", "no-wait")
	return cmd
}

// serialOf reads a serial of the command line.
func serialOf(text string) (identity.Serial, error) {
	serial, err := identity.ParseSerial(text)
	if err != nil {
		return "", &cli.Hint{Err: err, Hint: "a serial is ten digits, with its leading zeros", ExitCode: cli.ExitUsage}
	}
	return serial, nil
}

// step is one line of progress.
type step struct {
	Step   string        `json:"step"`
	System string        `json:"system"`
	Offer  *client.Offer `json:"offer,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

func (p *pairing) run(ctx context.Context, serial identity.Serial) error {
	var pbx *pbxClient
	var err error
	if p.pbx.url != "" {
		if pbx, err = p.pbx.open(p.cmd); err != nil {
			return err
		}
	}
	saved, err := p.save(ctx, serial)
	if err != nil {
		return err
	}
	if err := p.say(step{Step: "offered", System: saved.System.ID, Offer: &saved.Offer}); err != nil {
		return err
	}
	if p.detach {
		return nil
	}
	return p.wait(ctx, saved, pbx)
}

// save saves the serial, or makes a new offer where it is saved already.
func (p *pairing) save(ctx context.Context, serial identity.Serial) (client.SystemOffer, error) {
	saved, err := p.ccc.CreateSystem(ctx, client.NewSystem{Serial: string(serial), Name: cmp.Or(p.name, string(serial))})
	if !client.HasCode(err, client.CodeSerialTakenByYou) {
		return saved, err
	}
	for s, failed := range p.ccc.ListSystemsAll(ctx, &client.ListSystemsParams{Q: string(serial)}) {
		if failed != nil {
			return saved, failed
		}
		if s.Serial == string(serial) {
			saved.System = s
			saved.Offer, err = p.ccc.RenewOffer(ctx, s.ID)
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
func (p *pairing) wait(ctx context.Context, saved client.SystemOffer, pbx *pbxClient) error {
	w := &watch{pairing: p, saved: saved, pbx: pbx, state: string(store.StateOffered)}
	for {
		// The state is looked at once the stream is open, so that nothing is missed.
		w.look = true
		var broke error
		for e, err := range p.ccc.Events(ctx) {
			if err != nil {
				broke = err
				break
			}
			if done, err := w.event(ctx, e); done || err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errNotPaired, context.Cause(ctx))
		}
		if _, refused := errors.AsType[*client.Problem](broke); refused {
			return broke
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
	saved client.SystemOffer
	pbx   *pbxClient
	state string
	look  bool // at the state, with the next event
	typed bool
}

// event takes one event. Done: the system is paired.
func (w *watch) event(ctx context.Context, e client.LiveEvent) (done bool, err error) {
	var s client.System
	switch {
	case e.Kind == "reset" || w.look:
		w.look = false
		s, err = w.ccc.GetSystem(ctx, w.saved.System.ID)
	case e.Kind == "system":
		err = e.Read(&s)
	case e.Kind == "removed":
		var r client.Removed
		if err := e.Read(&r); err == nil && r.ID == w.saved.System.ID {
			return false, fmt.Errorf("%w: the system was removed", errNotPaired)
		}
	}
	if err != nil || s.ID != w.saved.System.ID || s.State == w.state {
		if ctx.Err() != nil {
			err = nil // the loop says so
		}
		return false, err
	}
	w.state = s.State
	return w.reached(ctx, s)
}

// reached tells of a state, and types the token when the PBX has the offer.
func (w *watch) reached(ctx context.Context, s client.System) (done bool, err error) {
	if err := w.say(step{Step: s.State, System: s.ID, Reason: s.ErrorCode}); err != nil {
		return false, err
	}
	switch store.State(s.State) {
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
	if errors.Is(err, errNotPaired) {
		return &cli.Hint{Err: err, Hint: "the same command makes a new offer"}
	}
	return adviseWith(err, map[client.Code]string{
		client.CodeForbidden: "only administrators and owners pair; ask one",
		client.CodeState:     "it is paired; remove it first, or switch CCC off at the PBX",
	})
}
