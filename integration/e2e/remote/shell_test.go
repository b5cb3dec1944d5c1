package remote_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// shell is the SSH server that the PBXs of the world let be reached: stock OpenSSH, a
// process of its own for each connection, as inetd does it.
var shell struct {
	ln      net.Listener
	servers sync.WaitGroup
	stop    context.CancelFunc

	mu   sync.Mutex
	argv []string // guarded by mu; empty: connections are closed
}

// listenShell takes the port, which the PBXs are told when they start.
func listenShell() (err error) {
	if shell.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	shell.stop = stop
	shell.servers.Go(func() {
		for {
			c, err := shell.ln.Accept()
			if err != nil {
				return
			}
			shell.servers.Go(func() { serveShell(ctx, c) })
		}
	})
	return os.Setenv("PBX_OWN_SERVICES", shell.ln.Addr().String())
}

func closeShell() {
	if shell.ln == nil {
		return
	}
	_ = shell.ln.Close()
	shell.stop()
	shell.servers.Wait()
}

func serveShell(ctx context.Context, c net.Conn) {
	f, err := c.(*net.TCPConn).File()
	_ = c.Close() // the process has it
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	shell.mu.Lock()
	argv := shell.argv
	shell.mu.Unlock()
	if len(argv) == 0 {
		return
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout = f, f
	_ = cmd.Run() // how a client was served is for it to say
}

// sshd is how the shell of a test is signed in to.
type sshd struct {
	dir      string
	password string
	hostKey  string // as in a line of authorized_keys
}

const sshdConfig = `
HostKey DIR/host_key
AuthorizedKeysFile DIR/user_key.pub
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
`

var shellOnce = sync.OnceValues(func() (*sshd, error) {
	s := &sshd{dir: filepath.Join(shared.dir, "sshd"), password: rand.Text()}
	if err := errors.Join(os.MkdirAll(s.dir, 0o700), os.MkdirAll("/run/sshd", 0o755)); err != nil {
		return nil, err
	}
	for _, key := range []string{"host_key", "user_key"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", filepath.Join(s.dir, key)).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	key, err := os.ReadFile(filepath.Join(s.dir, "host_key.pub"))
	if err != nil {
		return nil, err
	}
	s.hostKey = strings.TrimSpace(string(key))
	hash, err := exec.Command("openssl", "passwd", "-6", s.password).Output()
	if err != nil {
		return nil, fmt.Errorf("openssl passwd: %w", err)
	}
	for name, text := range map[string]string{
		"sshd_config": strings.ReplaceAll(sshdConfig, "DIR", s.dir),
		// Over that of the system for this server alone, in a name space of its own.
		"shadow":      "root:" + strings.TrimSpace(string(hash)) + ":20000:0:99999:7:::\nsshd:!:20000::::::\n",
		"known_hosts": "shell " + s.hostKey + "\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		return nil, err
	}
	shell.mu.Lock()
	defer shell.mu.Unlock()
	shell.argv = []string{
		"unshare", "--mount", "sh", "-c", `mount --bind "$1/shadow" /etc/shadow && exec "$2" -i -f "$1/sshd_config"`, "sh", s.dir, sshd,
	}
	return s, nil
})

// newShell starts the SSH server, or skips the test.
func newShell(t *testing.T) *sshd {
	t.Helper()
	for _, name := range []string{"ssh", "sshd", "ssh-keygen", "openssl", "unshare"} {
		tool(t, name)
	}
	if os.Geteuid() != 0 {
		t.Skip("an SSH server with a password of its own takes root")
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", "mount --bind /etc/hostname /etc/shadow").CombinedOutput(); err != nil {
		t.Skipf("no mounts of its own: %v: %s", err, out)
	}
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	s, err := shellOnce()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// setTargets is what the administrator types on the PBX's page.
func (s *site) setTargets(ctx context.Context, list ...remote.Target) error {
	return s.pbx.do(ctx, http.MethodPut, "remote/settings", map[string]any{"remote_targets": list}, nil)
}

// letShell makes the SSH server the target "shell".
func (s *site) letShell(ctx context.Context, to *sshd) {
	s.t.Helper()
	err := s.setTargets(ctx, remote.Target{Name: "shell", Service: grant.SSH, Address: shell.ln.Addr().String(), HostKeys: []string{to.hostKey}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// customer is who asks, at the control centre.
type customer struct {
	*person
	system string // of the site's PBX
}

func (s *site) customer(ctx context.Context) customer {
	s.t.Helper()
	c := customer{person: newPerson(s.t, s.w.Centre().HTTP)}
	password, err := s.w.Centre().AdminPassword()
	if err == nil {
		err = c.do(ctx, http.MethodPost, "session", api.Credentials{Email: s.w.Centre().Email, Password: password}, nil)
	}
	var list api.SystemList
	if err == nil {
		err = c.do(ctx, http.MethodGet, "systems?q="+string(s.serial), nil, &list)
	}
	if err != nil || len(list.Items) != 1 {
		s.t.Fatalf("%d systems, %v", len(list.Items), err)
	}
	c.system = list.Items[0].ID
	return c
}

// ask asks for remote access to a target.
func (c customer) ask(ctx context.Context, service grant.Service, target string) (r api.RemoteSession, err error) {
	wish := api.NewRemote{Reason: "no dial tone", Service: service, Target: target}
	return r, c.do(ctx, http.MethodPost, "systems/"+c.system+"/remote", wish, &r)
}

// grant is what the control centre's page gets.
func (c customer) grant(ctx context.Context, session string) func(label, browser string) (string, error) {
	return func(label, browser string) (string, error) {
		var t api.RemoteTicket
		err := c.do(ctx, http.MethodPost, "systems/"+c.system+"/remote/"+url.PathEscape(session)+"/grant", api.RemoteBrowser{Label: label, Browser: browser}, &t)
		return t.Grant, err
	}
}
