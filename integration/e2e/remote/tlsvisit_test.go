package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// visit is a browser: it trusts the world's roots, has cookies, and comes from an address.
type visit struct {
	s    *site
	http *http.Client
	pin  *[sha256.Size]byte // where set, the key that the other side has to have
	seen *x509.Certificate  // the last one shown
	addr string             // where names lead
}

func newVisit(s *site, from string) *visit {
	s.t.Helper()
	text, err := os.ReadFile(s.w.Roots())
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	v := &visit{s: s, addr: s.w.Gateway().Addr}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, v.addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, VerifyConnection: func(cs tls.ConnectionState) error {
			v.seen = cs.PeerCertificates[0]
			if v.pin != nil && sha256.Sum256(v.seen.RawSubjectPublicKeyInfo) != *v.pin {
				return errPin
			}
			return nil
		}},
		DisableKeepAlives: true,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	v.http = &http.Client{
		Transport: tr, Jar: jar, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v
}

var errPin = errors.New("the key is not the one that it was")

// port is that of the gateway.
func (v *visit) port() string {
	_, port, _ := net.SplitHostPort(v.s.w.Gateway().Addr)
	return port
}

// own is the address of the pages of a PBX whose TLS ends there.
func (v *visit) own(serial identity.Serial) string {
	return "https://" + net.JoinHostPort(grant.PBXName(serial, world.PBXDomain), v.port())
}

// get gives the status, the place to go to next, and the text.
func (v *visit) get(ctx context.Context, address string) (status int, to, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", "", err
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Location"), string(body), err
}

// redeem goes the way of a browser to a session, and gives its origin.
func (v *visit) redeem(ctx context.Context, id grant.SessionID) (origin string) {
	t := v.s.t
	t.Helper()
	_, at, _, err := v.get(ctx, v.s.w.Gateway().URL+"/begin?session="+string(id))
	if err != nil {
		t.Fatal(err)
	}
	_, centre, _, err := v.get(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(centre)
	if err != nil {
		t.Fatal(err)
	}
	origin = strings.TrimSuffix(at, "/.ara/begin")
	// A gateway that has just started refuses grants, which could be from before.
	eventually(ctx, t, "the grant", func() error {
		text, err := v.s.grant(id, u.Query().Get("label"), u.Query().Get("browser"))
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/.ara/redeem", strings.NewReader(url.Values{"grant": {text}}.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := v.http.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther {
			return errors.New(resp.Status)
		}
		return nil
	})
	return origin
}

// opens waits until the session's page leads to an address.
func (v *visit) opens(ctx context.Context, origin, want string) {
	v.s.t.Helper()
	eventually(ctx, v.s.t, "the way to "+want, func() error {
		_, _, text, err := v.get(ctx, origin+"/.ara/")
		if err == nil && !strings.Contains(text, `href="`+want+`"`) {
			err = fmt.Errorf("the page: %s", text)
		}
		return err
	})
}

// refused wants no page.
func (v *visit) refused(ctx context.Context, when, address string) {
	v.s.t.Helper()
	if status, _, text, err := v.get(ctx, address+"/login"); err == nil {
		v.s.t.Errorf("%s: %d %.60q", when, status, text)
	} else if !strings.Contains(err.Error(), "unrecognized name") {
		v.s.t.Errorf("%s: %v, want the alert", when, err)
	}
}

// hold sends a body that has not ended when f is called; all of its bytes are on their way.
func (v *visit) hold(ctx context.Context, address, text string, f func()) {
	t := v.s.t
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", strings.Join(strings.SplitAfterN(address, "/", 4)[:3], ""))
	req.Header["Origin"][0] = strings.TrimSuffix(req.Header.Get("Origin"), "/")
	done := make(chan error, 1)
	go func() {
		resp, err := v.http.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.Join(err, errors.New(resp.Status))
			}
		}
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		done <- err
	}()
	if _, err := io.WriteString(w, strings.Repeat(text, 4000)); err != nil {
		t.Fatal(err)
	}
	f()
	_ = w.Close()
	if err := <-done; err != nil {
		t.Errorf("%s: %v", address, err)
	}
}

// remembers looks for a text in the memory of a program.
func remembers(t *testing.T, w *world.World, program, text string) bool {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(w.Dir(), program, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join("/proc", strings.TrimSpace(string(pid)))
	mem, err := os.Open(filepath.Join(proc, "mem"))
	if err != nil {
		t.Skipf("the memory of another process cannot be read here: %v", err)
	}
	defer mem.Close()
	maps, err := os.ReadFile(filepath.Join(proc, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		from, to, _ := strings.Cut(fields[0], "-")
		if !strings.HasPrefix(fields[1], "rw") {
			continue
		}
		begin, err := strconv.ParseInt(from, 16, 64)
		end, eerr := strconv.ParseInt(to, 16, 64)
		if err != nil || eerr != nil || end-begin > 1<<30 {
			continue
		}
		part := make([]byte, end-begin)
		n, _ := mem.ReadAt(part, begin) // what is not there any more is not there
		total += n
		if bytes.Contains(part[:n], []byte(text)) {
			return true
		}
	}
	if total < 1<<20 {
		t.Fatalf("only %d bytes of %s could be read", total, program)
	}
	return false
}

// raw sends bytes to the gateway, and gives what it says until it ends the connection.
func (v *visit) raw(ctx context.Context, text []byte) []byte {
	v.s.t.Helper()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", v.addr)
	if err != nil {
		v.s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(text) // it may be ended before
	answer, _ := io.ReadAll(c)
	return answer
}
