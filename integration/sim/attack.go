package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// settleTimeout is how long the relay may take to return to where it was before
// an attack, and settlePoll how often that is looked at. It covers the time that
// the relay gives to sessions which have gone silent.
const (
	settleTimeout = 2 * time.Minute
	settlePoll    = time.Second
)

// attack measures the calls without and with an attack, several times, and what
// the attack leaves behind in the relay.
func (s *simulation) attack(ctx context.Context, name string) error {
	a, err := load.FindAttack(name)
	if err != nil {
		return err
	}
	caller, err := s.caller()
	if err != nil {
		return err
	}
	r := load.AttackReport{Attack: a.Name, About: a.About}
	if err := errors.Join(s.attackRounds(ctx, &r, caller), caller.Close()); err != nil {
		return err
	}
	s.report.Attacks = append(s.report.Attacks, r)
	if r.Failed > 0 {
		s.failed("%d of %d calls failed around attack %s", r.Failed, r.Calls, r.Attack)
	}
	if r.Settled >= settleTimeout {
		s.failed("the relay has not returned to where it was before attack %s", r.Attack)
	}
	return nil
}

func (s *simulation) attackRounds(ctx context.Context, r *load.AttackReport, caller *load.Caller) error {
	// The end-to-end sessions first: calls would wait for them, and what they hold in
	// the relay is none of the attack's.
	err := s.progress.While(ctx, s.line("warming up for attack "+r.Attack), caller.Warm)
	if err != nil {
		return fmt.Errorf("before attack %s: %w", r.Attack, err)
	}
	if r.Before, err = s.relay.state(ctx); err != nil {
		return err
	}
	for range s.o.rounds {
		quiet := s.calls(ctx, "before attack "+r.Attack, caller)
		attacker := &process{args: []string{
			"attacker", "--relay", s.relay.Relay, "--dir", s.attacker, "--attack", r.Attack,
		}}
		if err := attacker.start(ctx); err != nil {
			return err
		}
		if err := yield(ctx, attacker.pid(), true); err != nil {
			attacker.kill()
			return err
		}
		attacked := s.calls(ctx, "under attack "+r.Attack, caller)
		var outcome outcome
		// It may need the processor to end.
		if err := errors.Join(yield(context.WithoutCancel(ctx), attacker.pid(), false), attacker.finish(&outcome)); err != nil {
			return fmt.Errorf("the attacker: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Done += outcome.Done
		r.Add(quiet, attacked)
	}
	return s.settle(ctx, r)
}

// calls makes calls for the duration that was asked for.
func (s *simulation) calls(ctx context.Context, what string, caller *load.Caller) load.Result {
	var result load.Result
	_ = s.progress.While(ctx, s.line(what), func(ctx context.Context) error {
		result = load.Run(ctx, load.Plan{Model: s.o.model, Duration: s.o.duration, Seed: s.o.seed}, caller.Call)
		return nil
	})
	return result
}

// settle waits until the relay is where it was before the attack, but for what a
// few calls may hold.
func (s *simulation) settle(ctx context.Context, r *load.AttackReport) error {
	const (
		slack     = 8
		slackHeap = 4 << 20
	)
	begin := time.Now()
	return s.progress.While(ctx, s.line("after attack "+r.Attack), func(ctx context.Context) error {
		for {
			var err error
			r.After, err = s.relay.state(ctx)
			r.Settled = time.Since(begin)
			back := r.After.Goroutines <= r.Before.Goroutines+slack && r.After.Files <= r.Before.Files+slack &&
				r.After.Heap <= r.Before.Heap+slackHeap
			if err != nil || back || r.Settled >= settleTimeout {
				return err
			}
			t := time.NewTimer(settlePoll)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
		}
	})
}

// outcome is the line that the attacker's process prints at its end.
type outcome struct {
	Done int64 `json:"done"`
}

// attackerCommand is an attacker in a process of its own. It attacks until its
// standard input ends.
func attackerCommand() *cobra.Command {
	var relay, dir, name string
	cmd := &cobra.Command{
		Use: "attacker", Short: "The attacker that sim run starts", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := load.FindAttack(name)
			if err != nil {
				return err
			}
			creds, err := enrol.LoadCredentials(dir)
			if err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			if err := out.Encode(ready{}); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			var done atomic.Int64
			err = a.Run(ctx, relay, creds, &done)
			return errors.Join(err, out.Encode(outcome{Done: done.Load()}))
		},
	}
	f := cmd.Flags()
	f.StringVar(&relay, "relay", "", "")
	f.StringVar(&dir, "dir", "", "certificate of the device that misbehaves")
	f.StringVar(&name, "attack", "", "")
	return cmd
}
