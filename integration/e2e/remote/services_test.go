package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/connect"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// programs are the command lines of the world.
type programs struct {
	s    *site
	dir  string
	args []string // of every "ccc remote"
	to   []string // of every "auerproxy connect --grant"
}

func newPrograms(t *testing.T, s *site) *programs {
	t.Helper()
	centre := s.w.Centre()
	p := &programs{s: s, dir: t.TempDir()}
	password := filepath.Join(p.dir, "password")
	text, err := centre.AdminPassword()
	if err == nil {
		err = os.WriteFile(password, []byte(text+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.args = []string{"--url", centre.HTTP, "--user", centre.Email, "--password-file", password}
	p.to = []string{"--ca-file", s.w.Roots(), "--gateway-address", s.w.Gateway().Addr}
	return p
}

// ccc makes "ccc remote WHAT"; with a grant where file is not empty.
func (p *programs) ccc(ctx context.Context, file string, args ...string) *exec.Cmd {
	args = append(append([]string{"remote"}, args...), p.args...)
	if file != "" {
		args = append(args, "--gateway-ca-file", p.s.w.Roots(), "--gateway-address", p.s.w.Gateway().Addr, "--grant-file", file)
	}
	return exec.CommandContext(ctx, filepath.Join(shared.dir, "bin", "ccc"), args...)
}

func (p *programs) auerproxy() string { return filepath.Join(shared.dir, "bin", "auerproxy") }

func (p *programs) connect(ctx context.Context, file string, args ...string) *exec.Cmd {
	args = append(append([]string{"connect", "--grant", file}, p.to...), args...)
	return exec.CommandContext(ctx, p.auerproxy(), args...)
}

// open asks, and allows at the PBX what was asked for.
func (p *programs) open(ctx context.Context, file string, target string) (id grant.SessionID) {
	t := p.s.t
	t.Helper()
	cmd := p.ccc(ctx, file, "open", string(p.s.serial), "--service", "ssh", "--target", target, "--reason", "no dial tone")
	var said bytes.Buffer
	progress, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if first, _, ok := strings.Cut(lines.Text(), "  The PBX's administrator"); ok {
			id = grant.SessionID(first)
			p.s.decide(ctx, id, "allow")
		}
	}
	if err := cmd.Wait(); err != nil || id == "" {
		t.Fatalf("ccc remote open: %v\n%s", err, said.String())
	}
	return id
}

// ssh makes a stock client.
func (p *programs) ssh(ctx context.Context, to *sshd, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", append([]string{
		"-F", "none", "-i", filepath.Join(to.dir, "user_key"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "HostKeyAlias=shell",
		"-o", "UserKnownHostsFile=" + filepath.Join(to.dir, "known_hosts"), "-o", "StrictHostKeyChecking=yes",
	}, args...)...)
}

// TestCommandLine: an access is asked for, allowed and used without a browser, by stock
// OpenSSH over standard input and output and over a local port, and is over when the
// administrator says so.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	to := newShell(t)
	ctx, s := start(t, pbxServices)
	s.letShell(ctx, to)
	p := newPrograms(t, s)
	file := filepath.Join(p.dir, "grant")
	id := p.open(ctx, file, "shell")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the grant: %v, %v", info, err)
	}
	again := func() {
		t.Helper()
		if out, err := p.ccc(ctx, file, "grant", string(id)).CombinedOutput(); err != nil {
			t.Fatalf("ccc remote grant: %v\n%s", err, out)
		}
	}
	proxy := "ProxyCommand=" + p.auerproxy() + " connect --grant " + file + " " + strings.Join(p.to, " ")
	eventually(ctx, t, "ssh", func() error { // a gateway that has just started refuses grants
		out, err := p.ssh(ctx, to, "-o", proxy, "root@shell", "echo to ${SSH_CONNECTION%% *} && cat").CombinedOutput()
		if err != nil {
			again()
			return fmt.Errorf("%w: %s", err, out)
		}
		if string(out) != "to 127.0.0.1\n" {
			t.Errorf("ssh says %q", out)
		}
		return nil
	})

	// The grant is good once.
	out, err := p.connect(ctx, file).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != connect.ExitRefused || !bytes.Contains(out, []byte("hint: ")) {
		t.Errorf("the grant again: %v\n%s", err, out)
	}

	// A local port, for as many as come.
	again()
	cmd := p.connect(ctx, file, "--listen", "127.0.0.1:0")
	progress, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	if !lines.Scan() {
		t.Fatal("no port")
	}
	at, _, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "forwarding "), " to ssh shell")
	_, port, err := net.SplitHostPort(at)
	if !ok || err != nil {
		t.Fatalf("%q", lines.Text())
	}
	for i := range 2 {
		out, err := p.ssh(ctx, to, "-p", port, "root@127.0.0.1", fmt.Sprintf("echo %d; exit 7", i)).CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 7 || string(out) != fmt.Sprintf("%d\n", i) {
			t.Errorf("ssh over the port: %q, %v", out, err)
		}
	}
	held := p.ssh(ctx, to, "-p", port, "root@127.0.0.1", "echo in; cat")
	stdin, err := held.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := held.StdoutPipe()
	if err == nil {
		err = held.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if says := bufio.NewScanner(stdout); !says.Scan() || says.Text() != "in" {
		t.Fatalf("ssh says %q", says.Text())
	}
	began := time.Now()
	s.decide(ctx, id, "end")
	if err := held.Wait(); err == nil {
		t.Error("ssh goes on after the end")
	}
	rest := ""
	for lines.Scan() {
		rest += lines.Text() + "\n"
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != connect.ExitRefused || !strings.Contains(rest, "has ended") || !strings.Contains(rest, "hint: ") {
		t.Errorf("auerproxy after the end: %v\n%s", err, rest)
	}
	t.Logf("everything was over %s after the administrator's click", time.Since(began))
	if out, err := p.ccc(ctx, "", "show", string(id)).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("ended (admin)")) {
		t.Errorf("ccc remote show: %v\n%s", err, out)
	}
	if out, err := p.ccc(ctx, file, "grant", string(id)).CombinedOutput(); err == nil {
		t.Errorf("a grant after the end: %s", out)
	}
}

// TestTargetsAreThePBXs: what the administrator cannot put on the list, what is not on it,
// and a session to another kind of service reach nothing; what is on it, does.
func TestTargetsAreThePBXs(t *testing.T) {
	t.Parallel()
	to := newShell(t)
	ctx, s := start(t, pbxTerminal)
	at := shell.ln.Addr().(*net.TCPAddr)
	for _, address := range []string{
		"169.254.169.254:80", "[fd00:ec2::254]:80", "[fe80::1]:22", "127.0.0.1:1", "[::1]:22", "0.0.0.0:22", "[::]:22", "224.0.0.1:22",
		"[::ffff:127.0.0.1]:22", fmt.Sprintf("127.0.0.2:%d", at.Port),
	} {
		if err := s.setTargets(ctx, remote.Target{Name: "shell", Service: grant.SSH, Address: address}); err == nil {
			t.Errorf("%s can be a target", address)
		}
	}
	// A name is judged when it is dialled.
	err := s.setTargets(ctx,
		remote.Target{Name: "shell", Service: grant.SSH, Address: at.String(), HostKeys: []string{to.hostKey}},
		remote.Target{Name: "named", Service: grant.SSH, Address: fmt.Sprintf("localhost:%d", at.Port)},
	)
	if err != nil {
		t.Fatal(err)
	}
	c := s.customer(ctx)
	for service, target := range map[grant.Service]string{grant.SSH: "other", grant.TCP: "shell"} {
		if _, err := c.ask(ctx, service, target); err == nil || !strings.Contains(err.Error(), "no_target") {
			t.Errorf("%s to %s: %v", service, target, err)
		}
	}
	p := newPrograms(t, s)
	for target, reached := range map[string]bool{"shell": true, "named": false} {
		file := filepath.Join(p.dir, rand.Text())
		id := p.open(ctx, file, target)
		eventually(ctx, t, target, func() error {
			cmd := p.connect(ctx, file)
			cmd.Stdin = strings.NewReader("SSH-2.0-test\r\n")
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "refuses: grant") {
				if out, err := p.ccc(ctx, file, "grant", string(id)).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				return errors.New("the gateway has just started")
			}
			if got := strings.HasPrefix(string(out), "SSH-2.0-OpenSSH"); got != reached {
				t.Errorf("%s: %v\n%s", target, err, out)
			}
			return nil
		})
		s.decide(ctx, id, "end")
	}

	// A ticket that says it is for a target, of a session to the pages.
	r, err := c.ask(ctx, grant.Web, "")
	if err != nil {
		t.Fatal(err)
	}
	s.decide(ctx, grant.SessionID(r.ID), "allow")
	client := flow.Client{TLS: &tls.Config{RootCAs: roots(t, s.w), MinVersion: tls.VersionTLS13}, Address: s.w.Gateway().Addr}
	b, err := client.Begin(ctx, s.w.Gateway().URL, grant.SessionID(r.ID))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.grant(ctx, r.ID)(b.Label, b.Hash)
	if err != nil {
		t.Fatal(err)
	}
	open, err := client.Redeem(ctx, flow.Ticket{Origin: b.Origin, Grant: text, Browser: b.Browser, Session: grant.SessionID(r.ID), Service: grant.SSH, Target: "shell"})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.Open(ctx); err == nil || !strings.Contains(err.Error(), "service") {
		t.Errorf("a session to the pages reaches a target: %v", err)
	}
}
