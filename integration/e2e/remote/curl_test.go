package remote_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// curl is a stock one with cookies, which trusts the world's roots and nothing else.
type curl struct {
	t      *testing.T
	path   string
	common []string
	port   string
	jar    string // the file with its cookies
}

func newCurl(t *testing.T, w *world.World, args ...string) *curl {
	t.Helper()
	c := &curl{t: t, path: tool(t, "curl"), jar: filepath.Join(t.TempDir(), "cookies")}
	_, c.port, _ = net.SplitHostPort(w.Gateway().Addr)
	c.common = append([]string{
		"-q", "-sS", "--max-time", "60", "--noproxy", "*", "--cacert", w.Roots(),
		"--resolve", world.GatewayName + ":" + c.port + ":127.0.0.1",
	}, args...)
	return c
}

// run gives what curl writes to standard output.
func (c *curl) run(ctx context.Context, args ...string) string {
	c.t.Helper()
	out, err := c.try(ctx, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *curl) try(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.path, slices.Concat(c.common, []string{"-b", c.jar, "-c", c.jar}, args)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("curl %s: %w\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return string(out), err
}

// beside gives a curl with the same cookies that may run at the same time: curl empties
// its jar before it writes it anew.
func (c *curl) beside() *curl {
	c.t.Helper()
	cookies, err := os.ReadFile(c.jar)
	if err != nil {
		c.t.Fatal(err)
	}
	other := *c
	other.jar = filepath.Join(c.t.TempDir(), "cookies")
	if err := os.WriteFile(other.jar, cookies, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return &other
}

// begin goes from the gateway to the control centre, and gives the session's origin and
// what the control centre is told.
func (c *curl) begin(ctx context.Context, w *world.World, id grant.SessionID) (origin, label, browser string) {
	c.t.Helper()
	const where = "%{http_code} %{redirect_url}"
	next := func(from string) *url.URL {
		c.t.Helper()
		to, ok := strings.CutPrefix(c.run(ctx, "-o", "/dev/null", "-w", where, from), "303 ")
		u, err := url.Parse(to)
		if !ok || err != nil {
			c.t.Fatalf("%s: %s", from, to)
		}
		return u
	}
	to := next(w.Gateway().URL + "/begin?session=" + string(id))
	c.common = append(c.common, "--resolve", to.Hostname()+":"+c.port+":127.0.0.1")
	centre := next(to.String())
	if got, want := centre.Scheme+"://"+centre.Host+centre.Path, w.Centre().URL+"/remote/"+string(id); got != want {
		c.t.Fatalf("%s, want %s", got, want)
	}
	q := centre.Query()
	return "https://" + to.Host, q.Get("label"), q.Get("browser")
}

// redeem begins and brings the grant. A gateway that has just started refuses grants,
// which could be from before.
func (c *curl) redeem(ctx context.Context, s *site, id grant.SessionID) (origin, text, page string) {
	c.t.Helper()
	origin, label, browser := c.begin(ctx, s.w, id)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := s.grant(id, label, browser)
		if err != nil {
			c.t.Fatal(err)
		}
		page = c.run(ctx, "-L", "-w", "\n%{http_code} %{url_effective}", "--data-urlencode", "grant="+text, origin+"/.ara/redeem")
		if !strings.HasSuffix(page, " "+origin+"/.ara/redeem") {
			return origin, text, page
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("the grant is not taken: %s", page)
		}
	}
}

// TestCurl: stock curl gets to the PBX's pages over real certificates, signs in there, and
// is out at the end. A grant is good once.
func TestCurl(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	ctx, s := start(t, pbxCurl)
	c := newCurl(t, s.w)
	id := s.ask(ctx, time.Hour)
	s.decide(ctx, id, "allow")
	origin, text, page := c.redeem(ctx, s, id)
	if !strings.HasSuffix(page, "\n200 "+origin+"/login") || !strings.Contains(page, `name="password"`) {
		t.Fatalf("no page to sign in at: %s", page)
	}
	first, err := s.w.PBX(pbxCurl).FirstPassword()
	if err != nil {
		t.Fatal(err)
	}
	const status = "\n%{http_code}"
	if got := c.run(ctx, "-w", status, "-u", "admin:"+first, "-X", "POST", origin+"/api/v1/login"); !strings.HasSuffix(got, "\n200") {
		t.Fatalf("sign in: %s", got)
	}
	if got := c.run(ctx, "-w", status, origin+"/api/v1/system"); !strings.HasSuffix(got, "\n200") || !strings.Contains(got, string(s.serial)) {
		t.Errorf("signed in: %s", got)
	}
	// What only the administrator on the spot may do, nobody may who comes this way.
	if got := c.run(ctx, "-w", status, "-X", "POST", "-H", "Content-Type: application/json", "-d", "{}", origin+"/api/v1/remote/"+string(id)+"/allow"); !strings.HasSuffix(got, "\n403") {
		t.Errorf("consents to itself: %s", got)
	}

	// The grant again, in the same browser and in another one.
	if got := c.run(ctx, "-w", status, "-o", "/dev/null", "--data-urlencode", "grant="+text, origin+"/.ara/redeem"); strings.TrimSpace(got) < "400" {
		t.Errorf("used twice: %s", got)
	}
	other := newCurl(t, s.w)
	at, _, _ := other.begin(ctx, s.w, id)
	if got := other.run(ctx, "-w", status, "-o", "/dev/null", "--data-urlencode", "grant="+text, at+"/.ara/redeem"); strings.TrimSpace(got) < "400" {
		t.Errorf("used by another browser: %s", got)
	}
	// Without the session's cookie there is nothing.
	stranger := newCurl(t, s.w)
	stranger.common = append(stranger.common, "--resolve", strings.TrimPrefix(origin, "https://")+":127.0.0.1")
	if got := stranger.run(ctx, "-w", status, origin+"/login"); strings.Contains(got, `name="password"`) || strings.HasSuffix(got, "\n200") {
		t.Errorf("a stranger: %s", got)
	}

	s.decide(ctx, id, "end")
	if got := c.run(ctx, "-w", status, origin+"/login"); strings.Contains(got, `name="password"`) || strings.HasSuffix(got, "\n200") {
		t.Errorf("after the end: %s", got)
	}
}
