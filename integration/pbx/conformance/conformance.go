// Package conformance is a page with everything that the administration pages of PBXs do
// to a proxy: forms, cookies, WebSocket, Server-Sent Events, large uploads and downloads,
// ranges, redirects, absolute links, logins by Basic and Digest, long polls, trailers. A
// browser that runs it, or curl, tells what a proxy on the way breaks.
//
//	mux.Handle(conformance.Path, conformance.New())
//
// The page is at [Path]; with ?run it begins by itself, and when it is done the element
// html has the attribute data-done, "passed" or "failed". ?size=N moves N MB each way
// instead of 500.
//
//	POST form                        {method, type, fields}; with see=other 303 to GET form
//	POST cookies                     sets three; GET: {name: value} of those that came; DELETE
//	GET  ws                          WebSocket, echoes
//	GET  clock?n&every               n events of SSE, each after so many milliseconds
//	POST upload                      {bytes, intact}: of the pattern, see [Fill]
//	GET  download?size               so many bytes of the pattern, with ranges
//	GET  redirect/{status}?n&absolute  n redirects, then {hops}
//	GET  absolute                    {url} of this host, as the client should see it
//	GET  basic, digest               {user}, after logging in as [User] with [Password]
//	GET  poll?after                  {number} of the next event, within 25 s, else 204
//	POST poll                        {number}: makes one
//	POST trailers                    echoes the body in chunks, its trailers as trailers
//	ANY  echo                        {method, host, headers, bytes}
//
// It changes nothing anywhere. Who may use it is for the caller to say.
package conformance

import (
	"embed"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Path is where the page and all below it are.
const Path = "/conformance/"

// User and Password are for the logins. They protect nothing.
const (
	User     = "conformance"
	Password = "conformance"
)

// Policy is the Content-Security-Policy of the page: its own script and style sheet,
// requests to where it comes from, and nothing else.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// longest bounds one request.
const longest = 30 * time.Minute

const (
	maxBody = 64 << 10      // where the body is not a stream
	maxSize = 2_000_000_000 // of uploads and downloads
)

//go:embed page
var files embed.FS

// New makes the handler for everything below [Path].
func New() http.Handler {
	mux := http.NewServeMux()
	file := func(pattern, name, media string) {
		mux.HandleFunc("GET "+Path+pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			http.ServeFileFS(w, r, files, "page/"+name)
		})
	}
	file("{$}", "page.html", "text/html; charset=utf-8")
	file("script.js", "script.js", "text/javascript; charset=utf-8")
	file("style.css", "style.css", "text/css; charset=utf-8")
	add := func(pattern string, f http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		if method == "ANY" {
			mux.HandleFunc(Path+path, f)
			return
		}
		mux.HandleFunc(method+" "+Path+path, f)
	}
	add("POST form", form)
	add("GET form", form)
	add("POST cookies", setCookies)
	add("GET cookies", showCookies)
	add("DELETE cookies", dropCookies)
	add("GET ws", echoSocket)
	add("GET clock", clock)
	add("POST upload", upload)
	add("GET download", download)
	add("GET redirect/{status}", redirect)
	add("GET absolute", absolute)
	add("GET basic", basic)
	add("GET digest", newDigest().serve)
	p := newPoll()
	add("GET poll", p.wait)
	add("POST poll", p.make)
	add("POST trailers", trailers)
	add("ANY echo", echo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", Policy)
		rc := http.NewResponseController(w)
		end := time.Now().Add(longest)
		_, _ = rc.SetReadDeadline(end), rc.SetWriteDeadline(end) // not with every writer
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// form gives back what was sent, as application/x-www-form-urlencoded or
// multipart/form-data.
func form(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	if media == "multipart/form-data" {
		err = r.ParseMultipartForm(maxBody)
	} else {
		err = r.ParseForm()
	}
	if err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	fields := make(map[string]string)
	for name := range r.Form {
		fields[name] = r.Form.Get(name)
	}
	if r.MultipartForm != nil {
		for name, files := range r.MultipartForm.File {
			fields[name] = files[0].Filename + " " + strconv.FormatInt(files[0].Size, 10)
		}
		defer func() { _ = r.MultipartForm.RemoveAll() }()
	}
	if r.Method == http.MethodPost && fields["see"] == "other" {
		delete(r.Form, "see")
		http.Redirect(w, r, Path+"form?"+r.Form.Encode(), http.StatusSeeOther)
		return
	}
	answer(w, map[string]any{"method": r.Method, "type": media, "fields": fields})
}

const cookiePrefix = "conformance_"

func setCookies(w http.ResponseWriter, r *http.Request) {
	secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	for _, c := range []http.Cookie{
		{Name: cookiePrefix + "plain", Value: "a b&c", Path: Path},
		{Name: cookiePrefix + "hidden", Value: "h", Path: Path, HttpOnly: true, SameSite: http.SameSiteStrictMode},
		{Name: cookiePrefix + "host", Value: "d", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: 600},
	} {
		c.Secure = secure
		http.SetCookie(w, &c)
	}
	w.WriteHeader(http.StatusNoContent)
}

func showCookies(w http.ResponseWriter, r *http.Request) {
	got := make(map[string]string)
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, cookiePrefix) {
			got[c.Name] = c.Value
		}
	}
	answer(w, got)
}

func dropCookies(w http.ResponseWriter, _ *http.Request) {
	for name, path := range map[string]string{"plain": Path, "hidden": Path, "host": "/"} {
		http.SetCookie(w, &http.Cookie{Name: cookiePrefix + name, Path: path, MaxAge: -1})
	}
	w.WriteHeader(http.StatusNoContent)
}

// origin is the one that the client should see.
func origin(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		host = forwarded
	}
	return scheme + "://" + host
}

func absolute(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]string{"url": origin(r) + Path})
}

func redirect(w http.ResponseWriter, r *http.Request) {
	status, _ := strconv.Atoi(r.PathValue("status"))
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	left, hops := number(q.Get("n"), 1, 10), number(q.Get("hops"), 0, 10)
	if left <= 0 {
		answer(w, map[string]int{"hops": hops})
		return
	}
	q.Set("n", strconv.Itoa(left-1))
	q.Set("hops", strconv.Itoa(hops+1))
	to := Path + "redirect/" + strconv.Itoa(status) + "?" + q.Encode()
	if q.Has("absolute") {
		to = origin(r) + to
	}
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

// number reads a number from 0 to most; without one it gives otherwise.
func number(text string, otherwise, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return otherwise
	}
	return min(n, most)
}

func basic(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if !ok || user != User || password != Password {
		w.Header().Set("WWW-Authenticate", `Basic realm="conformance", charset="UTF-8"`)
		http.Error(w, "log in", http.StatusUnauthorized)
		return
	}
	answer(w, map[string]string{"user": user})
}

// trailers sends the body back as it comes, and the trailers that came after it.
func trailers(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // as with HTTP/2
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", "X-Length")
	n, err := io.Copy(w, http.MaxBytesReader(w, r.Body, maxSize))
	if err != nil {
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
	w.Header().Set("X-Length", strconv.FormatInt(n, 10))
	for name := range r.Trailer {
		w.Header().Set(http.TrailerPrefix+name, r.Trailer.Get(name))
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxSize))
	if err != nil {
		http.Error(w, "the body has not come whole", http.StatusBadRequest)
		return
	}
	headers := r.Header.Clone()
	for _, secret := range []string{"Cookie", "Authorization"} {
		if headers.Get(secret) != "" {
			headers.Set(secret, "…")
		}
	}
	answer(w, map[string]any{"method": r.Method, "host": r.Host, "headers": headers, "bytes": n})
}
