package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// bystanderCalls is what bystanders do where --load does not say.
const bystanderCalls = "open:rate=200"

// storm measures the calls of bystanders before and while the whole fleet is
// restarted at once.
func (s *simulation) storm(ctx context.Context) (err error) {
	calls := cmp.Or(s.o.load, bystanderCalls)
	r := &load.StormReport{Devices: s.o.devices, Bystanders: s.o.bystanders}
	if r.Model, err = load.ParseModel(calls); err != nil {
		return err
	}
	others := &process{args: []string{
		"bystanders", "--relay", s.relay.Relay, "--dir", s.others, "--trust-domain", s.o.domain, "--devices", strconv.Itoa(s.o.bystanders),
		"--transport", s.o.transport, "--load", calls, "--seed", strconv.FormatUint(s.o.seed, 10), "--services", strings.Join(s.o.services, ","),
	}}
	s.progress.Say("%d bystanders", s.o.bystanders)
	if err := others.start(ctx); err != nil {
		return err
	}
	defer others.kill()
	s.report.Storm = r
	for range s.o.rounds {
		if err := s.stormRound(ctx, others, r); err != nil {
			return err
		}
	}
	if r.Failed > 0 {
		s.failed("%d of %d calls of bystanders failed, the first with: %s", r.Failed, r.Calls, r.FirstError)
	}
	if r.Back < r.Devices {
		s.failed("%d of %d devices did not come back from a storm within %s", r.Devices-r.Back, r.Devices, s.o.patience)
	}
	return nil
}

func (s *simulation) stormRound(ctx context.Context, others *process, r *load.StormReport) error {
	quiet, err := s.watch(ctx, others, "before the storm", func(ctx context.Context) error { return wait(ctx, s.o.duration) })
	if err != nil {
		return err
	}
	// The devices of the fleet have processors of their own in truth.
	if err := yield(ctx, os.Getpid(), true); err != nil {
		return err
	}
	var profiles errgroup.Group
	stormy, err := s.watch(ctx, others, "coming back", func(ctx context.Context) error {
		profiles.Go(func() error { return s.cpuProfiles(ctx, "storm", cpuWindow) })
		s.fleet.Mark()
		s.fleet.Restart()
		waiting, cancel := context.WithTimeout(ctx, s.o.patience)
		defer cancel()
		err := s.fleet.WaitBack(waiting)
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil // the report says who is away
		}
		return err
	})
	if err := errors.Join(err, profiles.Wait(), yield(context.WithoutCancel(ctx), os.Getpid(), false)); err != nil {
		return err
	}
	r.Add(quiet, stormy, s.fleet.Comeback())
	return nil
}

// watch has the bystanders call while f runs.
func (s *simulation) watch(ctx context.Context, others *process, what string, f func(context.Context) error) (result load.Result, err error) {
	err = s.progress.While(ctx, s.line(what), func(ctx context.Context) error {
		if err := others.say("begin"); err != nil {
			return err
		}
		if err := f(ctx); err != nil {
			return err
		}
		return errors.Join(others.say("end"), others.read(&result))
	})
	if err == nil && result.Calls == 0 {
		err = errors.New("bystanders made no calls")
	}
	return result, err
}

// bystanders are the flags of the hidden command.
type bystanders struct {
	relay, dir, domain, transport, load string
	devices                             int
	seed                                uint64
	services                            []string
}

// bystandersCommand is a fleet with its caller in a process of its own. After the
// line "begin" it calls, until the line "end", and prints the result. It ends with
// its standard input.
func bystandersCommand() *cobra.Command {
	var o bystanders
	cmd := &cobra.Command{
		Use: "bystanders", Short: "The devices that sim run leaves alone", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.relay, "relay", "", "")
	f.StringVar(&o.dir, "dir", "", "certificates of the devices and the caller")
	f.StringVar(&o.domain, "trust-domain", "", "")
	f.StringVar(&o.transport, "transport", "", "")
	f.StringVar(&o.load, "load", "", "")
	f.IntVar(&o.devices, "devices", 0, "")
	f.Uint64Var(&o.seed, "seed", 0, "")
	f.StringSliceVar(&o.services, "services", nil, "")
	return cmd
}

func (o *bystanders) run(ctx context.Context, in io.Reader, out io.Writer) error {
	model, err := load.ParseModel(o.load)
	if err != nil {
		return err
	}
	certs := load.FromDir(o.dir, identity.TrustDomain(o.domain))
	fleet, err := load.NewFleet(load.FleetConfig{
		Devices: o.devices, Relays: []string{o.relay}, Transport: o.transport, Certificates: certs, Seed: ^o.seed,
	})
	if err != nil {
		return err
	}
	caller, err := load.NewCaller(load.CallerConfig{
		Relays: []string{o.relay}, Certificates: certs, Serials: fleet.Serials(), Services: o.services, Seed: o.seed,
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	g.Go(func() error { return fleet.Run(ctx) })
	g.Go(func() error {
		defer stop()
		if err := fleet.WaitOnline(ctx, o.devices); err != nil {
			return err
		}
		// A first call waits for an end-to-end session, which is not what is measured.
		if err := caller.Warm(ctx); err != nil {
			return err
		}
		return o.serve(ctx, in, json.NewEncoder(out), model, caller.Call)
	})
	return errors.Join(g.Wait(), caller.Close())
}

// serve obeys the lines that come in.
func (o *bystanders) serve(ctx context.Context, in io.Reader, out *json.Encoder, model load.Model, call load.Call) error {
	if err := out.Encode(ready{}); err != nil {
		return err
	}
	var stop chan struct{}
	var result chan load.Result
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "begin" && stop == nil:
			stop, result = make(chan struct{}), make(chan load.Result, 1)
			plan := load.Plan{Model: model, Duration: time.Hour, Seed: o.seed, Stop: stop}
			go func() { result <- load.Run(ctx, plan, call) }()
		case line == "end" && stop != nil:
			close(stop)
			stop = nil
			if err := out.Encode(<-result); err != nil {
				return err
			}
		default:
			return fmt.Errorf("line %q, want begin and end in turn", line)
		}
	}
	if stop != nil {
		close(stop)
		<-result
	}
	return nil
}
