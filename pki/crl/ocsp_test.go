package crl

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// ask makes the request for a serial number. The library takes it from certificates.
func ask(t testing.TB, issuer Issuer, serial int64, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(serial)}, issuer.Cert, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// with adds request extensions.
func with(t testing.TB, der []byte, e ...pkix.Extension) []byte {
	t.Helper()
	var request struct{ TBS asn1.RawValue }
	if _, err := asn1.Unmarshal(der, &request); err != nil {
		t.Fatal(err)
	}
	extensions, err := asn1.MarshalWithParams(e, "explicit,tag:2")
	if err != nil {
		t.Fatal(err)
	}
	request.TBS.FullBytes = nil
	request.TBS.Bytes = append(request.TBS.Bytes, extensions...)
	out, err := asn1.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func nonce(t testing.TB, size int) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal(bytes.Repeat([]byte{7}, size))
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: oidNonce, Value: value}
}

func post(s *Service, der []byte) (*httptest.ResponseRecorder, string) {
	r := httptest.NewRequest(http.MethodPost, OCSPPath, bytes.NewReader(der))
	r.Header.Set("Content-Type", ocspRequestType)
	return serve(s, r)
}

func serve(s *Service, r *http.Request) (*httptest.ResponseRecorder, string) {
	w := httptest.NewRecorder()
	result := s.ServeOCSP(w, r)
	return w, result
}

func TestOCSP(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	old, now := newIssuer(t, identity.KindDevice, false), newIssuer(t, identity.KindDevice, true)
	stranger := newIssuer(t, identity.KindDevice, true)
	later := time.Now().Add(time.Hour)
	l.issue(t, now, "device/1", 1, later)
	l.issue(t, now, "device/2", 2, later)
	l.issue(t, old, "device/3", 3, later)
	at := time.Now().Add(-time.Minute).Truncate(time.Second).UTC()
	l.revoke(t, "device/2", &Revocation{Time: at})
	l.revoke(t, "device/3", &Revocation{Time: at, Final: true})
	s := l.service(t, nil, Config{}, old, now)
	for name, c := range map[string]struct {
		issuer Issuer
		serial int64
		hash   crypto.Hash
		result string
		status int
		reason int
	}{
		"good":                     {now, 1, crypto.SHA1, ResultGood, ocsp.Good, 0},
		"good, by SHA-256":         {now, 1, crypto.SHA256, ResultGood, ocsp.Good, 0},
		"blocked":                  {now, 2, crypto.SHA1, ResultRevoked, ocsp.Revoked, ocsp.CertificateHold},
		"retired, of the old one":  {old, 3, crypto.SHA384, ResultRevoked, ocsp.Revoked, ocsp.CessationOfOperation},
		"not issued":               {now, 4, crypto.SHA1, ResultUnknown, ocsp.Unknown, 0},
		"issued by the other":      {now, 3, crypto.SHA1, ResultUnknown, ocsp.Unknown, 0},
		"another CA's certificate": {stranger, 1, crypto.SHA1, ResultUnauthorized, 0, 0},
	} {
		resp, result := post(s, ask(t, c.issuer, c.serial, c.hash))
		if result != c.result || resp.Header().Get("Content-Type") != ocspResponseType || resp.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, %v", name, result, resp.Header())
		}
		got, err := ocsp.ParseResponse(resp.Body.Bytes(), c.issuer.Cert)
		if c.result == ResultUnauthorized {
			if refused, ok := errors.AsType[ocsp.ResponseError](err); !ok || refused.Status != ocsp.Unauthorized {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Status != c.status || got.RevocationReason != c.reason || got.SerialNumber.Int64() != c.serial || got.IssuerHash != c.hash {
			t.Errorf("%s: %+v", name, got)
		}
		if c.status == ocsp.Revoked && !got.RevokedAt.Equal(at) {
			t.Errorf("%s: revoked at %s, want %s", name, got.RevokedAt, at)
		}
		if got.NextUpdate.Before(time.Now().Add(9*time.Minute)) || got.ThisUpdate.After(time.Now().Add(-skew+time.Minute)) {
			t.Errorf("%s: from %s until %s", name, got.ThisUpdate, got.NextUpdate)
		}
		checkDelegate(t, got.Certificate)
	}
	// One certificate for each intermediate that was asked about, each in the log.
	n := 0
	for e, err := range audit.Entries(t.Context(), l.db, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event != audit.EventIssue || e.Method != MethodOCSP || e.Identity != "authority/device" || e.Certificate == "" {
			t.Errorf("%+v", e)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d entries in the audit log, want 2", n)
	}
}

// The signer's certificate can do nothing else.
func checkDelegate(t *testing.T, c *x509.Certificate) {
	t.Helper()
	if c.IsCA || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) || c.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("usage of the signer: %v %v", c.KeyUsage, c.ExtKeyUsage)
	}
	if !slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNoCheck) && bytes.Equal(e.Value, asn1.NullBytes) }) {
		t.Error("the signer's certificate lacks id-pkix-ocsp-nocheck")
	}
	if _, err := identity.FromCert(c); err == nil {
		t.Error("the signer's certificate has an identity")
	}
	if life := c.NotAfter.Sub(c.NotBefore); life > delegateLife+time.Hour {
		t.Errorf("the signer's certificate is valid for %s", life)
	}
}

func TestOCSPNonce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	issuer := newIssuer(t, identity.KindDevice, true)
	l.issue(t, issuer, "device/1", 1, time.Now().Add(time.Hour))
	plain := ask(t, issuer, 1, crypto.SHA1)
	sent := nonce(t, 32)
	for policy, want := range map[Nonce]struct {
		result string
		echoed bool
	}{
		NonceEcho: {ResultGood, true}, NonceIgnore: {ResultGood, false}, NonceRefuse: {ResultUnauthorized, false},
	} {
		s := l.service(t, nil, Config{OCSPNonce: policy}, issuer)
		if resp, result := post(s, plain); result != ResultGood || bytes.Contains(resp.Body.Bytes(), sent.Value) {
			t.Errorf("%s: without a nonce: %s", policy, result)
		}
		resp, result := post(s, with(t, plain, sent))
		der := resp.Body.Bytes()
		if result != want.result || bytes.Contains(der, sent.Value) != want.echoed {
			t.Errorf("%s: %s, echoed %v", policy, result, bytes.Contains(der, sent.Value))
		}
		if result == ResultGood {
			if _, err := ocsp.ParseResponse(der, issuer.Cert); err != nil { // checks the signature
				t.Errorf("%s: %v", policy, err)
			}
		}
	}
}

func TestOCSPRefuses(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	issuer := newIssuer(t, identity.KindDevice, true)
	l.issue(t, issuer, "device/1", 1, time.Now().Add(time.Hour))
	s := l.service(t, nil, Config{}, issuer)
	good := ask(t, issuer, 1, crypto.SHA1)
	if _, result := post(s, with(t, good, nonce(t, 128))); result != ResultGood {
		t.Fatalf("the control: %s", result)
	}
	if _, result := post(s, with(t, good, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}})); result != ResultGood {
		t.Errorf("an unknown extension: %s", result)
	}
	for name, der := range map[string][]byte{
		"nothing":            nil,
		"text":               []byte("hello"),
		"more behind":        append(slices.Clone(good), 0),
		"cut off":            good[:len(good)-1],
		"long nonce":         with(t, good, nonce(t, 129)),
		"two nonces":         with(t, good, nonce(t, 8), nonce(t, 8)),
		"critical extension": with(t, good, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}),
		"two certificates":   twice(t, good),
	} {
		resp, result := post(s, der)
		if result != ResultMalformed || !bytes.Equal(resp.Body.Bytes(), ocsp.MalformedRequestErrorResponse) {
			t.Errorf("%s: %s", name, result)
		}
	}
	for name, c := range map[string]struct {
		method, path, kind, body string
		status                   int
	}{
		"method":          {"PUT", OCSPPath, ocspRequestType, string(good), http.StatusMethodNotAllowed},
		"media type":      {"POST", OCSPPath, "text/plain", string(good), http.StatusUnsupportedMediaType},
		"too long":        {"POST", OCSPPath, ocspRequestType, strings.Repeat("x", maxRequest+1), http.StatusRequestEntityTooLarge},
		"not base64":      {"GET", OCSPPath + "/???", "", "", http.StatusBadRequest},
		"too long by GET": {"GET", OCSPPath + "/" + strings.Repeat("A", 4*maxRequest), "", "", http.StatusBadRequest},
		"none by GET":     {"GET", OCSPPath, "", "", http.StatusBadRequest},
	} {
		r := httptest.NewRequest(c.method, OCSPPath, strings.NewReader(c.body))
		r.URL.Path = c.path
		r.Header.Set("Content-Type", c.kind)
		if resp, result := serve(s, r); resp.Code != c.status || result != ResultMalformed {
			t.Errorf("%s: %d %s, want %d", name, resp.Code, result, c.status)
		}
	}
	w := httptest.NewRecorder()
	if result := TryLater(w); result != ResultTryLater || !bytes.Equal(w.Body.Bytes(), ocsp.TryLaterErrorResponse) {
		t.Error(result, w.Body.Bytes())
	}
}

// twice repeats the certificate of the request.
func twice(t *testing.T, der []byte) []byte {
	t.Helper()
	var o struct {
		TBS struct{ Requests []asn1.RawValue }
	}
	if _, err := asn1.Unmarshal(der, &o); err != nil {
		t.Fatal(err)
	}
	o.TBS.Requests = append(o.TBS.Requests, o.TBS.Requests[0])
	out, err := asn1.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// By GET, in every way that clients write base64 in a path, and with headers for
// caches.
func TestOCSPByGET(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	issuer := newIssuer(t, identity.KindDevice, true)
	l.issue(t, issuer, "device/1", 1, time.Now().Add(time.Hour))
	s := l.service(t, nil, Config{}, issuer)
	der := ask(t, issuer, 1, crypto.SHA1)
	text := base64.StdEncoding.EncodeToString(der)
	for _, path := range []string{text, url.PathEscape(text), url.QueryEscape(text)} {
		r := httptest.NewRequest(http.MethodGet, OCSPPath+"/"+path, nil)
		resp, result := serve(s, r)
		h := resp.Header()
		if result != ResultGood || h.Get("Cache-Control") != "public, no-transform, must-revalidate, max-age=300" ||
			h.Get("Last-Modified") == "" || h.Get("Expires") == "" {
			t.Errorf("%s: %s, %v", path, result, h)
		}
		if _, err := ocsp.ParseResponse(resp.Body.Bytes(), issuer.Cert); err != nil {
			t.Error(err)
		}
	}
	for name, der := range map[string][]byte{"nonce": with(t, der, nonce(t, 16)), "unknown": ask(t, issuer, 9, crypto.SHA1)} {
		r := httptest.NewRequest(http.MethodGet, OCSPPath+"/"+url.PathEscape(base64.StdEncoding.EncodeToString(der)), nil)
		if resp, _ := serve(s, r); resp.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, resp.Header())
		}
	}
}

// The signer's certificate is replaced at half of its life, and near the end of its
// intermediate it does not outlive it.
func TestDelegateIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		issuer := newIssuer(t, identity.KindDevice, true)
		s := l.service(t, nil, Config{}, issuer)
		signer := func() *x509.Certificate {
			d, err := s.delegate(t.Context(), issuer, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return d.cert
		}
		first := signer()
		time.Sleep(delegateLife/2 - time.Minute)
		if signer() != first {
			t.Error("replaced too early")
		}
		time.Sleep(2 * time.Minute)
		if signer() == first {
			t.Error("not replaced")
		}
		time.Sleep(time.Until(issuer.Cert.NotAfter) - time.Hour)
		last := signer()
		if last.NotAfter.After(issuer.Cert.NotAfter) || signer() != last {
			t.Errorf("valid until %s, the intermediate until %s", last.NotAfter, issuer.Cert.NotAfter)
		}
		time.Sleep(2 * time.Hour)
		if _, err := s.delegate(t.Context(), issuer, time.Now()); err == nil {
			t.Error("an expired intermediate signs")
		}
	})
}

// silent is a store whose audit log cannot be written.
type silent struct{ store.DB }

var errSilent = errors.New("the disk is full")

func (s silent) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.DB.Update(ctx, func(tx store.Tx) error { return f(silentTx{tx}) })
}

type silentTx struct{ store.Tx }

func (s silentTx) Put(b store.Bucket, key, value []byte) error {
	if b == audit.Bucket {
		return errSilent
	}
	return s.Tx.Put(b, key, value)
}

func TestNoAuditNoSigner(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	issuer := newIssuer(t, identity.KindDevice, true)
	s := l.service(t, silent{l.db}, Config{}, issuer)
	resp, result := post(s, ask(t, issuer, 1, crypto.SHA1))
	if result != ResultFailed || !bytes.Equal(resp.Body.Bytes(), ocsp.InternalErrorErrorResponse) {
		t.Errorf("%s", result)
	}
	if _, err := s.delegate(t.Context(), issuer, time.Now()); !errors.Is(err, errSilent) {
		t.Error(err)
	}
}

func FuzzOCSPRequest(f *testing.F) {
	issuer := newIssuer(f, identity.KindDevice, true)
	good := ask(f, issuer, 1, crypto.SHA256)
	f.Add(good)
	f.Add(with(f, good, nonce(f, 32)))
	f.Add([]byte{0x30, 0x03, 0x0A, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, der []byte) {
		req, err := parseRequest(der)
		if err != nil {
			return
		}
		if req.SerialNumber.Sign() < 0 || req.SerialNumber.BitLen() > maxSerial || req.nonce != nil && len(req.nonce.Value) > maxNonce {
			t.Errorf("accepted %x", der)
		}
	})
}
