package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
)

// TestCurlConformance: what the conformance page asks of a proxy, asked by stock curl over
// HTTP/1.1 and HTTP/2. AUER_TEST_MEGABYTES is the size of upload and download.
func TestCurlConformance(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	ctx, s := start(t, pbxPage)
	size := megabytes(t) * 1_000_000
	pattern := make([]byte, size)
	conformance.Fill(pattern, 0)
	file := filepath.Join(t.TempDir(), "pattern.bin")
	if err := os.WriteFile(file, pattern, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"--http1.1", "--http2"} {
		c := newCurl(t, s.w, proto)
		id := s.ask(ctx, time.Hour)
		s.decide(ctx, id, "allow")
		origin, _, _ := c.redeem(ctx, s, id)
		p := &curlPage{curl: c, ctx: ctx, origin: origin, base: origin + conformance.Path}
		p.forms()
		p.flows()
		p.logins()
		p.transfers(file, pattern)
		s.decide(ctx, id, "end")
		if got := c.run(ctx, "-o", "/dev/null", "-w", "%{http_code}", p.base+"absolute"); got < "400" {
			t.Errorf("%s after the end: %s", proto, got)
		}
	}
}

// curlPage is curl at the page.
type curlPage struct {
	*curl
	ctx          context.Context //nolint:containedctx // of one test
	origin, base string
}

// want runs curl and wants texts in what it writes.
func (p *curlPage) want(texts []string, args ...string) string {
	p.t.Helper()
	got := p.run(p.ctx, args...)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			p.t.Errorf("curl %s: %.300q has no %q", strings.Join(args, " "), got, text)
		}
	}
	return got
}

// forms are what a browser sends, and where it is led.
func (p *curlPage) forms() {
	p.t.Helper()
	p.want([]string{`"Grüße \u0026 Küsse"`, `"a+b c"`}, "--data-urlencode", "text=Grüße & Küsse", "--data-urlencode", "plus=a+b c", p.base+"form")
	small := filepath.Join(p.t.TempDir(), "small")
	if err := os.WriteFile(small, make([]byte, 10_000), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.want([]string{`"ü.bin 10000"`, "multipart/form-data"}, "-F", "file=@"+small+";filename=ü.bin", p.base+"form")
	p.want([]string{`"a":"b"`, "\n" + p.origin}, "-L", "-w", "\n%{url_effective}", "-d", "see=other&a=b", p.base+"form")
	p.run(p.ctx, "-X", "POST", p.base+"cookies")
	p.want([]string{`"conformance_plain":"a b\u0026c"`, `"conformance_hidden":"h"`}, p.base+"cookies")
	p.run(p.ctx, "-X", "DELETE", p.base+"cookies")
	if got := p.want(nil, p.base+"cookies"); strings.Contains(got, "conformance_") {
		p.t.Errorf("cookies that were deleted: %s", got)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, form := range []string{"", "&absolute"} {
			p.want([]string{`"hops":3`, "\n" + p.base}, "-L", "-w", "\n%{url_effective}", fmt.Sprintf("%sredirect/%d?n=3%s", p.base, status, form))
		}
	}
	p.want([]string{`"` + p.base + `"`}, p.base+"absolute")
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS"} {
		p.want([]string{`"method":"` + method + `"`}, "-X", method, p.base+"echo")
	}
	large := strings.Repeat("x", 6000)
	p.want([]string{large}, "-H", "X-Large: "+large, p.base+"echo")
}

// flows are answers that take their time.
func (p *curlPage) flows() {
	p.t.Helper()
	if got := p.want([]string{"event: time"}, "-N", p.base+"clock?n=3&every=20"); strings.Count(got, "data: ") != 3 {
		p.t.Errorf("events: %q", got)
	}
	number := p.run(p.ctx, "-X", "POST", p.base+"poll")
	var before int
	if _, err := fmt.Sscanf(number, `{"number":%d}`, &before); err != nil {
		p.t.Fatalf("%s: %v", number, err)
	}
	polled, other := make(chan string, 1), p.beside()
	go func() {
		got, err := other.try(p.ctx, fmt.Sprintf("%spoll?after=%d", p.base, before))
		if err != nil {
			got = err.Error()
		}
		polled <- got
	}()
	for waiting := true; waiting; {
		p.run(p.ctx, "-X", "POST", p.base+"poll")
		select {
		case got := <-polled:
			if !strings.Contains(got, `"number":`) {
				p.t.Errorf("long poll: %q", got)
			}
			waiting = false
		default:
		}
	}
}

// logins are those of the PBX's page; the gateway has no part in them.
func (p *curlPage) logins() {
	p.t.Helper()
	user := conformance.User + ":" + conformance.Password
	for _, login := range []string{"basic", "digest"} {
		p.want([]string{`"user":"` + conformance.User + `"`}, "--"+login, "-u", user, p.base+login)
		if got := p.run(p.ctx, "-o", "/dev/null", "-w", "%{http_code}", "--"+login, "-u", user+"x", p.base+login); got != "401" {
			p.t.Errorf("%s with a wrong password: %s", login, got)
		}
	}
}

// transfers moves the pattern there and back.
func (p *curlPage) transfers(file string, pattern []byte) {
	p.t.Helper()
	got := p.run(p.ctx, "-r", "4096-12287", "-w", "\n%{http_code}", p.base+"download?size=10000000")
	want := make([]byte, 8192)
	conformance.Fill(want, 4096)
	if got != string(want)+"\n206" {
		p.t.Errorf("a range of %d bytes is not what it should be", len(got))
	}
	intact := []string{fmt.Sprintf(`"bytes":%d`, len(pattern)), `"intact":true`}
	p.want(intact, "-H", "Expect: 100-continue", "-H", "Content-Type: application/octet-stream", "--data-binary", "@"+file, p.base+"upload")
	p.want(intact, "-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", file, p.base+"upload")
	back := file + ".back"
	p.run(p.ctx, "-o", back, fmt.Sprintf("%sdownload?size=%d", p.base, len(pattern)))
	if text, err := os.ReadFile(back); err != nil || !bytes.Equal(text, pattern) {
		p.t.Errorf("download: %d bytes, %v", len(text), err)
	}
}
