package conformance

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 7616 §3.1 has it, for clients that know nothing else
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const realm = "conformance"

// nonceLife is how long a nonce is good. An older one is stale.
const nonceLife = 5 * time.Minute

// digest is the login of RFC 7616 with qop=auth. A nonce is a time with its HMAC.
type digest struct{ key []byte }

func newDigest() digest {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return digest{key}
}

func (d digest) nonce(at time.Time) string {
	text := strconv.FormatInt(at.Unix(), 16)
	h := hmac.New(sha256.New, d.key)
	_, _ = h.Write([]byte(text)) // never fails
	return text + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// good tells whether a nonce is ours, and whether it is too old.
func (d digest) good(nonce string) (ok, stale bool) {
	text, _, _ := strings.Cut(nonce, "-")
	at, err := strconv.ParseInt(text, 16, 64)
	if err != nil || !hmac.Equal([]byte(d.nonce(time.Unix(at, 0))), []byte(nonce)) {
		return false, false
	}
	return true, time.Since(time.Unix(at, 0)) > nonceLife
}

// algorithms in the order of preference (RFC 7616 §3.7).
var algorithms = []struct {
	name string
	hash func() hash.Hash
}{{"SHA-256", sha256.New}, {"MD5", md5.New}}

func (d digest) serve(w http.ResponseWriter, r *http.Request) {
	stale, ok := false, false
	if text, is := strings.CutPrefix(r.Header.Get("Authorization"), "Digest "); is {
		ok, stale = d.check(r, parameters(text))
	}
	if ok && !stale {
		answer(w, map[string]string{"user": User})
		return
	}
	for _, a := range algorithms {
		challenge := fmt.Sprintf(`Digest realm="%s", qop="auth", algorithm=%s, nonce="%s"`, realm, a.name, d.nonce(time.Now()))
		if stale {
			challenge += ", stale=true"
		}
		w.Header().Add("WWW-Authenticate", challenge)
	}
	http.Error(w, "log in", http.StatusUnauthorized)
}

func (d digest) check(r *http.Request, p map[string]string) (ok, stale bool) {
	name := p["algorithm"]
	if name == "" {
		name = "MD5" // RFC 7616 §3.4
	}
	for _, a := range algorithms {
		if !strings.EqualFold(a.name, name) {
			continue
		}
		sum := func(parts ...string) string {
			h := a.hash()
			_, _ = h.Write([]byte(strings.Join(parts, ":"))) // never fails
			return hex.EncodeToString(h.Sum(nil))
		}
		want := sum(sum(User, realm, Password), p["nonce"], p["nc"], p["cnonce"], "auth", sum(r.Method, r.RequestURI))
		if p["uri"] != r.RequestURI || p["qop"] != "auth" || p["username"] != User || p["realm"] != realm ||
			!hmac.Equal([]byte(want), []byte(p["response"])) {
			return false, false
		}
		return d.good(p["nonce"])
	}
	return false, false
}

// parameters reads name=value and name="value", separated by commas (RFC 9110 §11.2).
func parameters(text string) map[string]string {
	found := make(map[string]string)
	for text = strings.TrimLeft(text, " ,"); text != ""; text = strings.TrimLeft(text, " ,") {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			return found
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			var b strings.Builder
			i := 1
			for ; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' && i+1 < len(rest) {
					i++
				}
				b.WriteByte(rest[i])
			}
			value, text = b.String(), rest[min(i+1, len(rest)):]
		} else {
			value, text, _ = strings.Cut(rest, ",")
			value = strings.TrimSpace(value)
		}
		found[strings.ToLower(strings.TrimSpace(name))] = value
	}
	return found
}
