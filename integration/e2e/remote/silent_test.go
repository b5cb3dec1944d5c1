package remote_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// visitor is where the browser of this test comes from: of the loopback network, but not
// an address that logs show.
const visitor = "127.77.66.55"

// holders are the files below dir that hold a text.
func holders(t *testing.T, dir, text string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // one that was replaced meanwhile, and sockets
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(content, []byte(text)) {
			paths = append(paths, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestSilence: of what a browser sends through the gateway, no program keeps or logs
// anything: no grant, no cookie, no address of a page, no user agent. Where it came from
// is in the access log, sealed.
func TestSilence(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	from := &net.TCPAddr{IP: net.ParseIP(visitor)}
	if ln, err := net.ListenTCP("tcp", from); err != nil {
		t.Skipf("this system has no %s: %v", visitor, err)
	} else if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, s := start(t, pbxSilent)
	agent, path, query := "agent-"+rand.Text(), "path-"+rand.Text(), "query-"+rand.Text()
	c := newCurl(t, s.w, "--interface", visitor, "-A", agent)
	id := s.ask(ctx, time.Hour)
	s.decide(ctx, id, "allow")
	origin, text, page := c.redeem(ctx, s, id)
	if !strings.HasSuffix(page, "\n200 "+origin+"/login") {
		t.Fatal(page)
	}
	for _, method := range []string{"GET", "POST", "BREW"} { // also what is refused
		for _, host := range []string{origin, s.w.Gateway().URL} {
			c.run(ctx, "-o", "/dev/null", "-X", method, host+"/"+path+"?q="+query)
		}
	}
	jar, err := os.ReadFile(c.jar)
	if err != nil {
		t.Fatal(err)
	}
	_, cookie, ok := strings.Cut(string(jar), "__Host-ara\t")
	if !ok {
		t.Fatalf("no cookie: %s", jar)
	}

	// What reads the access log finds the visitor.
	reader := accesslog.Reader{Dir: s.w.AccessLog("ara")}
	eventually(ctx, t, "the visitor in the access log", func() error {
		for r, err := range reader.Raw(time.Time{}, time.Time{}) {
			if err != nil || r.Address == netip.MustParseAddr(visitor) {
				return err
			}
		}
		return errors.New("not there")
	})
	parts := strings.Split(text, ".")
	for what, secret := range map[string]string{
		"grant": text, "payload of the grant": parts[1], "signature of the grant": parts[2], "cookie": strings.TrimSpace(cookie),
		"user agent": agent, "path": path, "query": query, "address": visitor, "address with dashes": strings.ReplaceAll(visitor, ".", "-"),
		"address in hexadecimal": "7f4d4237",
	} {
		if found := holders(t, s.w.Dir(), secret); found != nil {
			t.Errorf("the %s is in %q", what, found)
		}
	}

	// The control: the programs do log and keep, and what they do is found.
	for _, program := range []string{"pki", "relay-1", "ccc", "ara", "device-" + string(s.serial)} {
		if info, err := os.Stat(filepath.Join(s.w.Dir(), program, "log")); err != nil || info.Size() == 0 {
			t.Errorf("control: %s has logged nothing: %v", program, err)
		}
	}
	if found := holders(t, s.w.Dir(), string(id)); found == nil {
		t.Error("control: the session is not even at the PBX, which has to report it")
	}
	planted := filepath.Join(s.w.Dir(), "planted")
	if err := os.WriteFile(planted, []byte("x"+agent+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := holders(t, s.w.Dir(), agent); len(found) != 1 {
		t.Errorf("control: what lies there is not found: %q", found)
	}
	if err := os.Remove(planted); err != nil {
		t.Fatal(err)
	}
}
