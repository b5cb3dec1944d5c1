package pairing

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pbx is a PBX in the form of its messages: it does by itself what the protocol says,
// and hook makes it do anything else.
type pbx struct {
	site   *site
	serial identity.Serial
	creds  *enrol.Credentials
	ccc    wire.CCC
	lines  map[string]*listener // by service

	mu      sync.Mutex // guards what follows
	offline bool
	// hook sees every request first; it may answer it, and says whether it did.
	hook       func(w http.ResponseWriter, r *http.Request) bool
	seen       []string // paths of the requests
	offers     map[wire.OfferID]wire.Offer
	version    int64
	pairing    wire.PairingID
	epoch      uint64
	user       wire.Secret
	password   wire.Secret
	enabled    bool
	pending    *wire.Complete // sent, without an answer
	tombstones []wire.Tombstone
}

// newPBX connects a PBX to the site.
func (s *site) newPBX(serial identity.Serial) *pbx {
	s.t.Helper()
	id := identity.Device(td, serial)
	p := &pbx{
		site: s, serial: serial, creds: s.ca.Credentials(id), ccc: s.as(id),
		lines:  map[string]*listener{wire.Service: newListener(), pbxweb.Service: newListener()},
		offers: map[wire.OfferID]wire.Offer{}, version: time.Now().UnixMilli(),
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+wire.PathOffer, wire.Handle(0, p.offer))
	mux.Handle("POST "+wire.PathWithdraw, wire.Handle(0, p.withdraw))
	mux.Handle("POST "+wire.PathDissolve, wire.Handle(0, p.dissolve))
	s.serve(s.t, p.lines[wire.Service], p.hooked(mux))
	web := http.NewServeMux()
	web.HandleFunc("POST /api/v1/login", p.login)
	web.HandleFunc("GET /api/v1/system", p.system)
	s.serve(s.t, p.lines[pbxweb.Service], p.hooked(web))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pbxs[serial] = p
	return p
}

func (p *pbx) hooked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.URL.Path)
		hook := p.hook
		p.mu.Unlock()
		if hook == nil || !hook(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// set changes the PBX.
func (p *pbx) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// requests gives the paths of the requests since the last call.
func (p *pbx) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// connect and disconnect the tunnel. Connecting syncs.
func (p *pbx) connect() error {
	p.set(func() { p.offline = false })
	err := p.sync()
	p.site.CameOnline(p.serial)
	p.site.deliver()
	return err
}

func (p *pbx) disconnect() { p.set(func() { p.offline = true }) }

func (p *pbx) dial(ctx context.Context, service string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ln := p.lines[service]
	if p.offline || ln == nil {
		return nil, errOffline
	}
	return ln.connect(ctx, identity.Service(td, "ccc"))
}

// offer keeps an offer.
func (p *pbx) offer(_ context.Context, b wire.OfferBody) (wire.ReceivedBody, error) {
	var o wire.Offer
	if err := wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), b.Offer, &o); err != nil {
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeBadSignature, err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case o.Serial != p.serial:
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeNotForUs, "")
	case p.pairing != "":
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeAlreadyPaired, "")
	case len(p.offers) >= 3:
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeTooManyOffers, "")
	}
	p.offers[o.ID] = o
	signed, err := wire.Sign(p.creds, wire.Received{Offer: o.ID, Serial: p.serial, At: time.Now()})
	return wire.ReceivedBody{Received: signed}, err
}

func (p *pbx) withdraw(_ context.Context, w wire.Withdraw) (wire.Empty, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.offers, w.Offer)
	return wire.Empty{}, nil
}

// dissolve ends the pairing that the tombstone names, if it is the present one.
func (p *pbx) dissolve(_ context.Context, b wire.TombstoneBody) (wire.TombstoneBody, error) {
	var t wire.Tombstone
	if err := wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), b.Tombstone, &t); err != nil {
		return wire.TombstoneBody{}, wire.NewProblem(wire.CodeBadSignature, err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.Pairing == p.pairing {
		p.forget()
	}
	signed, err := wire.Sign(p.creds, wire.Tombstone{
		Pairing: t.Pairing, Serial: p.serial, Epoch: t.Epoch, Reason: t.Reason, By: wire.SidePBX, At: time.Now(),
	})
	return wire.TombstoneBody{Tombstone: signed}, err
}

// forget, with mu held, deletes pairing, user and offers.
func (p *pbx) forget() {
	p.pairing, p.epoch, p.user, p.password, p.enabled, p.pending = "", 0, wire.Secret{}, wire.Secret{}, false, nil
	clear(p.offers)
	p.bump()
}

func (p *pbx) bump() { p.version = max(p.version+1, time.Now().UnixMilli()) }

// errToken: the token is of none of the offers.
var errToken = errors.New("wrong token")

// typed is what happens when the administrator types the token.
func (p *pbx) typed(tok token.Token) error {
	c, err := p.completion(tok)
	if err != nil {
		return err
	}
	p.set(func() { p.pending, p.user, p.password = &c, c.User, c.Password })
	return p.send()
}

// completion makes the message for the offer with this token.
func (p *pbx) completion(tok token.Token) (wire.Complete, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.offers {
		if o.Token.Reveal() == tok.Reveal() {
			p.bump()
			return p.complete(o, tok), nil
		}
	}
	return wire.Complete{}, errToken
}

// complete makes the message for an offer, whatever the token.
func (p *pbx) complete(o wire.Offer, tok token.Token) wire.Complete {
	random := func(n int) []byte { b := make([]byte, n); rand.Read(b); return b }
	c := wire.Complete{
		Offer: o.ID, NoncePBX: random(wire.NonceLen), Version: p.version,
		User: wire.NewSecret("ccc-" + hex.EncodeToString(random(4))), Password: wire.NewSecret(hex.EncodeToString(random(20))),
	}
	c.Proof = wire.Prove(tok, wire.Proof{
		Offer: o.ID, Serial: p.serial, NonceCCC: o.Nonce, NoncePBX: c.NoncePBX, User: c.User, Password: c.Password,
	})
	return c
}

// send sends the completion that has no answer yet.
func (p *pbx) send() error {
	p.mu.Lock()
	c := p.pending
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	jws, err := p.ccc.Complete(p.site.t.Context(), *c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !wire.Temporary(err) {
			delete(p.offers, c.Offer)
			p.pending, p.user, p.password = nil, wire.Secret{}, wire.Secret{}
		}
		return err
	}
	return p.acked(*c, jws)
}

// acked, with mu held, takes the answer.
func (p *pbx) acked(c wire.Complete, jws string) error {
	var ack wire.Ack
	if err := wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), jws, &ack); err != nil {
		return err
	}
	if ack.Offer != c.Offer || ack.Serial != p.serial {
		return errors.New("the answer to another completion")
	}
	p.pairing, p.epoch, p.enabled, p.pending = ack.Pairing, ack.Epoch, true, nil
	clear(p.offers)
	p.bump()
	return nil
}

// giveUp is what the PBX does after 10 minutes without an answer.
func (p *pbx) giveUp() {
	p.set(func() {
		if p.pending != nil {
			p.forget()
		}
	})
}

// switchOff dissolves here, and tells the control centre when that can be reached.
func (p *pbx) switchOff(why wire.Reason) {
	p.set(func() {
		if p.pairing != "" {
			p.tombstones = append(p.tombstones, wire.Tombstone{Pairing: p.pairing, Serial: p.serial, Epoch: p.epoch, Reason: why, By: wire.SidePBX, At: time.Now()})
		}
		p.forget()
	})
}

// sync tells what there is, and does what the answer says.
func (p *pbx) sync() error {
	p.mu.Lock()
	m := wire.Sync{Pairing: p.pairing, Epoch: p.epoch, Version: p.version}
	for id := range p.offers {
		m.Offers = append(m.Offers, id)
	}
	for _, t := range p.tombstones[:min(len(p.tombstones), wire.MaxTombstones)] {
		signed, err := wire.Sign(p.creds, t)
		if err != nil {
			p.mu.Unlock()
			return err
		}
		m.Tombstones = append(m.Tombstones, signed)
	}
	p.mu.Unlock()
	reply, err := p.ccc.Sync(p.site.t.Context(), m)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range reply.Acks {
		p.tombstones = slices.DeleteFunc(p.tombstones, func(t wire.Tombstone) bool { return t.Pairing == a.Pairing })
	}
	for _, id := range reply.OffersVoid {
		delete(p.offers, id)
	}
	if reply.Tombstone == "" {
		return nil
	}
	var t wire.Tombstone
	if err := wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), reply.Tombstone, &t); err != nil {
		return err
	}
	if t.Pairing == p.pairing {
		p.tombstones = append(p.tombstones, wire.Tombstone{Pairing: t.Pairing, Serial: p.serial, Epoch: t.Epoch, Reason: t.Reason, By: wire.SidePBX, At: time.Now()})
		p.forget()
	}
	return nil
}

// settle syncs until there is nothing left to say.
func (p *pbx) settle() error {
	for range 5 {
		if err := p.sync(); err != nil {
			return err
		}
		p.site.deliver()
	}
	return nil
}

const session = "s-1"

func (p *pbx) login(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	p.mu.Lock()
	ok := p.enabled && user == p.user.Reveal() && password == p.password.Reveal()
	p.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: pbxweb.Cookie, Value: session, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}

func (p *pbx) system(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(pbxweb.Cookie); err != nil || c.Value != session {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"serial": p.serial, "model": "COMtrexx VM"})
}
