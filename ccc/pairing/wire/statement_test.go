package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestStatementsComeBack(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	ccc, pbx := ca.Credentials(cccID), ca.Credentials(pbxID)
	o := sampleOffer(t)
	for _, tt := range []struct {
		name string
		by   *enrol.Credentials
		s    Statement
		into Receiver
	}{
		{"offer", ccc, o, &Offer{}},
		{"received", pbx, Received{Offer: o.ID, Serial: serial, At: at}, &Received{}},
		{"ack", ccc, Ack{Pairing: "p-1", Offer: o.ID, Serial: serial, Epoch: 3, At: at}, &Ack{}},
		{"tombstone of the CCC", ccc, Tombstone{"p-1", serial, 3, ReasonRemoved, SideCCC, at}, &Tombstone{}},
		{"remote", ccc, sampleRemote(), &Remote{}},
		{"tombstone of the PBX", pbx, Tombstone{"p-1", serial, 0, ReasonFactoryReset, SidePBX, at}, &Tombstone{}},
	} {
		jws, err := Sign(tt.by, tt.s)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if len(jws) > MaxStatement/2 {
			t.Errorf("%s has %d bytes, which leaves no room for another intermediate", tt.name, len(jws))
		}
		other := pbx
		if tt.by == pbx {
			other = ccc
		}
		if err := Verify(other, time.Now(), tt.by.ID(), jws, tt.into); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := reflect.ValueOf(tt.into).Elem().Interface()
		if o, ok := got.(Offer); ok {
			want := tt.s.(Offer)
			if o.Token.Reveal() != want.Token.Reveal() {
				t.Errorf("%s: another token", tt.name)
			}
			o.Token, want.Token = token.Token{}, token.Token{}
			got, tt.s = o, want
		}
		if !reflect.DeepEqual(got, tt.s) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.s)
		}
	}
}

// forge makes a JWS as a caller wants it: the attacker's tool of this file.
func forge(t *testing.T, key any, alg jose.SignatureAlgorithm, typ string, chain [][]byte, payload string) string {
	t.Helper()
	x5c := make([]string, len(chain))
	for i, der := range chain {
		x5c[i] = base64.StdEncoding.EncodeToString(der)
	}
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	if chain != nil {
		opts = opts.WithHeader("x5c", x5c)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	ca, foreign := newCA(t), newCA(t)
	ccc, pbx := ca.Credentials(cccID), ca.Credentials(pbxID)
	now := time.Now()
	const payload = `{"pairing":"p-1","offer":"o-1","serial":"0123456789","epoch":1,"at":"2026-03-01T12:00:00Z"}`
	ack := Ack{Pairing: "p-1", Offer: "o-1", Serial: serial, Epoch: 1, At: at}
	sign := func(c *enrol.Credentials) string {
		jws, err := Sign(c, ack)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	cert := ccc.Certificate()
	own := func(id identity.ID, o pkitest.Options) string {
		c := ca.Issue(id, o)
		return forge(t, c.PrivateKey, jose.ES256, string(kindAck), c.Certificate, payload)
	}
	good := sign(ccc)
	parts := strings.Split(good, ".")
	header := func(fields string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(fields)) + "." + parts[1] + "."
	}
	// The server's certificate is for other uses, from the same root.
	server, serverKey := ca.Server()
	flip := func(s string, i int) string {
		b := []byte(s)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return string(b)
	}

	for _, tt := range []struct {
		name, jws string
		now       time.Time
		ok        bool
	}{
		{"as it should be", good, now, true},
		{"forged with the right key", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, payload), now, true},
		{"by a device", sign(pbx), now, false},
		{"by another service", sign(ca.Credentials(identity.Service(td, "backup"))), now, false},
		{"by service/ccc of another root", sign(foreign.Credentials(cccID)), now, false},
		{"by service/ccc, minted by the devices' intermediate", own(cccID, pkitest.Options{Signer: identity.KindDevice}), now, false},
		{"by a server certificate", forge(t, serverKey, jose.ES256, string(kindAck), [][]byte{server.Raw}, payload), now, false},
		{"another kind", forge(t, cert.PrivateKey, jose.ES256, string(kindTombstone), cert.Certificate, payload), now, false},
		{"no kind", forge(t, cert.PrivateKey, jose.ES256, "", cert.Certificate, payload), now, false},
		{"no certificate", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), nil, payload), now, false},
		{"no intermediate", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate[:1], payload), now, false},
		{"key of another", forge(t, pkitest.NewKey(), jose.ES256, string(kindAck), cert.Certificate, payload), now, false},
		{"HMAC with the certificate as key", forge(t, cert.Certificate[0], jose.HS256, string(kindAck), cert.Certificate, payload), now, false},
		{"alg none", header(`{"alg":"none","typ":"ccc-ack+jws"}`), now, false},
		{"certificate expired", good, cert.Leaf.NotAfter.Add(time.Second), false},
		{"certificate not valid yet", good, cert.Leaf.NotBefore.Add(-time.Second), false},
		{"payload changed", parts[0] + "." + flip(parts[1], 20) + "." + parts[2], now, false},
		{"header changed", flip(parts[0], 30) + "." + parts[1] + "." + parts[2], now, false},
		{"signature changed", parts[0] + "." + parts[1] + "." + flip(parts[2], 20), now, false},
		{"too long", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, payload+strings.Repeat(" ", MaxStatement)), now, false},
		{"more after the value", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, payload+"{}"), now, false},
		{"not JSON", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, "hello"), now, false},
		{"a field is missing", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, "{}"), now, false},
		{"a field that nobody knows", forge(t, cert.PrivateKey, jose.ES256, string(kindAck), cert.Certificate, strings.Replace(payload, "{", `{"new":1,`, 1)), now, true},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, now, false},
		{"empty", "", now, false},
	} {
		var got Ack
		err := Verify(pbx, tt.now, cccID, tt.jws, &got)
		switch {
		case tt.ok && (err != nil || got != ack):
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		case !tt.ok && !errors.Is(err, ErrStatement):
			t.Errorf("%s: %v", tt.name, err)
		case !tt.ok && got != Ack{}:
			t.Errorf("%s: %+v beside the error", tt.name, got)
		}
	}
}

// TestVerifyAfterNewRoot: a statement by credentials below a newer root is good for
// who trusts the older one, where the chain carries the cross certificate.
func TestVerifyAfterNewRoot(t *testing.T) {
	t.Parallel()
	old := newCA(t)
	next := old.Successor()
	jws, err := Sign(next.Credentials(cccID), Ack{Pairing: "p-1", Offer: "o-1", Serial: serial, Epoch: 1, At: at})
	if err != nil {
		t.Fatal(err)
	}
	var got Ack
	if err := Verify(old.Credentials(pbxID), time.Now(), cccID, jws, &got); err != nil {
		t.Fatal(err)
	}
}

func TestSignChecks(t *testing.T) {
	t.Parallel()
	ccc := newCA(t).Credentials(cccID)
	change := func(f func(*Offer)) Offer { o := sampleOffer(t); f(&o); return o }
	remote := func(f func(*Remote)) Remote { r := sampleRemote(); f(&r); return r }
	ack := Ack{Pairing: "p-1", Offer: "o-1", Serial: serial, Epoch: 1, At: at}
	for want, s := range map[string]Statement{
		"offer: ":              change(func(o *Offer) { o.ID = "a b" }),
		"serial: ":             change(func(o *Offer) { o.Serial = "12" }),
		"tenant: ":             change(func(o *Offer) { o.Tenant = "Evil\u202eGmbH" }),
		"tenant_id: ":          change(func(o *Offer) { o.TenantID = "/" }),
		"token: ":              change(func(o *Offer) { o.Token = token.Token{} }),
		"nonce: ":              change(func(o *Offer) { o.Nonce = o.Nonce[1:] }),
		"issued_at: ":          change(func(o *Offer) { o.IssuedAt = time.Time{} }),
		"expires_at: ":         change(func(o *Offer) { o.ExpiresAt = time.Time{} }),
		"expires_in_seconds: ": change(func(o *Offer) { o.ExpiresIn = MaxLife + 1 }),
		"brand: ":              change(func(o *Offer) { o.Brand = "a b" }),
		"epoch: ":              Ack{Pairing: "p-1", Offer: "o-1", Serial: serial, At: at},
		"pairing: ":            Tombstone{Serial: serial, Reason: ReasonLost, By: SideCCC, At: at},
		"reason: ":             Tombstone{Pairing: "p-1", Serial: serial, Reason: "because", By: SideCCC, At: at},
		"by: ":                 Tombstone{Pairing: "p-1", Serial: serial, Reason: ReasonLost, At: at},
		"at: ":                 Received{Offer: "o-1", Serial: serial},
		"session: ":            remote(func(r *Remote) { r.Session = "a/b" }),
		"user: ":               remote(func(r *Remote) { r.User = "" }),
		"user: is":             remote(func(r *Remote) { r.User = "Zoë\u202e" }),
		"reason: is not a":     remote(func(r *Remote) { r.Reason = "two\nlines" }),
		"service: ":            remote(func(r *Remote) { r.Service = "telnet" }),
		"target: ":             remote(func(r *Remote) { r.Target = "127.0.0.1:22" }),
		"target: is":           remote(func(r *Remote) { r.Service = grant.Web }),
		"seconds: ":            remote(func(r *Remote) { r.Life = MaxRemote + time.Second }),
		"seconds: is":          remote(func(r *Remote) { r.ExpiresIn = 0 }),
	} {
		if _, err := Sign(ccc, s); !errors.Is(err, ErrStatement) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
	if _, err := Sign(ccc, ack); err != nil {
		t.Error(err)
	}
	if _, err := Sign(ccc, sampleOffer(t)); err != nil {
		t.Error(err)
	}
	if _, err := Sign(ccc, sampleRemote()); err != nil {
		t.Error(err)
	}
}

func TestOfferDecodeChecks(t *testing.T) {
	t.Parallel()
	good, err := sampleOffer(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	var o Offer
	if err := o.decode(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		field string
		value any
	}{
		{"token", "0123-4567-89A6"},
		{"token", 5},
		{"nonce", "AAAA"},
		{"nonce", "!"},
		{"expires_in_seconds", 0},
		{"expires_in_seconds", -5},
		{"expires_in_seconds", 86401},
		{"expires_in_seconds", int64(math.MaxInt64)},
		{"expires_in_seconds", 1.5},
		{"issued_at", "yesterday"},
		{"tenant", strings.Repeat("x", MaxName+1)},
		{"serial", nil},
	} {
		var fields map[string]any
		if err := json.Unmarshal(good, &fields); err != nil {
			t.Fatal(err)
		}
		fields[tt.field] = tt.value
		bad, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		o := Offer{}
		if err := o.decode(bad); err == nil || !reflect.DeepEqual(o, Offer{}) {
			t.Errorf("%s %v: %+v, %v", tt.field, tt.value, o, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	ca := newCA(f)
	ccc, pbx := ca.Credentials(cccID), ca.Credentials(pbxID)
	for _, s := range []Statement{
		sampleOffer(f),
		Ack{Pairing: "p-1", Offer: "o-1", Serial: serial, Epoch: 1, At: at},
		Tombstone{"p-1", serial, 1, ReasonRemoved, SideCCC, at},
	} {
		jws, err := Sign(ccc, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(jws)
	}
	f.Add("..")
	f.Fuzz(func(t *testing.T, jws string) {
		var a Ack
		var o Offer
		_ = Verify(pbx, time.Now(), cccID, jws, &a)
		if err := Verify(pbx, time.Now(), cccID, jws, &o); err == nil && o.Tenant != sampleOffer(t).Tenant {
			t.Fatal("a statement that was not signed")
		}
	})
}

// FuzzDecode feeds the parsers behind the signatures and the bodies.
func FuzzDecode(f *testing.F) {
	o, err := sampleOffer(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	c, err := json.Marshal(sampleComplete().reveal())
	if err != nil {
		f.Fatal(err)
	}
	r, err := sampleRemote().encode()
	if err != nil {
		f.Fatal(err)
	}
	report, err := json.Marshal(sampleReport())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{
		r, report, o, c, []byte(`{"offer":"o-1","serial":"0123456789","at":"2026-03-01T12:00:00Z"}`),
		[]byte(`{"pairing":"p-1","serial":"0123456789","epoch":1,"reason":"lost","by":"pbx","at":"2026-03-01T12:00:00Z"}`),
		[]byte(`{"pairing":"","epoch":0,"version":1,"offers":["o-1"],"tombstones":["x"]}`), []byte(`{"offer":"o-1","reason":"tries"}`),
		[]byte(`null`), []byte(`{`),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var o Offer
		if o.decode(data) == nil {
			again, err := o.encode()
			var o2 Offer
			if err != nil || o2.decode(again) != nil || o2.Token.Reveal() != o.Token.Reveal() || !bytes.Equal(o2.Nonce, o.Nonce) {
				t.Fatalf("an offer that was read cannot be written: %v", err)
			}
		}
		again(t, data, &Received{})
		again(t, data, &Ack{})
		again(t, data, &Tombstone{})
		again(t, data, &Remote{})
		var (
			c Complete
			d Declined
			s Sync
			r SyncReply
			a RemoteReport
			e RemoteEnd
		)
		_, _, _, _, _, _ = read(data, &c), read(data, &d), read(data, &s), read(data, &r), read(data, &a), read(data, &e)
	})
}

// again reads, writes and reads.
func again(t *testing.T, data []byte, into interface {
	Receiver
	Statement
},
) {
	if into.decode(data) != nil {
		return
	}
	text, err := into.encode()
	if err != nil {
		t.Fatalf("%T was read and cannot be written: %v", into, err)
	}
	if err := into.decode(text); err != nil {
		t.Fatalf("%T was written and cannot be read: %v", into, err)
	}
}
