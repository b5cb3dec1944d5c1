package server

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const monitoring = "../monitoring"

// Every metric that the alerts name is one that the server has from its start.
func TestMonitoringNamesMetrics(t *testing.T) {
	t.Parallel()
	c, _ := testConfig(t, t.TempDir())
	registry := prometheus.NewRegistry()
	c.Logger, c.Metrics = hclog.NewNullLogger(), registry
	s, _, err := New(t.Context(), c)
	must(t, err)
	gather := func() map[string]float64 {
		families, err := registry.Gather()
		must(t, err)
		have := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				have[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		return have
	}
	have := gather()
	for _, name := range []string{"alerts.yaml", "alerts_test.yaml"} {
		text, err := os.ReadFile(filepath.Join(monitoring, name))
		must(t, err)
		named := regexp.MustCompile(`\bccc_[a-z_]+`).FindAllString(string(text), -1)
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
	if have["ccc_database_up"] != 1 {
		t.Errorf("%v", have)
	}
	must(t, s.Close())
	if have := gather(); have["ccc_database_up"] != 0 {
		t.Errorf("with the database closed: %v", have)
	} else if _, there := have["ccc_rollouts"]; there {
		t.Errorf("of a database that does not answer: %v", have)
	}
}

// The rules are well formed, fire on what they are for and on nothing else, and each has a
// test.
func TestPromtool(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("no promtool: ", err)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "promtool", args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	rules, err := os.ReadFile(filepath.Join(monitoring, "alerts.yaml"))
	must(t, err)
	tests, err := os.ReadFile(filepath.Join(monitoring, "alerts_test.yaml"))
	must(t, err)
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !regexp.MustCompile(`- name: ` + m[1] + `\b`).Match(tests) {
			t.Errorf("no test for the alert %s", m[1])
		}
	}
}
