package server_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// nextRoot makes another root, puts it into the bundle, and installs intermediates
// below it.
func (p *pki) nextRoot(t *testing.T) *x509.Certificate {
	t.Helper()
	first := authority.Config{StateDir: p.dir, PlainKeys: true}
	second := authority.Config{StateDir: filepath.Join(t.TempDir(), "root"), PlainKeys: true}
	root, err := authority.MakeRoot(second, "two")
	if err != nil {
		t.Fatal(err)
	}
	cross, err := authority.CrossSign(first, root, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.admin.AddRoot(t.Context(), enrol.EncodeCertificates(root), enrol.EncodeCertificates(cross)); err != nil {
		t.Fatal(err)
	}
	requests, err := authority.RequestIntermediates(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		cert, err := authority.SignRequest(second, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := authority.Install(first, cert); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return root
}

// get asks for a path with headers and gives the answer's status and headers.
func (p *pki) get(t *testing.T, path string, header http.Header) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	transport := &http.Transport{TLSClientConfig: p.anonymous(), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

func TestBundleIsServed(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	for _, path := range []string{enrol.BundlePath, enrol.RootsPath} {
		status, header := p.get(t, path, nil)
		version := strconv.FormatUint(p.auth.Bundle().Version, 10)
		if status != http.StatusOK || header.Get("ETag") != `"`+version+`"` || header.Get(enrol.BundleHeader) != version {
			t.Errorf("%s: %d, %v", path, status, header)
		}
		if status, _ := p.get(t, path, http.Header{"If-None-Match": {header.Get("ETag")}}); status != http.StatusNotModified {
			t.Errorf("%s with the present version: %d", path, status)
		}
		if status, _ := p.get(t, path, http.Header{"If-None-Match": {`"1"`}}); status != http.StatusOK {
			t.Errorf("%s with an older version: %d", path, status)
		}
	}
	before := p.anonymous()
	p.nextRoot(t)
	status, body, err := p.call(t, before, http.MethodGet, enrol.BundlePath, "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	b, err := enrol.ParseBundle([]byte(body))
	if err != nil || len(b.Roots) != 2 || b.Version != p.auth.Bundle().Version {
		t.Errorf("%+v, %v", b, err)
	}
	_, body, err = p.call(t, before, http.MethodGet, enrol.RootsPath, "")
	if n := strings.Count(body, "BEGIN CERTIFICATE"); err != nil || n != 2 {
		t.Errorf("%d roots as PEM, %v", n, err)
	}
}

// Endpoints report what they have at renewal, at confirmation, and when they ask.
func TestBundleReports(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	ctx, client := t.Context(), p.client()
	c := p.enrolled(t, device)
	reported := func() uint64 {
		t.Helper()
		r, err := p.admin.Rollout(ctx, "", 10)
		if err != nil || len(r.Kinds) != 1 || r.Kinds[0].Endpoints != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if len(r.Stragglers) == 1 {
			return r.Stragglers[0].Version
		}
		return r.Version
	}
	first := c.BundleVersion()
	if first != p.auth.Bundle().Version || reported() != 0 {
		t.Fatalf("enrolled with version %d, reported %d", first, reported())
	}
	if changed, err := client.Bundle(ctx, c); changed || err != nil || reported() != first {
		t.Errorf("asked: %v, %v, reported %d", changed, err, reported())
	}
	root := p.nextRoot(t)
	if got := reported(); got != first {
		t.Errorf("after the change: %d", got)
	}
	next, err := client.Renew(ctx, c)
	if err != nil || next.BundleVersion() != p.auth.Bundle().Version || len(next.Roots()) != 2 {
		t.Fatalf("renewed with version %d and %d roots, %v", next.BundleVersion(), len(next.Roots()), err)
	}
	if got := reported(); got != first { // the old certificate has the old bundle
		t.Errorf("at the renewal: %d", got)
	}
	if err := client.Confirm(ctx, next); err != nil || reported() != p.auth.Bundle().Version {
		t.Errorf("confirmed: %v, reported %d", err, reported())
	}
	if r, err := p.admin.Rollout(ctx, enrol.Fingerprint(root), 10); err != nil || r.Kinds[0].Percent != 100 {
		t.Errorf("rollout of the root: %+v, %v", r, err)
	}
	if _, err := p.admin.Rollout(ctx, "0123456789", 10); !errors.Is(err, enrol.ErrBadRequest) {
		t.Errorf("rollout of an unknown root: %v", err)
	}
}

// A relay follows the block list over one connection while intermediates and root
// change, and devices with the old bundle enrol, renew and fetch the new one.
func TestRotationUnderLiveConnections(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	ctx, client := t.Context(), p.client() // trusts the first root only
	pinned := &enrol.Client{URL: p.url(), TrustDomain: td, RootFingerprint: enrol.Fingerprint(p.auth.Roots()[0]), Timeout: patience}
	old := p.enrolled(t, device)
	lists, errs, _ := p.follow(t, p.issued(t, relay), "")
	blocked := false
	delivers := func(step string) {
		t.Helper()
		blocked = !blocked
		change := p.auth.Unblock
		if blocked {
			change = p.auth.Block
		}
		if _, err := change(ctx, other, step, "test"); err != nil {
			t.Fatal(err)
		}
		await(t, lists, func(l blocks.List) bool { return l.Blocked(other) == blocked })
		select {
		case err := <-errs:
			t.Errorf("%s: the feed broke: %v", step, err)
		default:
		}
	}
	delivers("at the start")

	if _, _, err := authority.RenewIntermediates(authority.Config{StateDir: p.dir, PlainKeys: true}); err != nil {
		t.Fatal(err)
	}
	trust, err := p.admin.Reload(ctx)
	if err != nil || len(trust.Issuers) != 8 || trust.Issuers[0].Generation != 2 || !trust.Issuers[0].Active {
		t.Fatalf("%+v, %v", trust.Issuers, err)
	}
	delivers("new intermediates")
	next, err := client.Renew(ctx, old)
	if err != nil || string(next.Leaf().AuthorityKeyId) == string(old.Leaf().AuthorityKeyId) {
		t.Fatalf("renewed: %v", err)
	}

	first := p.auth.Roots()[0]
	root := p.nextRoot(t)
	if _, err := p.admin.ActivateRoot(ctx, enrol.Fingerprint(root), true); err != nil {
		t.Fatal(err)
	}
	delivers("new root")
	p.awaitOwn(t, root)
	if _, err := client.Renew(ctx, old); err != nil {
		t.Errorf("a device with the old bundle and an old certificate: %v", err)
	}
	if c := p.enrolled(t, device); len(c.Roots()) != 2 || !c.Roots()[0].Equal(root) {
		t.Errorf("enrolled with %d roots", len(c.Roots()))
	}
	if _, err := p.admin.RetireRoot(ctx, enrol.Fingerprint(first), true); err != nil {
		t.Fatal(err)
	}
	delivers("old root retired")
	// A box that was made when there was the first root only.
	c, err := pinned.Enrol(ctx, p.token(t, device), device)
	if err != nil || len(c.Roots()) != 1 || !c.Roots()[0].Equal(root) {
		t.Fatalf("enrolled by the fingerprint of the retired root: %v", err)
	}
	if _, err := client.Renew(ctx, old); err == nil {
		t.Error("a certificate below the retired root renews")
	}
}

// awaitOwn waits until the server's own certificate is one below the root.
func (p *pki) awaitOwn(t *testing.T, root *x509.Certificate) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(root)
	cfg := p.anonymous()
	cfg.RootCAs = pool
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		_, _, err := p.call(t, cfg, http.MethodGet, "/healthz", "")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server's own certificate is an old one: %v", err)
		}
	}
}

// RunRenewal takes over a new root by itself.
func TestRunRenewalFollowsTheBundle(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	c, dir := p.enrolled(t, device), t.TempDir()
	if err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	changed := c.Changed()
	go func() {
		done <- p.client().RunRenewal(ctx, c, dir, enrol.Renewal{BundleEvery: 50 * time.Millisecond, RetryMax: 50 * time.Millisecond})
	}()
	p.nextRoot(t)
	want := p.auth.Bundle().Version
	for c.BundleVersion() < want {
		select {
		case <-changed:
			changed = c.Changed()
		case <-time.After(patience):
			t.Fatalf("version %d, want %d", c.BundleVersion(), want)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		saved, err := enrol.LoadCredentials(dir)
		if err != nil {
			t.Fatal(err)
		}
		if saved.BundleVersion() == want && len(saved.Roots()) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("saved version %d, want %d", saved.BundleVersion(), want)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAdminRefusesBadRoots(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	pem := enrol.EncodeCertificates(p.auth.Roots()[0])
	for name, c := range map[string]struct{ root, cross []byte }{
		"nothing":       {},
		"not PEM":       {root: []byte("x")},
		"two":           {root: append(pem, pem...)},
		"a bad cross":   {root: pem, cross: []byte("x")},
		"one too often": {root: pem},
	} {
		if _, err := p.admin.AddRoot(t.Context(), c.root, c.cross); !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if trust, err := p.admin.Trust(t.Context()); err != nil || len(trust.Bundle.Roots) != 1 || len(trust.Issuers) != 4 {
		t.Errorf("%+v, %v", trust, err)
	}
}

// An intermediate that ends before its certificates should is told of.
func TestShortIntermediateIsAMetric(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	start(t, "", authority.Config{Lifetimes: authority.Lifetimes{Device: 6 * 365 * 24 * time.Hour}}, server.Config{Metrics: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	device, relay := identity.KindDevice.String(), identity.KindRelay.String()
	if got["pki_intermediate_short "+device] != 1 || got["pki_intermediate_short "+relay] != 0 {
		t.Errorf("short: %v", got)
	}
	if left := got["pki_intermediate_remaining_seconds "+relay]; left <= 0 || got["pki_bundle_version"] == 0 || got["pki_root_remaining_seconds"] <= left {
		t.Errorf("%v", got)
	}
}
