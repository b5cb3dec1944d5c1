package pairing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	if err := (Limits{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	if got := (Limits{}).withDefaults(); got != DefaultLimits() {
		t.Errorf("%+v", got)
	}
	for key, l := range map[string]Limits{
		"token_life":          {TokenLife: 10*time.Minute - 1},
		"tries":               {Tries: -1},
		"offers_per_hour":     {OffersPerHour: -1},
		"offers_per_serial":   {OffersPerSerial: -1},
		"imports_per_day":     {ImportsPerDay: -1},
		"offers_per_pbx":      {OffersPerPBX: 9},
		"requests_per_minute": {RequestsPerMinute: -1},
		"max_body":            {MaxBody: 1000},
		"sync_every":          {SyncEvery: time.Second},
		"calls":               {Calls: 10_001},
		"calls_per_second":    {CallsPerSecond: -1},
		"call_timeout":        {CallTimeout: time.Millisecond},
		"retry_min":           {RetryMin: time.Millisecond},
		"retry_max":           {RetryMin: time.Minute, RetryMax: time.Second},
		"proof_tries":         {ProofTries: 101},
		"proof_grace":         {ProofGrace: time.Millisecond},
		"tombstone_keep":      {TombstoneKeep: time.Minute},
		"events_keep":         {EventsKeep: time.Hour},
	} {
		err := l.Validate()
		wrong := (*configs.KeyError)(nil)
		if !errors.As(err, &wrong) || wrong.Key != key || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := (Limits{TokenLife: 25 * time.Hour}).Validate(); err == nil {
		t.Error("a token for more than a day")
	}
	// Every key of a file.
	type file struct {
		Pairing Config `yaml:"pairing"`
	}
	got := file{}
	err := configs.Load(&got, configs.Source{Text: []byte(`pairing:
  token_life: 1h
  tries: 4
  offers_per_hour: 5
  offers_per_serial: 6
  imports_per_day: 13
  offers_per_pbx: 2
  requests_per_minute: 7
  max_body: 32KiB
  sync_every: 5m
  calls: 8
  calls_per_second: 9.5
  call_timeout: 10s
  retry_min: 2s
  retry_max: 3m
  proof_tries: 11
  proof_grace: 12m
  tombstone_keep: 48h
  events_keep: 72h
`)})
	want := Limits{
		time.Hour, 4, 5, 6, 13, 2, 7, 32 << 10, 5 * time.Minute, 8, 9.5, 10 * time.Second, 2 * time.Second, 3 * time.Minute, 11, 12 * time.Minute, 48 * time.Hour, 72 * time.Hour,
	}
	if err != nil || got.Pairing.Limits != want {
		t.Errorf("%+v, %v", got.Pairing.Limits, err)
	}
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, change := range map[string]func(*Config){
		"no store":       func(c *Config) { c.Store = nil },
		"no keys":        func(c *Config) { c.Keys = nil },
		"no credentials": func(c *Config) { c.Credentials = nil },
		"no dialer":      func(c *Config) { c.Dial = nil },
		"a wrong limit":  func(c *Config) { c.Tries = -1 },
		"metrics that are there already": func(c *Config) {
			reg := prometheus.NewRegistry()
			if _, err := newMetrics(reg, s.calls); err != nil {
				t.Fatal(err)
			}
			c.Metrics = reg
		},
	} {
		cfg := s.cfg
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(Config{Store: s.cfg.Store, Keys: s.cfg.Keys, Credentials: s.cfg.Credentials, Dial: s.cfg.Dial}); err != nil {
		t.Error(err)
	}
}
