package crl

import (
	"bytes"
	"context"
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// maxRequest bounds an OCSP request, in bytes. One with a nonce has about 120.
const maxRequest = 4 << 10

// Results of [Service.ServeOCSP], for metrics. Append-only.
const (
	ResultGood         = "good"
	ResultRevoked      = "revoked"
	ResultUnknown      = "unknown" // such a certificate was not issued here, or was swept
	ResultMalformed    = "malformed"
	ResultUnauthorized = "unauthorized" // another CA's certificate, or a refused nonce
	ResultTryLater     = "try later"
	ResultFailed       = "failed"
)

// ServeOCSP answers an OCSP request and gives the result. Errors of OCSP are
// answers with status 200 (RFC 6960 appendix A.2).
func (s *Service) ServeOCSP(w http.ResponseWriter, r *http.Request) (result string) {
	der, status := readRequest(w, r)
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return ResultMalformed
	}
	now := time.Now()
	a := s.answer(r.Context(), der, now)
	h := w.Header()
	h.Set("Content-Type", ocspResponseType)
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost && a.cacheable {
		h.Set("Cache-Control", "public, no-transform, must-revalidate, max-age="+strconv.Itoa(int(s.cfg.OCSPValidity.Seconds())/2))
		h.Set("Last-Modified", now.UTC().Format(http.TimeFormat))
		h.Set("Expires", now.Add(s.cfg.OCSPValidity/2).UTC().Format(http.TimeFormat))
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = w.Write(a.body) // the client is gone, and there is nobody to tell
	return a.result
}

// TryLater answers a client that asks too often.
func TryLater(w http.ResponseWriter) (result string) {
	w.Header().Set("Content-Type", ocspResponseType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(ocsp.TryLaterErrorResponse) // as above
	return ResultTryLater
}

func readRequest(w http.ResponseWriter, r *http.Request) (der []byte, status int) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		text, ok := strings.CutPrefix(r.URL.EscapedPath(), OCSPPath+"/")
		if !ok || len(text) > 3*maxRequest {
			return nil, http.StatusBadRequest
		}
		text, err := url.PathUnescape(text)
		if err != nil {
			return nil, http.StatusBadRequest
		}
		der, err = base64.StdEncoding.DecodeString(text)
		if err != nil || len(der) > maxRequest {
			return nil, http.StatusBadRequest
		}
		return der, http.StatusOK
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != ocspRequestType {
			return nil, http.StatusUnsupportedMediaType
		}
		der, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, http.StatusRequestEntityTooLarge
		}
		if err != nil {
			return nil, http.StatusBadRequest
		}
		return der, http.StatusOK
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		return nil, http.StatusMethodNotAllowed
	}
}

// answer is an OCSP response.
type answer struct {
	body      []byte
	result    string
	cacheable bool
}

func (s *Service) answer(ctx context.Context, der []byte, now time.Time) answer {
	req, err := parseRequest(der)
	if err != nil {
		return answer{body: ocsp.MalformedRequestErrorResponse, result: ResultMalformed}
	}
	issuer, ok := s.issuerOf(req.Request)
	if !ok || req.nonce != nil && s.cfg.OCSPNonce == NonceRefuse {
		return answer{body: ocsp.UnauthorizedErrorResponse, result: ResultUnauthorized}
	}
	if s.cfg.OCSPNonce == NonceIgnore {
		req.nonce = nil
	}
	a, err := s.sign(ctx, issuer, req, now)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.Error("an OCSP request could not be answered", "issuer", issuer.Name(), "error", err)
		}
		return answer{body: ocsp.InternalErrorErrorResponse, result: ResultFailed}
	}
	return a
}

func (s *Service) sign(ctx context.Context, issuer Issuer, req request, now time.Time) (a answer, err error) {
	by, err := s.delegate(ctx, issuer, now)
	if err != nil {
		return a, err
	}
	t := ocsp.Response{
		Status: ocsp.Unknown, SerialNumber: req.SerialNumber, IssuerHash: req.HashAlgorithm, Certificate: by.cert,
		ThisUpdate: now.Add(-skew), NextUpdate: now.Add(s.cfg.OCSPValidity),
	}
	err = s.cfg.DB.View(ctx, func(tx store.Tx) error {
		c, r, err := s.cfg.Source.Find(tx, req.SerialNumber)
		a.result = ResultUnknown
		switch {
		case err != nil:
			return err
		case c == nil || !bytes.Equal(c.IssuerKeyID, issuer.Cert.SubjectKeyId):
		case r == nil:
			t.Status, a.result = ocsp.Good, ResultGood
		default:
			t.Status, a.result = ocsp.Revoked, ResultRevoked
			t.RevokedAt, t.RevocationReason = r.Time, r.reason()
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	if a.body, err = ocsp.CreateResponse(issuer.Cert, by.cert, t, by.key); err != nil {
		return a, err
	}
	// What is not known today may be issued in a moment.
	a.cacheable = req.nonce == nil && t.Status != ocsp.Unknown
	if req.nonce != nil {
		a.body, err = addNonce(a.body, *req.nonce, by.key)
	}
	return a, err
}

// hashed is how requests name an issuer, by one hash function.
type hashed struct {
	hash      crypto.Hash
	name, key []byte
}

// issuerOf finds the issuer that the request names.
func (s *Service) issuerOf(req *ocsp.Request) (Issuer, bool) {
	for _, i := range s.cfg.Issuers() {
		for _, h := range s.hashesOf(i) {
			if h.hash == req.HashAlgorithm && bytes.Equal(h.key, req.IssuerKeyHash) && bytes.Equal(h.name, req.IssuerNameHash) {
				return i, true
			}
		}
	}
	return Issuer{}, false
}

func (s *Service) hashesOf(i Issuer) []hashed {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := i.Name()
	if all, ok := s.hashes[name]; ok {
		return all
	}
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(i.Cert.RawSubjectPublicKeyInfo, &info); err != nil {
		panic(fmt.Sprintf("key of a parsed certificate: %v", err))
	}
	var all []hashed
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		all = append(all, hashed{hash, sum(hash, i.Cert.RawSubject), sum(hash, info.Key.RightAlign())})
	}
	s.hashes[name] = all
	return all
}

func sum(h crypto.Hash, data []byte) []byte {
	w := h.New()
	w.Write(data)
	return w.Sum(nil)
}
