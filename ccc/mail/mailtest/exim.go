// Package mailtest has a real mail server for tests: Debian's exim, which takes mails by
// SMTP with STARTTLS and AUTH and puts them into a directory. Nothing of the system's own
// exim is used or touched.
package mailtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// exim is Debian's, of the package exim4-daemon-light.
const exim = "/usr/sbin/exim4"

// Password is that of [Server.User].
const Password = "s3cret of the mail server"

// Server is a mail server of a test.
type Server struct {
	Addr         string // host:port
	CAFile       string // has its certificate
	User         string
	PasswordFile configs.SecretFile

	t   testing.TB
	dir string
}

// Message is a mail that came.
type Message struct {
	To      string // of the envelope
	Raw     string
	Header  mail.Header
	Subject string
	Plain   string
	HTML    string
}

// Start starts a server, which ends with the test. Without exim, or where nobody may be it
// who is not root, the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := os.Stat(exim); err != nil {
		t.Skip("exim is not installed: apt-get install exim4-daemon-light")
	}
	as, err := user.Lookup("Debian-exim")
	if err != nil {
		t.Skip("there is no user Debian-exim")
	}
	uid, gid := number(t, as.Uid), number(t, as.Gid)
	if os.Getuid() != 0 && os.Getuid() != int(uid) {
		t.Skip("only root and Debian-exim can run exim with a configuration of its own")
	}
	s := &Server{t: t, dir: t.TempDir(), User: "ccc"}
	must(t, os.Chmod(filepath.Dir(s.dir), 0o711)) //nolint:gosec // exim has to get in
	for _, name := range []string{"spool", "log", "mail"} {
		must(t, os.Mkdir(filepath.Join(s.dir, name), 0o700))
		must(t, os.Chown(filepath.Join(s.dir, name), int(uid), int(gid)))
	}
	s.CAFile, s.PasswordFile = filepath.Join(s.dir, "cert.pem"), configs.SecretFile(filepath.Join(s.dir, "password"))
	must(t, os.WriteFile(string(s.PasswordFile), []byte(Password+"\n"), 0o600))
	certificate(t, s.dir, int(uid))
	conf := filepath.Join(s.dir, "conf")
	must(t, os.WriteFile(conf, []byte(strings.ReplaceAll(configuration, "DIR", s.dir)), 0o644)) //nolint:gosec // exim reads it
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	s.Addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(ctx, conn, conf, uint32(uid), uint32(gid)) }) //nolint:gosec // ids
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		running.Wait()
	})
	return s
}

// serve runs exim for one connection, as inetd does. It ends when the mail is delivered.
func (s *Server) serve(ctx context.Context, conn net.Conn, conf string, uid, gid uint32) {
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		s.t.Error(err)
		return
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, exim, "-C", conf, "-bs", "-odf")
	cmd.Stdin, cmd.Stdout = file, file
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		s.t.Logf("exim: %v", err) // also where a client went away
	}
}

// Messages gives what has come for an address, the oldest first.
func (s *Server) Messages(to string) (all []Message) {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.dir, "mail", "new", "*"))
	must(s.t, err)
	for _, name := range names {
		raw, err := os.ReadFile(name)
		must(s.t, err)
		if m := parse(s.t, string(raw)); m.To == to {
			all = append(all, m)
		}
	}
	return all
}

// Wait gives the mails for an address once there are so many.
func (s *Server) Wait(to string, n int) []Message {
	s.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(30 * time.Second)
	for {
		if all := s.Messages(to); len(all) >= n {
			return all
		}
		select {
		case <-ticker.C:
		case <-end:
			s.t.Fatalf("%d mails for %s have come, want %d; exim says:\n%s", len(s.Messages(to)), to, n, s.Log())
		}
	}
}

// Log gives what exim has noted.
func (s *Server) Log() string {
	var b strings.Builder
	for _, name := range []string{"main", "reject", "panic"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "log", name+"log"))
		if err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

func parse(t testing.TB, raw string) Message {
	t.Helper()
	parsed, err := mail.ReadMessage(strings.NewReader(raw))
	must(t, err)
	m := Message{To: parsed.Header.Get("Envelope-To"), Raw: raw, Header: parsed.Header}
	m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	must(t, err)
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	must(t, err)
	if !strings.HasPrefix(kind, "multipart/") {
		return m
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m
		}
		must(t, err)
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		must(t, err)
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			m.HTML = string(text)
		} else {
			m.Plain = string(text)
		}
	}
}

// certificate makes one for this machine.
func certificate(t testing.TB, dir string, uid int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.net"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)) //nolint:gosec // exim reads it
	name := filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	must(t, os.Chown(name, uid, -1))
}

func number(t testing.TB, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	must(t, err)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// configuration takes mails from who has signed in, over TLS, and puts all of them into one
// directory. 550 and 451 come for the addresses that begin so.
const configuration = `
keep_environment =
primary_hostname = mail.example.net
spool_directory = DIR/spool
log_file_path = DIR/log/%slog
deliver_drop_privilege = true
tls_advertise_hosts = *
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
host_lookup =
never_users = root
begin acl
rcpt:
  deny !authenticated = *
       message = sign in
  deny local_parts = gone
       message = 5.1.1 there is nobody of this name
  defer local_parts = later
       message = 4.2.0 come back later
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = DIR/mail
  maildir_format = true
  envelope_to_add = true
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{ccc}}{eq{$auth3}{` + Password + `}}}}
  server_set_id = $auth2
`
