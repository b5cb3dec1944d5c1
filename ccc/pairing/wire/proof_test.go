package wire

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// vector is one of testdata/vectors.json, whose values were made by another program
// (testdata/vectors.py).
type vector struct {
	Offer    OfferID         `json:"offer"`
	Serial   identity.Serial `json:"serial"`
	Tenant   string          `json:"tenant"`
	Token    string          `json:"token"`
	NonceCCC string          `json:"nonce_ccc"`
	NoncePBX string          `json:"nonce_pbx"`
	User     string          `json:"user"`
	Password string          `json:"password"`
	Proof    string          `json:"proof"`
	Code     string          `json:"code"`
	Digest   string          `json:"digest"`
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		p := Proof{
			v.Offer, v.Serial, unhex(t, v.NonceCCC), unhex(t, v.NoncePBX), NewSecret(v.User), NewSecret(v.Password),
		}
		proof := Prove(mustParse(t, v.Token), p)
		if got := hex.EncodeToString(proof); got != v.Proof {
			t.Errorf("proof %s, want %s", got, v.Proof)
		}
		if got := ShortCode(v.Offer, v.Serial, v.Tenant, p.NonceCCC); got != v.Code {
			t.Errorf("code %s, want %s", got, v.Code)
		}
		digest := Complete{Offer: v.Offer, NoncePBX: p.NoncePBX, Proof: proof, User: p.User}.Digest()
		if got := hex.EncodeToString(digest[:]); got != v.Digest {
			t.Errorf("digest %s, want %s", got, v.Digest)
		}
	}
}

// TestGoldenStatement: what an older version has signed is still read.
func TestGoldenStatement(t *testing.T) {
	t.Parallel()
	jws, err := os.ReadFile("testdata/offer.jws")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/roots.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := enrol.NewCredentials(newCA(t).Issue(pbxID, pkitest.Options{}), []*x509.Certificate{root})
	if err != nil {
		t.Fatal(err)
	}
	signed := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) // the certificates were valid
	var got Offer
	if err := Verify(creds, signed, cccID, string(bytes.TrimSpace(jws)), &got); err != nil {
		t.Fatal(err)
	}
	want := sampleOffer(t)
	if got.Token.Reveal() != want.Token.Reveal() || got.Tenant != want.Tenant || got.ExpiresIn != want.ExpiresIn || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Errorf("%+v", got)
	}
	if err := Verify(creds, signed.AddDate(1, 0, 0), cccID, string(bytes.TrimSpace(jws)), &got); err == nil {
		t.Error("good for ever")
	}
}

// TestProofCoversEverything changes one thing at a time.
func TestProofCoversEverything(t *testing.T) {
	t.Parallel()
	tok := mustParse(t, "0123-4567-89A5")
	base := Proof{
		"o-1", serial, bytes.Repeat([]byte{1}, NonceLen), bytes.Repeat([]byte{2}, NonceLen), NewSecret("ccc-1"), NewSecret("pw"),
	}
	proof := Prove(tok, base)
	if !Proves(tok, base, proof) {
		t.Fatal("the right proof does not pass")
	}
	for name, change := range map[string]func(*Proof, *token.Token, *[]byte){
		"offer":     func(p *Proof, _ *token.Token, _ *[]byte) { p.Offer = "o-2" },
		"serial":    func(p *Proof, _ *token.Token, _ *[]byte) { p.Serial = "0123456788" },
		"nonce_c":   func(p *Proof, _ *token.Token, _ *[]byte) { p.NonceCCC = bytes.Repeat([]byte{3}, NonceLen) },
		"nonce_p":   func(p *Proof, _ *token.Token, _ *[]byte) { p.NoncePBX = bytes.Repeat([]byte{3}, NonceLen) },
		"user":      func(p *Proof, _ *token.Token, _ *[]byte) { p.User = NewSecret("ccc-2") },
		"password":  func(p *Proof, _ *token.Token, _ *[]byte) { p.Password = NewSecret("pW") },
		"boundary":  func(p *Proof, _ *token.Token, _ *[]byte) { p.Offer, p.Serial = "o-10", "123456789" },
		"token":     func(_ *Proof, k *token.Token, _ *[]byte) { *k = token.New() },
		"no token":  func(_ *Proof, k *token.Token, b *[]byte) { *k = token.Token{}; *b = Prove(token.Token{}, base) },
		"the proof": func(_ *Proof, _ *token.Token, b *[]byte) { *b = bytes.Clone(*b); (*b)[31] ^= 1 },
		"its end":   func(_ *Proof, _ *token.Token, b *[]byte) { *b = (*b)[:31] },
		"nothing":   func(_ *Proof, _ *token.Token, b *[]byte) { *b = nil },
	} {
		p, k, b := base, tok, proof
		change(&p, &k, &b)
		if Proves(k, p, b) {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestShortCodeCoversEverything(t *testing.T) {
	t.Parallel()
	nonce := bytes.Repeat([]byte{1}, NonceLen)
	codes := map[string]bool{}
	for _, c := range []string{
		ShortCode("o-1", serial, "A GmbH", nonce),
		ShortCode("o-2", serial, "A GmbH", nonce),
		ShortCode("o-1", "0123456788", "A GmbH", nonce),
		ShortCode("o-1", serial, "B GmbH", nonce),
		ShortCode("o-1", serial, "A GmbH", bytes.Repeat([]byte{2}, NonceLen)),
	} {
		if len(c) != 7 || c[3] != ' ' {
			t.Errorf("code %q", c)
		}
		codes[c] = true
	}
	if len(codes) != 5 {
		t.Errorf("%d codes of 5 are different", len(codes))
	}
}

func TestDigestCoversTheCompletion(t *testing.T) {
	t.Parallel()
	base := sampleComplete()
	later := base
	later.Version++
	if later.Digest() != base.Digest() {
		t.Error("the version makes another completion")
	}
	for name, change := range map[string]func(*Complete){
		"offer":     func(c *Complete) { c.Offer = "o-2" },
		"nonce_pbx": func(c *Complete) { c.NoncePBX = bytes.Repeat([]byte{8}, NonceLen) },
		"proof":     func(c *Complete) { c.Proof = bytes.Repeat([]byte{8}, 32) },
		"user":      func(c *Complete) { c.User = NewSecret("ccc-2") },
	} {
		c := base
		change(&c)
		if c.Digest() == base.Digest() {
			t.Errorf("%s is not covered", name)
		}
	}
}
