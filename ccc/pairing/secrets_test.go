package pairing

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// forms gives the ways in which a text could be written somewhere.
func forms(secret string) []string {
	var wide []byte
	for _, u := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	all := []string{
		secret, strings.ReplaceAll(secret, "-", ""), strings.ToLower(secret), hex.EncodeToString([]byte(secret)),
		strings.ToUpper(hex.EncodeToString([]byte(secret))), url.QueryEscape(secret), string(wide),
	}
	quoted, _ := json.Marshal(secret)
	all = append(all, strings.Trim(string(quoted), `"`))
	for skip := range 3 { // base64 at each offset
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), secret...))
		all = append(all, text[(skip*8+5)/6:len(text)-2])
	}
	return all
}

// find gives the places that hold a secret in some form.
func find(places map[string]string, secrets map[string]string) (found []string) {
	for _, place := range slices.Sorted(maps.Keys(places)) {
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			for i, form := range forms(secrets[name]) {
				if strings.Contains(places[place], form) {
					found = append(found, fmt.Sprintf("%s in %s, form %d", name, place, i))
					break
				}
			}
		}
	}
	return found
}

// story lets a site do nearly everything, and gives the secrets of it.
func story(s *site) map[string]string {
	s.t.Helper()
	secrets := map[string]string{}
	keep := func(name string, c wire.Complete, tok token.Token) {
		secrets[name+"'s user"], secrets[name+"'s password"], secrets[name+"'s token"] = c.User.Reveal(), c.Password.Reveal(), tok.Reveal()
	}
	p := s.newPBX(serial)
	sys, offer := s.save(s.a, serial)
	s.deliver()
	there := p.offers[wire.OfferID(offer.Offer)]
	wrong := token.New()
	c := p.complete(there, wrong)
	keep("a wrong try", c, wrong)
	if _, err := p.ccc.Complete(s.t.Context(), c); wire.CodeOf(err) != wire.CodeRefused {
		s.t.Fatal(err)
	}
	if _, err := s.View(s.t.Context(), s.a, sys.ID); err != nil {
		s.t.Fatal(err)
	}
	c, err := p.completion(offer.Token)
	if err != nil {
		s.t.Fatal(err)
	}
	keep("the pairing", c, offer.Token)
	p.set(func() { p.pending, p.user, p.password = &c, c.User, c.Password })
	s.faults.set(1, faultRollback) // an error that goes to the log
	if err := p.send(); wire.CodeOf(err) != wire.CodeInternal {
		s.t.Fatal(err)
	}
	if err := p.send(); err != nil {
		s.t.Fatal(err)
	}
	s.deliver()
	if got := s.system(s.a, sys.ID).State; got != store.StatePaired {
		s.t.Fatalf("the system is %s", got)
	}
	return secrets
}

// TestDatabaseHoldsNoSecrets looks into the raw files of the database: while the PBX is
// paired there is nothing to read, and afterwards not even what was sealed.
func TestDatabaseHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(other)
	_, open := s.save(s.a, other)
	sealedToken := read(s, func(tx *store.Tx) (store.Offer, error) { return tx.Offer(open.Offer) }).TokenSealed
	s.deliver()
	if err := p.typed(open.Token); err != nil {
		t.Fatal(err)
	}
	secrets := story(s)
	secrets["an open token"] = open.Token.Reveal()
	pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
	sealed := map[string][]byte{"token": sealedToken, "user": pair.UserSealed, "password": pair.PasswordSealed}

	if got := find(s.files(), secrets); len(got) > 0 {
		t.Errorf("while it is paired: %v", got)
	}
	inFiles := func() (found []string) {
		for _, content := range s.files() {
			for name, b := range sealed {
				if strings.Contains(content, string(b)) {
					found = append(found, name)
				}
			}
		}
		return found
	}
	if got := inFiles(); !slices.Contains(got, "user") || !slices.Contains(got, "password") {
		t.Fatalf("positive control: of the sealed secrets only %v are in the files", got)
	}
	note := secrets["the pairing's password"] + " " + secrets["the pairing's token"]
	if _, err := s.Update(t.Context(), s.a, pair.System, 0, store.Fields{Note: &note}); err != nil {
		t.Fatal(err)
	}
	if got := find(s.files(), secrets); len(got) < 2 {
		t.Fatalf("positive control: only %v are found", got)
	}
	if err := s.Remove(t.Context(), s.a, pair.System); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if err := s.cfg.Store.Close(); err != nil { // puts its log into the file
		t.Fatal(err)
	}
	if got := find(s.files(), secrets); len(got) > 0 {
		t.Errorf("after it was removed: %v", got)
	}
	if got := inFiles(); len(got) > 0 {
		t.Errorf("after it was removed, what was sealed is still there: %v", got)
	}
}

// TestNothingTellsSecrets looks at logs, metrics, events and changes.
func TestNothingTellsSecrets(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := newSite(t, func(s *site) { s.cfg.Metrics = reg })
	secrets := story(s)
	// Calls that fail, so that their errors are logged.
	p := s.newPBX(other)
	_, offer := s.save(s.a, other)
	secrets["another token"] = offer.Token.Reveal()
	p.disconnect()
	s.deliver()
	p.disconnect()
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
	broken := pair
	broken.PasswordSealed = slices.Clone(pair.PasswordSealed)
	broken.PasswordSealed[len(broken.PasswordSealed)-1] ^= 1
	if s.prove(t.Context(), broken); s.login(t.Context(), broken) == nil {
		t.Fatal("a broken record opens")
	}

	families, err := reg.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err)
	}
	var metrics bytes.Buffer
	for _, f := range families {
		metrics.WriteString(f.String())
	}
	places := map[string]string{
		"log": s.logs.String(), "metrics": metrics.String(), "events": only(s.dump(), "events"), "changes": fmt.Sprintf("%+v", s.changes),
	}
	for place, text := range places {
		if len(text) < 100 {
			t.Errorf("positive control: %s has nearly nothing: %s", place, text)
		}
	}
	if !strings.Contains(places["log"], `"completion"`) || !strings.Contains(places["log"], "not brought to PBX") {
		t.Error("positive control: the log does not tell the story")
	}
	if got := find(places, secrets); len(got) > 0 {
		t.Error(got)
	}
	for name, secret := range secrets {
		s.cfg.Logger.Info("a careless line", "secret", secret)
		if got := find(map[string]string{"log": s.logs.String()}, map[string]string{name: secret}); len(got) != 1 {
			t.Errorf("positive control: %s is not found", name)
		}
	}
	// Labels have few values, and none that grow with the number of PBXs.
	for _, f := range families {
		if n := len(f.GetMetric()); n > 20 || strings.Contains(f.String(), string(serial)) {
			t.Errorf("%s has %d series, or names a PBX", f.GetName(), n)
		}
	}
}

// TestReseal takes the secrets of pairings to a new key, after which the old one is not
// needed.
func TestReseal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, _ := s.pair(s.a, serial)
	fresh := seal.NewKey()
	rekey := func(texts ...string) {
		keys, err := seal.New(texts...)
		if err != nil {
			t.Fatal(err)
		}
		s.cfg.Keys = keys
		s.open()
	}
	login := func() error {
		return s.login(t.Context(), read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) }))
	}
	rekey(fresh)
	if err := login(); !errors.Is(err, seal.ErrKey) {
		t.Errorf("positive control: %v", err)
	}
	if _, err := s.start(t.Context()); err != nil || !strings.Contains(s.logs.String(), "secrets of a pairing do not open") {
		t.Errorf("without the old key: %v", err)
	}
	rekey(fresh, s.key)
	for range 2 {
		if _, err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rekey(fresh)
	if err := login(); err != nil || p.pairing == "" {
		t.Error(err)
	}
}
