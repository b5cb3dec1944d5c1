package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// contentTypes has the kinds that the pages consist of; what the operating system
// knows of others must not change the answer.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".ico":  "image/x-icon",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".png":  "image/png",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// codings are those that the build makes, the best first.
var codings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

type file struct {
	contentType string
	cache       string
	tag         string // hex of the hash of plain
	plain       []byte
	coded       map[string][]byte // by coding
}

func load(files fs.FS) (map[string]*file, error) {
	all := make(map[string][]byte)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[name], err = fs.ReadFile(files, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	served := make(map[string]*file, len(all))
	for name, content := range all {
		if _, of := all[strings.TrimSuffix(strings.TrimSuffix(name, ".br"), ".gz")]; of && hasCodedSuffix(name) {
			continue
		}
		sum := sha256.Sum256(content)
		f := &file{
			contentType: typeOf(name), cache: "no-cache", tag: hex.EncodeToString(sum[:12]),
			plain: content, coded: make(map[string][]byte),
		}
		if strings.HasPrefix(name, hashedDir) {
			f.cache = "public, max-age=31536000, immutable"
		}
		for _, c := range codings {
			if coded, ok := all[name+c.suffix]; ok {
				f.coded[c.name] = coded
			}
		}
		served[name] = f
	}
	return served, nil
}

func hasCodedSuffix(name string) bool {
	return strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz")
}

func typeOf(name string) string {
	if t, ok := contentTypes[path.Ext(name)]; ok {
		return t
	}
	return "application/octet-stream"
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	body, tag := f.plain, f.tag
	if len(f.coded) > 0 {
		header.Set("Vary", "Accept-Encoding")
		for _, c := range codings {
			if coded, ok := f.coded[c.name]; ok && accepts(r.Header, "Accept-Encoding", c.name) {
				header.Set("Content-Encoding", c.name)
				body, tag = coded, tag+"-"+c.name
				break
			}
		}
	}
	header.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func acceptsHTML(h http.Header) bool { return accepts(h, "Accept", "text/html") }

// accepts tells whether a header of preferences (RFC 9110, section 12.4) names a value
// with a weight above 0. A wildcard is not enough.
func accepts(h http.Header, header, value string) bool {
	for _, line := range h.Values(header) {
		for part := range strings.SplitSeq(line, ",") {
			name, params, err := mime.ParseMediaType(part)
			if err != nil || name != value {
				continue
			}
			weight, err := strconv.ParseFloat(params["q"], 64)
			if params["q"] == "" || (err == nil && weight > 0) {
				return true
			}
		}
	}
	return false
}
