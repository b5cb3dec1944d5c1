// Package web serves the pages of the control centre.
//
// The pages are one program for the browser, made by "npm run build" in ui and put
// into the binary with the build tag webui. Without the tag a page is served that says
// how to build them, so that Go's tools need no Node.js.
//
// What a browser may do on these pages is written in policy.txt, one directive of the
// Content-Security-Policy a line: nothing from another origin, no inline script, and
// inline styles only with the nonce of that one answer.
package web

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

const (
	indexFile = "index.html"

	// nonceMark stands in index.html where the nonce of the answer belongs.
	nonceMark = "__CSP_NONCE__"

	// hashedDir holds the files that have the hash of their content in their name.
	hashedDir = "assets/"

	// apiPrefix is never answered with a page: who calls the API wants no HTML.
	apiPrefix = "api/"
)

//go:embed policy.txt
var policyText string

// Config says what is served. The zero value serves the embedded pages.
type Config struct {
	// Files are the pages, with index.html at the top; nil: the embedded ones. Beside
	// a file name.js, name.js.br and name.js.gz are its compressed forms.
	Files fs.FS

	// Gateway is the address of the gateway for remote access, https://host[:port]. Forms
	// may be posted to its sessions, which are one label below the host: with them a
	// browser gets in. Empty: there is none.
	Gateway string

	// HSTS is how long a browser that came by https keeps to https, in whole seconds.
	// 0: a year; negative: the header is not sent.
	HSTS time.Duration
}

// Built tells whether the pages are in this binary (build tag webui) or only the page
// that says how to build them.
func Built() bool { return built }

// gatewayMark stands in policy.txt, with the space before it, where the origins of the
// gateway's sessions belong.
const gatewayMark = " {gateway}"

// sessionsOf gives the origins of all sessions of a gateway, for the policy.
func sessionsOf(gateway string) (string, error) {
	if gateway == "" {
		return "", nil
	}
	u, err := url.Parse(gateway)
	if err != nil || u.Scheme != "https" || !hostname.MatchString(u.Hostname()) || u.Port() != "" && !port.MatchString(u.Port()) {
		return "", &configs.KeyError{Key: "ara_url", Problem: "is not an https address with the name of a host", Hint: "as in https://ara.example.net"}
	}
	u.Host = "*." + u.Host
	return " " + u.Scheme + "://" + u.Host, nil
}

// What may stand in a policy: a name of two labels at least, so that it is no whole
// top-level domain, and no address; and a port.
var (
	hostname = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.[a-z]([a-z0-9-]*[a-z0-9])?$`)
	port     = regexp.MustCompile(`^[0-9]{1,5}$`)
)

type handler struct {
	files  map[string]*file
	index  [][]byte // index.html, cut at each nonceMark
	policy [2]string
	hsts   string
}

// Handler answers GET and HEAD for the pages and their files. A path that is no file
// is a page of the browser's program where the client takes text/html, and 404 where
// not, under /api/ and under /assets/. An error means that the pages are incomplete.
func Handler(c Config) (http.Handler, error) {
	if c.Files == nil {
		sub, err := fs.Sub(embedded, embeddedRoot)
		if err != nil {
			return nil, fmt.Errorf("embedded pages: %w", err)
		}
		c.Files = sub
	}
	files, err := load(c.Files)
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	index, ok := files[indexFile]
	if !ok {
		return nil, fmt.Errorf("pages: no %s; run npm run build in ccc/web/ui", indexFile)
	}
	h := &handler{files: files, index: bytes.Split(index.plain, []byte(nonceMark))}
	delete(files, indexFile)
	sessions, err := sessionsOf(c.Gateway)
	if err != nil {
		return nil, err
	}
	policy := strings.ReplaceAll(strings.Join(strings.Split(strings.TrimSpace(policyText), "\n"), "; "), gatewayMark, sessions)
	before, after, ok := strings.Cut(policy, "{nonce}")
	if !ok {
		return nil, fmt.Errorf("policy.txt has no {nonce}")
	}
	h.policy = [2]string{before, after}
	if c.HSTS == 0 {
		c.HSTS = 365 * 24 * time.Hour
	}
	if c.HSTS > 0 {
		h.hsts = "max-age=" + strconv.Itoa(int(c.HSTS.Seconds()))
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.secure(w.Header(), r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if f, ok := h.files[name]; ok {
		f.serve(w, r)
		return
	}
	page := name == "" || name == indexFile
	if !page && (strings.HasPrefix(name+"/", apiPrefix) || strings.HasPrefix(name, hashedDir) || !acceptsHTML(r.Header)) {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	h.serveIndex(w)
}

// serveIndex writes index.html with a nonce of its own, for which reason it is never
// taken from a cache.
func (h *handler) serveIndex(w http.ResponseWriter) {
	nonce := rand.Text()
	body := bytes.Join(h.index, []byte(nonce))
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy[0]+nonce+h.policy[1])
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-cache")
	header.Add("Vary", "Accept")
	_, _ = w.Write(body) // the client has gone
}

// secure sets the headers of every answer. A file needs no rights in the browser, so
// its policy is the strictest; serveIndex sets that of the page.
func (h *handler) secure(header http.Header, r *http.Request) {
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	// By plain http the header means nothing (RFC 6797, section 7.2).
	if r.TLS != nil && h.hsts != "" {
		header.Set("Strict-Transport-Security", h.hsts)
	}
}
