package relay

import (
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestConfigValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatalf("the default: %v", err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Fatalf("the zero value: %v", err)
	}
	c.Heartbeat = 1
	c.DisableQUIC, c.DisableTCP = true, true
	c.Ports = map[int]Port{0: {Service: "web"}}
	c.Policy = []Rule{{Caller: "device", Target: "device", Services: []string{"web"}}}
	c.Tenants = []Tenant{{Serials: []string{"01*"}}}
	c.Limits.Tunnels = -1
	c.Drain.PerSecond = -1
	err := c.Validate()
	errs, ok := err.(configs.Errors) //nolint:errorlint // Validate gives the list itself
	if !ok {
		t.Fatalf("got %T", err)
	}
	text := errs.Error()
	for _, key := range []string{"heartbeat", "disable_tcp", "ports", "policy[0]", "tenants[0]", "limits.tunnels", "drain.per_second"} {
		if !strings.Contains(text, key+":") {
			t.Errorf("%s is not named in:\n%s", key, text)
		}
	}
}
