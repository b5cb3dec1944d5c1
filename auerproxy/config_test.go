package main

import (
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestExampleIsGoodAndShowsTheDefaults(t *testing.T) {
	t.Parallel()
	cfg := defaultConfig()
	if err := configs.Load(&cfg, configs.Source{Path: "../configs/auerproxy.yaml"}); err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	if cfg.Relay.Limits != want.Relay.Limits || cfg.Relay.Drain != want.Relay.Drain || cfg.Relay.Records != want.Relay.Records {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", cfg.Relay, want.Relay)
	}
	if cfg.Relay.Heartbeat != want.Relay.Heartbeat || cfg.Relay.Listen != want.Relay.Listen || cfg.ShutdownTimeout != want.ShutdownTimeout {
		t.Error("heartbeat, listen or shutdown_timeout differ from the defaults")
	}
}

func TestRegionHasToBeGermany(t *testing.T) {
	t.Parallel()
	for region, good := range map[string]bool{"": false, "US": false, "de": false, "DE": true} {
		cfg := defaultConfig()
		err := configs.Load(&cfg, configs.Source{Set: []string{"region=" + region, "credentials=/x"}})
		if (err == nil) != good {
			t.Errorf("region %q: %v", region, err)
		}
		if err != nil && !strings.Contains(err.Error(), "region") {
			t.Errorf("region %q: the error does not name the key: %v", region, err)
		}
	}
}
