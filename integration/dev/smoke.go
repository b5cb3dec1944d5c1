package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// stepTimeout bounds one step of the smoke test.
const stepTimeout = 20 * time.Second

// smoke does with the printed commands what a newcomer does, on free ports and in
// a directory of its own, and says how long each step took.
func (o *options) smoke(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "dev")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := o.start(ctx, out, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()

	c, err := newCommands(w, o.bin)
	if err != nil {
		return err
	}
	first, last := string(w.Device(0)), string(w.Device(o.pbxs))
	s := &smoke{out: out}
	s.step("pages of the control centre", s.expect(ctx, "curl -sS "+w.Centre().HTTP+"/", "<title>"))
	s.step("pages of a PBX", s.expect(ctx, "curl -sSL "+w.PBX(1).URL+"/", "<html"))
	s.step("PBX paired", s.expect(ctx, c.pair, "Paired."))
	s.step("curl through CONNECT", s.expect(ctx, c.curl, `"serial": "`+first+`"`, "service/"+caller))
	s.step("curl over HTTP/1.1", s.expect(ctx, c.curlH1, "200"))
	s.step("name of the relay", s.expect(ctx, c.names, w.RelayName(0), "Authority server"))
	free, err := freePorts()
	if err != nil {
		return err
	}
	s.step("port forward", s.while(ctx, free(c.forward), func() error { return s.retry(ctx, free(c.forwarded), first) }))
	s.step("local proxy", s.while(ctx, free(c.proxy), func() error { return s.retry(ctx, free(c.proxied), first) }))
	s.step("gateway's page", s.expect(ctx, c.gatewayCurl, "<title>"))
	s.step("gateway's access log", func() error { return s.retry(ctx, c.gatewayLogs, "127.0.0.1") }) // it is written within accesslog.Delay
	s.step("sessions", s.expect(ctx, c.sessions, "device/"+first, "device/"+last))
	s.step("trace", s.expect(ctx, c.trace, "welcome", "end-to-end", "call"))
	s.step("device's status", s.expect(ctx, c.status, "online"))
	s.step("certificates", s.expect(ctx, c.list, first))
	s.step("relay killed and started again", s.restart(ctx, w, w.Devices(), c))
	s.step("device blocked", s.block(ctx, w, w.Devices(), c))
	if s.failed > 0 {
		return fmt.Errorf("%d steps failed", s.failed)
	}
	return nil
}

type smoke struct {
	out    io.Writer
	failed int
}

// step runs one step and prints its outcome.
func (s *smoke) step(name string, f func() error) {
	start := time.Now()
	err := f()
	verdict := "ok"
	if err != nil {
		s.failed++
		verdict = "FAILED: " + err.Error()
	}
	_, _ = fmt.Fprintf(s.out, "%6.2fs  %-32s %s\n", time.Since(start).Seconds(), name, verdict)
}

func shell(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s\n%w\n%s", line, err, out.String())
	}
	return out.String(), nil
}

// expect runs a line whose output has to contain all the texts.
func (s *smoke) expect(ctx context.Context, line string, texts ...string) func() error {
	return func() error {
		out, err := shell(ctx, line)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return fmt.Errorf("%s\nprints no %q:\n%s", line, text, out)
			}
		}
		return nil
	}
}

// retry repeats a line until its output contains the text.
func (s *smoke) retry(ctx context.Context, line, text string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.expect(ctx, line, text)()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// freePorts gives a function that replaces the fixed ports of a line by free ones.
func freePorts() (func(string) string, error) {
	var pairs []string
	for _, addr := range []string{forwardAddr, proxyAddr} {
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to wait for
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, addr, ln.Addr().String())
		if err := ln.Close(); err != nil {
			return nil, err
		}
	}
	return strings.NewReplacer(pairs...).Replace, nil
}

// while runs f while a line runs in the background.
func (s *smoke) while(ctx context.Context, line string, f func() error) func() error {
	return func() error {
		cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			return err
		}
		err := f()
		if serr := cmd.Process.Signal(syscall.SIGTERM); serr != nil {
			err = errors.Join(err, serr)
		}
		if werr := cmd.Wait(); werr != nil {
			err = errors.Join(err, fmt.Errorf("%s\n%w\n%s", line, werr, out.String()))
		}
		return err
	}
}

// restart kills the relay with the printed line and starts it again.
func (s *smoke) restart(ctx context.Context, w *world.World, devices int, c commands) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		if _, err := shell(ctx, c.stopRelay); err != nil {
			return err
		}
		if err := w.KillRelay(0); err != nil { // takes note of its end
			return err
		}
		if err := w.StartRelay(ctx, 0); err != nil {
			return err
		}
		if err := w.AwaitDevices(ctx, devices); err != nil {
			return err
		}
		return s.retry(ctx, c.curl, "serial")
	}
}

// block blocks the last device with the printed line, and unblocks it.
func (s *smoke) block(ctx context.Context, w *world.World, devices int, c commands) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		if _, err := shell(ctx, c.revoke); err != nil {
			return err
		}
		if err := w.AwaitDevices(ctx, devices-1); err != nil {
			return err
		}
		if _, err := shell(ctx, c.unblock); err != nil {
			return err
		}
		return w.AwaitDevices(ctx, devices)
	}
}
