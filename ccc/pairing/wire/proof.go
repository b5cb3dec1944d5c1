package wire

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Labels keep the uses of one secret apart. A new form gets a new number.
const (
	proofLabel  = "comtrexx pairing proof v1"
	codeLabel   = "comtrexx pairing short code v1"
	digestLabel = "comtrexx pairing completion v1"
)

// Proof is what the proof of a completion is made of.
type Proof struct {
	Offer    OfferID
	Serial   identity.Serial
	NonceCCC []byte // of the offer
	NoncePBX []byte // of the completion
	User     Secret
	Password Secret
}

// Prove is made by who knows the token:
//
//	HMAC-SHA256(key, transcript)
//	key        = HKDF-SHA256(secret = token as XXXX-XXXX-XXXX, salt = NonceCCC,
//	             info = "comtrexx pairing proof v1"), 32 bytes
//	transcript = Offer, Serial, NonceCCC, NoncePBX, User, SHA-256(Password),
//	             each after its length in bytes as 4 bytes, big-endian
func Prove(t token.Token, p Proof) []byte {
	key, err := hkdf.Key(sha256.New, []byte(t.Reveal()), p.NonceCCC, proofLabel, sha256.Size)
	if err != nil {
		panic(err) // only for a key of more than 255 hashes
	}
	password := sha256.Sum256([]byte(p.Password.Reveal()))
	mac := hmac.New(sha256.New, key)
	mac.Write(transcript(
		[]byte(p.Offer), []byte(p.Serial), p.NonceCCC, p.NoncePBX, []byte(p.User.Reveal()), password[:],
	))
	return mac.Sum(nil)
}

// Proves compares a proof with the right one, in constant time. No token proves
// nothing.
func Proves(t token.Token, p Proof, proof []byte) bool {
	return !t.IsZero() && hmac.Equal(Prove(t, p), proof)
}

// ShortCode is what both sides show, for people to compare: "123 456". It is the
// first 8 bytes, big-endian, modulo a million, of SHA-256 over the transcript of
// "comtrexx pairing short code v1", offer, serial, tenant and nonce (see [Prove]).
func ShortCode(offer OfferID, serial identity.Serial, tenant string, nonce []byte) string {
	sum := sha256.Sum256(transcript([]byte(codeLabel), []byte(offer), []byte(serial), []byte(tenant), nonce))
	n := binary.BigEndian.Uint64(sum[:8]) % 1_000_000
	return fmt.Sprintf("%03d %03d", n/1000, n%1000)
}

// Digest names this very completion. It covers all that the proof does, as it covers
// the proof; only Version, which may have risen, is left out.
func (c Complete) Digest() [sha256.Size]byte {
	return sha256.Sum256(transcript(
		[]byte(digestLabel), []byte(c.Offer), c.NoncePBX, []byte(c.User.Reveal()), c.Proof,
	))
}

// transcript puts parts together so that no two lists of parts give the same bytes.
func transcript(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}
