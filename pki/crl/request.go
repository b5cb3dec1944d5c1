package crl

import (
	"crypto"
	"crypto/rand"
	_ "crypto/sha1" // for the hashes by which requests name an issuer
	"crypto/sha256"
	_ "crypto/sha512" // as above
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/ocsp"
)

// oidNonce is id-pkix-ocsp-nonce (RFC 9654 §2.1).
var oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}

// Bounds of what a request may hold.
const (
	maxNonce  = 128 + 3 // bytes; RFC 9654 allows 128, and the header of an OCTET STRING
	maxSerial = 20 * 8  // bits, RFC 5280 §4.1.2.2
)

// request is a parsed OCSP request for one certificate (RFC 5019 §2.1.1).
type request struct {
	*ocsp.Request
	nonce *pkix.Extension // nil where there is none
}

// outer is what package ocsp does not tell of an OCSPRequest (RFC 6960 §4.1.1).
type outer struct {
	TBS struct {
		Version    int           `asn1:"explicit,tag:0,default:0,optional"`
		Requestor  asn1.RawValue `asn1:"explicit,tag:1,optional"`
		Requests   []asn1.RawValue
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
	}
	Signature asn1.RawValue `asn1:"explicit,tag:0,optional"`
}

// parseRequest reads a request from anybody.
func parseRequest(der []byte) (request, error) {
	inner, err := ocsp.ParseRequest(der)
	if err != nil {
		return request{}, err
	}
	var o outer
	if _, err := asn1.Unmarshal(der, &o); err != nil {
		return request{}, err
	}
	if o.TBS.Version != 0 || len(o.TBS.Requests) != 1 {
		return request{}, errors.New("want version 1 and one certificate")
	}
	if inner.SerialNumber == nil || inner.SerialNumber.Sign() < 0 || inner.SerialNumber.BitLen() > maxSerial {
		return request{}, errors.New("not the serial number of a certificate")
	}
	req := request{Request: inner}
	for _, e := range o.TBS.Extensions {
		switch {
		case e.Id.Equal(oidNonce) && req.nonce == nil && len(e.Value) > 0 && len(e.Value) <= maxNonce:
			req.nonce = &pkix.Extension{Id: e.Id, Value: e.Value}
		case e.Id.Equal(oidNonce):
			return request{}, errors.New("two nonces, or one that is empty or too long")
		case e.Critical:
			return request{}, fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return req, nil
}

// response is an OCSPResponse that was successful, and basic its content (RFC 6960
// §4.2.1).
type response struct {
	Status asn1.Enumerated
	Bytes  struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	} `asn1:"explicit,tag:0"`
}

type basic struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
	Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
}

// addNonce puts a nonce into the responseExtensions, which package ocsp cannot
// make, and signs again with the same key, which is ECDSA on P-256.
func addNonce(der []byte, nonce pkix.Extension, key crypto.Signer) ([]byte, error) {
	var r response
	if _, err := asn1.Unmarshal(der, &r); err != nil {
		return nil, err
	}
	var b basic
	if _, err := asn1.Unmarshal(r.Bytes.Response, &b); err != nil {
		return nil, err
	}
	extensions, err := asn1.MarshalWithParams([]pkix.Extension{nonce}, "explicit,tag:1")
	if err != nil {
		return nil, err
	}
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(b.TBS.Bytes, extensions...)})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(tbs)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	b.TBS = asn1.RawValue{FullBytes: tbs}
	b.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	if r.Bytes.Response, err = asn1.Marshal(b); err != nil {
		return nil, err
	}
	return asn1.Marshal(r)
}
