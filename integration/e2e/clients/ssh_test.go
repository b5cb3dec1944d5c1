package clients

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// sshd is OpenSSH's server on the device, and what a client needs to log in.
type sshd struct {
	target          string
	key, knownHosts string
	user            string
}

const (
	sshdConfig = `
HostKey DIR/host_key
AuthorizedKeysFile DIR/user_key.pub
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
`
	hostAlias = "pbx"
)

// startSSHD serves SSH: one sshd of its own for each connection, as inetd does.
func (c *cloud) startSSHD() *sshd {
	c.t.Helper()
	bin, keygen := tool(c.t, "sshd"), tool(c.t, "ssh-keygen")
	dir := c.t.TempDir()
	if os.Geteuid() == 0 {
		// The directory without rights for sshd's unprivileged half; packages make it
		// when the service starts.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, key := range []string{"host_key", "user_key"} {
		c.good(c.command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", filepath.Join(dir, key)))
	}
	hostKey, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		c.t.Fatal(err)
	}
	config := filepath.Join(dir, "sshd_config")
	s := &sshd{key: filepath.Join(dir, "user_key"), knownHosts: filepath.Join(dir, "known_hosts")}
	for path, text := range map[string]string{
		config:       strings.ReplaceAll(sshdConfig, "DIR", dir),
		s.knownHosts: hostAlias + " " + string(hostKey),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		c.t.Fatal(err)
	}
	s.user = me.Username

	ln := c.listen()
	s.target = "tcp:" + ln.Addr().String()
	var servers sync.WaitGroup
	servers.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			servers.Go(func() { c.serveSSH(bin, config, conn) })
		}
	})
	c.t.Cleanup(func() {
		_ = ln.Close()
		servers.Wait()
	})
	return s
}

func (c *cloud) serveSSH(bin, config string, conn net.Conn) {
	f, err := conn.(*net.TCPConn).File()
	_ = conn.Close() // f is a copy
	if err != nil {
		c.t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	cmd := c.command(bin, "-i", "-e", "-f", config)
	cmd.Stdin, cmd.Stdout = f, f
	var log output
	cmd.Stderr = &log
	if err := cmd.Run(); err != nil && c.t.Failed() {
		c.t.Logf("sshd: %v\n%s", err, log.String())
	}
}

// args are the options of ssh and scp for a connection through proxy.
func (s *sshd) args(proxy string) []string {
	return []string{
		"-F", "none", "-i", s.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + s.knownHosts, "-o", "HostKeyAlias=" + hostAlias, "-o", "StrictHostKeyChecking=yes",
		"-o", "User=" + s.user, "-o", "ProxyCommand=" + proxy,
	}
}

func (c *cloud) ssh(s *sshd, proxy string, args ...string) *exec.Cmd {
	c.t.Helper()
	return c.command(tool(c.t, "ssh"), append(s.args(proxy), args...)...)
}

// connectCommand is a ProxyCommand that uses auerproxy connect.
func (c *cloud) connectCommand(flags string) string {
	return fmt.Sprintf("%s connect %s ssh --relay %s --credentials %s %s", auerproxy(c.t), serial, c.relay(), c.creds, flags)
}

// rawScript is a ProxyCommand of stock programs only: openssl carries a CONNECT to
// the relay and then SSH itself. The relay's answer comes before the server's
// version, where a client skips lines that it does not know (RFC 4253 §4.2).
const rawScript = `
name=s$1.pbx.comtrexx.test
{ printf 'CONNECT %s:22 HTTP/1.1\r\nHost: %s:22\r\n\r\n' $name $name; exec cat; } |
	openssl s_client -quiet -verify_quiet -verify_return_error -connect $2 -CAfile $3/roots.pem \
		-cert $3/cert.pem -cert_chain $3/cert.pem -key $3/key.pem
`

// rawCommand is a ProxyCommand that needs nothing of ours.
func (c *cloud) rawCommand() string {
	c.t.Helper()
	tool(c.t, "openssl")
	script := filepath.Join(c.t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(rawScript), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("sh %s %s %s %s", script, serial, c.relay(), c.creds)
}

func TestSSH(t *testing.T) {
	t.Parallel()
	for name, proxy := range map[string]func(*cloud) string{
		"end to end": func(c *cloud) string { return c.connectCommand("") },
		"raw":        func(c *cloud) string { return c.connectCommand("--raw") },
		"CONNECT":    (*cloud).rawCommand,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			s := c.startSSHD()
			c.device(serial, agent.TransportAuto, agent.Service{Name: "ssh", Target: s.target, Raw: true})
			c.commands(s, proxy(c))
			if name == "end to end" {
				c.copies(s, proxy(c))
			}
		})
	}
}

// commands runs commands on the device.
func (c *cloud) commands(s *sshd, proxy string) {
	c.t.Helper()
	if got := c.good(c.ssh(s, proxy, "pbx", "echo hello")); got != "hello\n" {
		c.t.Errorf("a command gives %q", got)
	}
	if r := c.run(c.ssh(s, proxy, "pbx", "echo to stderr >&2; exit 7")); r.code != 7 || !strings.Contains(r.stderr, "to stderr") {
		c.t.Errorf("exit code %d, %q; want 7", r.code, r.stderr)
	}
	// Half-close: the remote command reads to the end of what the client sends.
	in := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(in)
	cmd := c.ssh(s, proxy, "pbx", "sha256sum")
	cmd.Stdin = bytes.NewReader(in)
	if got := c.good(cmd); !strings.HasPrefix(got, fmt.Sprintf("%x", sha256.Sum256(in))) {
		c.t.Errorf("8 MiB on standard input arrive as %q", got)
	}
}

// copies copies a file there and back.
func (c *cloud) copies(s *sshd, proxy string) {
	c.t.Helper()
	b := theBlob(c.t)
	dir := c.t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	scp := tool(c.t, "scp")
	start := time.Now()
	c.good(c.command(scp, append(s.args(proxy), b.smallPath, "pbx:"+there)...))
	c.t.Logf("scp there: %s", rate(smallSize, time.Since(start)))
	start = time.Now()
	c.good(c.command(scp, append(s.args(proxy), "pbx:"+there, back)...))
	c.t.Logf("scp back: %s", rate(smallSize, time.Since(start)))
	if got := fileSum(c.t, back); got != b.smallSum {
		c.t.Error("a file that was copied there and back has changed")
	}
}

// TestSSHErrors: the reason reaches the person at the terminal.
func TestSSHErrors(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	s := c.startSSHD()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "ssh", Target: s.target})
	c.device(other, agent.TransportAuto, agent.Service{Name: "web", Target: s.target})

	for name, tt := range map[string]struct{ proxy, want string }{
		"offline":    {strings.Replace(c.connectCommand(""), string(serial), string(offline), 1), "AUER-1301"},
		"no service": {strings.Replace(c.connectCommand(""), string(serial), string(other), 1), "AUER-1304"},
		"not raw":    {c.connectCommand("--raw"), "AUER-1303"},
	} {
		r := c.run(c.ssh(s, tt.proxy, "pbx", "true"))
		if r.code != 255 || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%s: exit code %d, want 255 and %s:\n%s", name, r.code, tt.want, r.stderr)
		}
	}
}
