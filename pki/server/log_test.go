package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// log reads the log over the network.
func (p *pki) log(cfg *tls.Config) *audit.Client {
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	return &audit.Client{URL: p.url(), HTTP: &http.Client{Transport: transport, Timeout: patience}, Key: p.auth.Log().Key()}
}

func TestLogForEverybody(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{Log: server.LogConfig{CheckpointEvery: time.Nanosecond}})
	ctx, monitor := t.Context(), p.log(p.anonymous())
	kept, err := monitor.Since(ctx, audit.Checkpoint{})
	if err != nil || kept.Size != 1 { // the PKI's own certificate
		t.Fatalf("%+v, %v", kept, err)
	}
	for range 3 {
		p.enrolled(t, device)
		next, err := monitor.Since(ctx, kept)
		if err != nil || next.Size != kept.Size+2 {
			t.Fatalf("%d entries after %d, %v", next.Size, kept.Size, err)
		}
		kept = next
	}
	status, text, err := p.call(t, p.anonymous(), http.MethodGet, audit.TilePath+"0/000.p/7", "")
	if err != nil || status != http.StatusOK || len(text) != 7*32 {
		t.Errorf("tile: %d, %d bytes, %v", status, len(text), err)
	}
	for path, want := range map[string]int{
		audit.TilePath + "0/000.p/8":             http.StatusBadRequest, // there are seven
		audit.TilePath + "0/000":                 http.StatusBadRequest,
		audit.TilePath + "1/000.p/1":             http.StatusBadRequest,
		audit.TilePath + "data/000.p/7":          http.StatusBadRequest,
		audit.TilePath + "entries/000.p/7":       http.StatusBadRequest,
		audit.TilePath + "x":                     http.StatusBadRequest,
		audit.ConsistencyPath:                    http.StatusBadRequest,
		audit.ConsistencyPath + "?from=0&to=1":   http.StatusBadRequest,
		audit.ConsistencyPath + "?from=1&to=8":   http.StatusBadRequest,
		audit.ConsistencyPath + "?from=-1&to=7":  http.StatusBadRequest,
		audit.ConsistencyPath + "?from=1&to=7":   http.StatusOK,
		audit.EntriesPath:                        http.StatusForbidden,
		audit.EntriesPath + "?serial=0123456789": http.StatusForbidden,
	} {
		if status, text, err := p.call(t, p.anonymous(), http.MethodGet, path, ""); err != nil || status != want {
			t.Errorf("%s: %d %.200s %v, want %d", path, status, text, err, want)
		}
	}
}

func TestLogByIdentity(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{Log: server.LogConfig{
		Readers: []string{"ccc"}, MaxEntries: 2, CheckpointEvery: time.Nanosecond,
	}})
	ctx := t.Context()
	mine, foreign := p.enrolled(t, device), p.enrolled(t, other)
	reader, relayed := p.log(p.as(p.issued(t, service))), p.log(p.as(p.issued(t, relay)))

	owner := p.log(p.as(mine))
	page, entries, err := owner.Find(ctx, audit.Query{Identity: device.Path()})
	if err != nil || len(entries) != 2 || entries[1].Event != audit.EventIssue || page.More {
		t.Errorf("own entries: %+v, %v", entries, err)
	}
	if _, all, err := owner.Find(ctx, audit.Query{}); err != nil || len(all) != 2 || all[0] != entries[0] {
		t.Errorf("without asking for any: %+v, %v", all, err)
	}
	if status, text, err := p.call(t, p.as(mine), http.MethodGet, audit.EntriesPath+"?serial=0123456789&limit=1", ""); err != nil || status != http.StatusOK ||
		strings.Count(text, `"index"`) != 1 || !strings.Contains(text, `"more":true`) {
		t.Errorf("by serial: %d %s %v", status, text, err)
	}
	if proof, err := owner.Certificate(ctx, mine.Leaf()); err != nil || proof.Index != 2 {
		t.Errorf("own certificate: %+v, %v", proof, err)
	}
	if _, err := owner.Certificate(ctx, foreign.Leaf()); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("somebody else's certificate: %v", err)
	}
	silent := p.forge(t, identity.KindDevice, device, func(*x509.Certificate) {})
	if _, err := owner.Certificate(ctx, silent.Leaf()); !errors.Is(err, audit.ErrNotLogged) {
		t.Errorf("own certificate that the PKI hides: %v", err)
	}
	for _, id := range []string{other.Path(), service.Path()} {
		if _, _, err := owner.Find(ctx, audit.Query{Identity: id}); !errors.Is(err, enrol.ErrForbidden) {
			t.Errorf("a device reads about %s: %v", id, err)
		}
	}
	for _, id := range []string{"", relay.Path(), device.Path()} {
		if _, _, err := relayed.Find(ctx, audit.Query{Identity: id}); !errors.Is(err, enrol.ErrForbidden) {
			t.Errorf("a relay reads about %q: %v", id, err)
		}
	}

	// The reader goes through all of it.
	var seen []string
	q := audit.Query{Limit: 1000}
	for more := true; more; {
		page, entries, err := reader.Find(ctx, q)
		if err != nil || len(entries) > 2 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		for _, e := range entries {
			seen = append(seen, e.Identity)
			q.After = e.Seq
		}
		more = page.More
	}
	want := []string{"service/pki", device.Path(), device.Path(), other.Path(), other.Path(), service.Path(), relay.Path()}
	if !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
	if _, err := reader.Certificate(ctx, foreign.Leaf()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"?serial=1", "?identity=x", "?after=-1", "?after=x", "?limit=x"} {
		if status, text, err := p.call(t, p.as(mine), http.MethodGet, audit.EntriesPath+bad, ""); err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d %s %v", bad, status, text, err)
		}
	}

	if _, err := p.auth.Block(ctx, device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := owner.Find(ctx, audit.Query{}); !errors.Is(err, enrol.ErrBlocked) {
		t.Errorf("blocked: %v", err)
	}
	if _, entries, err := reader.Find(ctx, audit.Query{Identity: device.Path(), After: 3}); err != nil || len(entries) != 1 || entries[0].Reason != "stolen" {
		t.Errorf("the block: %+v, %v", entries, err)
	}
}

// A service is no reader unless the configuration says so.
func TestLogReadersAreNamed(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	if _, _, err := p.log(p.as(p.issued(t, service))).Find(t.Context(), audit.Query{}); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("%v", err)
	}
}

// The network cannot make the PKI sign more often than is configured; the
// administrator can.
func TestLogCheckpointEvery(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{Log: server.LogConfig{CheckpointEvery: time.Hour}})
	ctx, monitor, admin := t.Context(), p.log(p.anonymous()), p.admin.Log(p.auth.Log().Key())
	first, err := monitor.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.enrolled(t, device)
	if c, err := monitor.Checkpoint(ctx); err != nil || c != first {
		t.Errorf("%+v, want %+v, %v", c, first, err)
	}
	fresh, err := admin.Checkpoint(ctx)
	if err != nil || fresh.Size != first.Size+2 {
		t.Errorf("for the administrator: %+v, %v", fresh, err)
	}
	if c, err := monitor.Since(ctx, first); err != nil || c != fresh {
		t.Errorf("%+v, want %+v, %v", c, fresh, err)
	}
	if v, err := p.admin.VerifyAudit(ctx); err != nil || v.Checkpoint != fresh || v.Entries != uint64(fresh.Size) {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestLogRateLimit(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{Log: server.LogConfig{PerMinute: 3}})
	monitor := p.log(p.anonymous())
	for i := range 5 {
		_, err := monitor.Checkpoint(t.Context())
		if i < 3 && err != nil || i >= 3 && !errors.Is(err, enrol.ErrRateLimit) {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	for range 5 {
		if _, err := p.admin.Log(p.auth.Log().Key()).Checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.client().Enrol(t.Context(), p.token(t, device), device); err != nil {
		t.Errorf("enrolment has its own limit: %v", err)
	}
}

// A PKI that answers with what is not in its log.
func TestLogClientBelievesNothing(t *testing.T) {
	t.Parallel()
	honest := start(t, "", authority.Config{}, server.Config{})
	liar := start(t, "", authority.Config{}, server.Config{})
	c := liar.log(liar.anonymous())
	c.Key = honest.auth.Log().Key()
	if _, err := c.Checkpoint(t.Context()); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("signed with another key: %v", err)
	}
	admin := liar.admin.Log(honest.auth.Log().Key())
	if _, _, err := admin.Find(t.Context(), audit.Query{}); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("entries under another key: %v", err)
	}
}

func TestLogConfig(t *testing.T) {
	t.Parallel()
	for key, c := range map[string]server.LogConfig{
		"log.max_entries":      {MaxEntries: 1001},
		"log.checkpoint_every": {CheckpointEvery: -1},
		"log.readers[0]":       {Readers: []string{"Not a name"}},
	} {
		err := server.Config{Log: c}.Validate()
		if k, ok := errors.AsType[*configs.KeyError](err); !ok || k.Key != key {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := (server.Config{Log: server.LogConfig{MaxEntries: 1000, PerMinute: -1, Readers: []string{"ccc"}}}).Validate(); err != nil {
		t.Error(err)
	}
}
