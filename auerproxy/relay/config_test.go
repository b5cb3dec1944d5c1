package relay

import (
	"strings"
	"testing"
	"time"

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
	c.Limits.SessionMemory = minSessionMemory - 1
	c.Drain.PerSecond = -1
	c.Presence = Presence{Watchers: -1, Queue: -1, Batch: time.Minute, Refresh: time.Millisecond}
	err := c.Validate()
	errs, ok := err.(configs.Errors) //nolint:errorlint // Validate gives the list itself
	if !ok {
		t.Fatalf("got %T", err)
	}
	text := errs.Error()
	for _, key := range []string{"heartbeat", "disable_tcp", "ports", "policy[0]", "tenants[0]", "limits.tunnels", "limits.session_memory", "drain.per_second", "presence.watchers", "presence.queue", "presence.batch", "presence.refresh"} {
		if !strings.Contains(text, key+":") {
			t.Errorf("%s is not named in:\n%s", key, text)
		}
	}
}

func TestEntriesValidate(t *testing.T) {
	t.Parallel()
	good := Entry{Listen: "127.0.0.1:8081", Target: "device/0123456789", Service: "ssh"}
	for name, tt := range map[string]struct {
		change func(*Entry)
		want   string // empty: no error
	}{
		"good":                {func(*Entry) {}, ""},
		"IPv6 loopback":       {func(e *Entry) { e.Listen = "[::1]:8081" }, ""},
		"localhost, any port": {func(e *Entry) { e.Listen = "localhost:0" }, ""},
		"remote, allowed":     {func(e *Entry) { e.Listen, e.AllowRemote = "192.0.2.1:8081", true }, ""},
		"remote":              {func(e *Entry) { e.Listen = "192.0.2.1:8081" }, "entries[1].listen: \"192.0.2.1:8081\" is not a loopback address"},
		"every address":       {func(e *Entry) { e.Listen = ":8081" }, "allow_remote"},
		"a name":              {func(e *Entry) { e.Listen = "relay.example:8081" }, "entries[1].listen"},
		"no listen":           {func(e *Entry) { e.Listen = "" }, "entries[1].listen"},
		"no port":             {func(e *Entry) { e.Listen = "127.0.0.1" }, "entries[1].listen"},
		"port out of range":   {func(e *Entry) { e.Listen = "127.0.0.1:70000" }, "entries[1].listen"},
		"twice":               {func(e *Entry) { e.Listen = "127.0.0.1:8080" }, "that of entries[0]"},
		"no target":           {func(e *Entry) { e.Target = "" }, "entries[1].target"},
		"a bare serial":       {func(e *Entry) { e.Target = "0123456789" }, "entries[1].target"},
		"a short serial":      {func(e *Entry) { e.Target = "device/123" }, "entries[1].target"},
		"a service as target": {func(e *Entry) { e.Target = "service/ccc" }, "entries[1].target"},
		"no service":          {func(e *Entry) { e.Service = "" }, "entries[1].service"},
		"a bad service":       {func(e *Entry) { e.Service = "S S H" }, "entries[1].service"},
	} {
		e := good
		tt.change(&e)
		first := good
		first.Listen = "127.0.0.1:8080"
		err := Config{Entries: []Entry{first, e}}.Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	free := Entry{Listen: "127.0.0.1:0", Target: good.Target, Service: good.Service}
	if err := (Config{Entries: []Entry{free, free}}).Validate(); err != nil {
		t.Errorf("two free ports: %v", err)
	}
}
