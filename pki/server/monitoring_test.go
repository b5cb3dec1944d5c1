package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

const monitoring = "../monitoring"

// figures gathers the metrics of a registry by name, with the sum of their values.
func figures(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// Every metric that the alerts and the dashboard name is one that the server has,
// after a request of each sort.
func TestMonitoringNamesMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	p := withThirdParty(t, server.Config{Metrics: registry})
	p.enrolled(t, device)
	if err := p.revocation.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.fetch(t, "/ocsp/AAAA")
	have := figures(t, registry)
	for _, name := range []string{"alerts.yaml", "alerts_test.yaml", "dashboard.json"} {
		text, err := os.ReadFile(filepath.Join(monitoring, name))
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bpki_[a-z_]+`).FindAllString(string(text), -1)
		slices.Sort(named)
		if named = slices.Compact(named); len(named) < 5 {
			t.Errorf("%s names %q", name, named)
		}
		for _, metric := range named {
			if _, ok := have[metric]; !ok {
				t.Errorf("%s: there is no metric %s", name, metric)
			}
		}
	}
	// The figures are alive.
	const day = 24 * time.Hour
	own := time.Unix(int64(have["pki_own_certificate_expiry_timestamp_seconds"]), 0)
	if left := time.Until(own); left < 29*day || left > 31*day {
		t.Errorf("the own certificate expires at %s", own)
	}
	if age := have["pki_crl_age_seconds"]; age < 0 || age > 3*patience.Seconds() {
		t.Errorf("age of the lists: %f s", age)
	}
	if left := have["pki_root_remaining_seconds"]; left < 19*365*day.Seconds() {
		t.Errorf("the root has %f s", left)
	}
	if have["pki_ocsp_responses_total"] != 1 || have["pki_requests_total"] == 0 {
		t.Errorf("%v", have)
	}
}

// Entries of the audit log are counted after the start.
func TestAuditEventsAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	p := start(t, "", authority.Config{}, server.Config{Metrics: registry})
	p.enrolled(t, device) // a token and a certificate
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for figures(t, registry)["pki_audit_events_total"] < 2 {
		if time.Now().After(deadline) {
			t.Fatal("the events do not appear")
		}
		<-tick.C
	}
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("no promtool: ", err)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "promtool", args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	// Each alert has a test.
	rules, err := os.ReadFile(filepath.Join(monitoring, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(monitoring, "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !regexp.MustCompile(`- name: ` + m[1] + `\b`).Match(tests) {
			t.Errorf("no test for the alert %s", m[1])
		}
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
	}
	if dashboard.Title == "" || len(ids) < 8 {
		t.Errorf("%q with %d panels", dashboard.Title, len(ids))
	}
}

// The admin API's answers about what expires and how a certificate stands.
func TestAdminExpiry(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	c := p.enrolled(t, device)
	f, err := p.admin.Forecast(t.Context(), 24*time.Hour, 31)
	if err != nil || len(f.Periods) != 31 || f.Periods[29].Kinds["device"].Open != 1 || len(f.Authorities) != 5 {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := p.admin.Forecast(t.Context(), time.Second, 1); !errors.Is(err, enrol.ErrBadRequest) {
		t.Error(err)
	}
	serial := c.Leaf().SerialNumber.Text(16)
	if s, err := p.admin.Standing(t.Context(), serial); err != nil || s.Certificate == nil || s.Certificate.State != authority.StateActive ||
		s.Block != nil || s.Confirmed != 1 || len(s.Issuers) != 4 || !s.Issuers[0].Newest {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := p.auth.Block(t.Context(), device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if s, err := p.admin.Standing(t.Context(), serial); err != nil || s.Block == nil || s.Block.Reason != "stolen" || s.Certificate.State != authority.StateBlocked {
		t.Errorf("blocked: %+v, %v", s, err)
	}
	if s, err := p.admin.Standing(t.Context(), "4711"); err != nil || s.Certificate != nil || s.Time.IsZero() {
		t.Errorf("not issued: %+v, %v", s, err)
	}
}
